"""D2 and D3: claims that are too small, by a formula beyond its range or a sampling that was not done."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import brentq
from scipy.special import log_ndtr

from dp import (
    Accountant,
    FixedSizeSampling,
    GaussianEvent,
    NeighboringRelation,
    NoSampling,
    PoissonSampling,
    SkellamEvent,
    UnsupportedEventError,
    calibrate_noise_multiplier,
    gaussian_delta,
    gaussian_epsilon,
)
from dp.losses import MixturePair


def classical(epsilon: float, delta: float) -> float:
    """σ = √(2 ln(1.25/δ))/ε, proven for ε < 1 only."""
    return math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def independent_epsilon(z: float, delta: float) -> float:
    """The Gaussian curve as printed, by root finding on the logarithms; another route than the package's."""

    def excess(e: float) -> float:
        a, b = log_ndtr(0.5 / z - e * z), e + log_ndtr(-0.5 / z - e * z)
        return float(a + math.log(-math.expm1(b - a)) - math.log(delta))

    return brentq(excess, 0.0, 0.5 / z**2 + 6 / z, xtol=1e-12)


@pytest.mark.parametrize(("nominal", "true"), [(10.0, 10.39), (20.0, 25.4)])
def test_the_classical_formula_is_found_out(nominal, true):
    """D2: what it calls 10 and 20 the accountant calls by their true size."""
    z = classical(nominal, 1e-5)
    assert gaussian_epsilon(z, 1e-5) == pytest.approx(true, abs=0.05)
    assert gaussian_epsilon(z, 1e-5) == pytest.approx(independent_epsilon(z, 1e-5), rel=1e-6)
    assert Accountant().compose(GaussianEvent(z)).epsilon(1e-5).low > nominal


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0, 20.0, 100.0])
def test_calibration_keeps_its_promise_at_any_epsilon(epsilon):
    z = calibrate_noise_multiplier(epsilon, 1e-5, sampling=NoSampling(), steps=1)
    assert independent_epsilon(z, 1e-5) <= epsilon * (1 + 1e-9)
    assert gaussian_delta(z, epsilon) == pytest.approx(1e-5, rel=1e-3)
    if epsilon >= 10:  # the mutant: classical calibration breaks the same check
        assert independent_epsilon(classical(epsilon, 1e-5), 1e-5) > epsilon


def test_fixed_cohorts_get_no_poisson_amplification():
    """D3: the same cohort size, the same noise, and more than four times the ε."""
    fixed = Accountant().compose(GaussianEvent(1.0, FixedSizeSampling(100, 1000)), 100)
    coins = Accountant().compose(GaussianEvent(1.0, PoissonSampling(0.1)), 100)
    assert fixed.epsilon(1e-5).low > 31.3
    assert coins.epsilon(1e-5).high == pytest.approx(7.05, abs=0.02)


def attained_by_replacement(rate: float, z: float, epsilon: float) -> float:
    """One round, one coordinate: the others send −1, and the target's +1 takes one's place.

    The released sum is −m or, with probability m/n, −m + 2, plus noise.
    """
    x = z * z / 2 * math.log((math.exp(epsilon) - 1 + rate) / rate) + 1.0
    still, moved = (math.exp(float(log_ndtr(t / z))) for t in (-x, 2 - x))
    return (1 - rate) * still + rate * moved - math.exp(epsilon) * still


def test_fixed_size_claim_is_attained_by_an_attack():
    claim = Accountant().compose(GaussianEvent(1.0, FixedSizeSampling(100, 1000))).delta(1.5)
    attained = attained_by_replacement(0.1, 1.0, 1.5)
    assert attained <= claim.high
    assert attained == pytest.approx(claim.high, rel=1e-3)


def test_mutant_that_treats_fixed_as_poisson_is_below_the_attack(monkeypatch):
    def careless(self, noise_multiplier, relation):
        return MixturePair(self.exposure, noise_multiplier)

    monkeypatch.setattr(FixedSizeSampling, "gaussian", careless)
    # other numbers than above, since answers are cached
    claim = Accountant().compose(GaussianEvent(1.01, FixedSizeSampling(100, 1000))).delta(1.5)
    assert claim.high < attained_by_replacement(0.1, 1.01, 1.5)


def attained_by_silence(rate: float, z: float, epsilon: float) -> float:
    """One round, one coordinate: the others send −1; the target sends +1 when it is drawn, or nothing.

    Around the sum of the others but one, the round is N(−1), or with probability m/n N(1) or N(0). The best
    half-line is searched for.
    """
    found = 0.0
    for x in (0.5 + 0.001 * k * z for k in range(10_000)):
        other, answer, none = (math.exp(float(log_ndtr((mean - x) / z))) for mean in (-1, 1, 0))
        gain = (1 - rate) * other + rate * answer
        found = max(found, gain - math.exp(epsilon) * ((1 - rate) * other + rate * none))
    return found


def test_the_claim_for_enrolled_clients_is_attained_by_an_attack():
    event = GaussianEvent(1.0, FixedSizeSampling(100, 1000, enrolled=True))
    claim = Accountant().compose(event).delta(1.5)
    attained = attained_by_silence(0.1, 1.0, 1.5)
    assert claim.low * (1 - 1e-4) <= attained <= claim.high
    # Poisson's formula at the same rate is below the attack.
    coins = Accountant().compose(GaussianEvent(1.0, PoissonSampling(0.1))).delta(1.5)
    assert coins.high < attained / 3


def test_mutant_that_counts_a_silent_client_like_a_coin_is_below_the_attack(monkeypatch):
    def careless(self, noise_multiplier, relation):
        return MixturePair(self.exposure, noise_multiplier)

    monkeypatch.setattr(FixedSizeSampling, "gaussian", careless)
    event = GaussianEvent(1.01, FixedSizeSampling(100, 1000, enrolled=True))
    claim = Accountant().compose(event).delta(1.5)
    assert claim.high < attained_by_silence(0.1, 1.01, 1.5)


@pytest.mark.parametrize(
    ("event", "relation"),
    [
        (
            SkellamEvent(
                1.0, l2_sensitivity=9.0, l1_sensitivity=9.0, sampling=PoissonSampling(0.1)
            ),
            NeighboringRelation.REPLACE_ONE,
        ),
        (
            SkellamEvent(
                1.0, l2_sensitivity=9.0, l1_sensitivity=9.0, sampling=FixedSizeSampling(2, 9)
            ),
            NeighboringRelation.ADD_REMOVE,
        ),
    ],
)
def test_no_theorem_no_claim(event, relation):
    with pytest.raises(UnsupportedEventError, match=type(event).__name__):
        Accountant(relation).compose(event)


def test_unknown_sampling_has_no_constructor():
    class Shuffled:
        rate = 0.1

    with pytest.raises(UnsupportedEventError, match="Shuffled"):
        GaussianEvent(1.0, Shuffled())
    with pytest.raises(UnsupportedEventError):
        Accountant().compose(Shuffled())


def test_mutant_without_the_sampling_check_accepts_anything(monkeypatch):
    monkeypatch.setattr("dp.events.checks.is_a", lambda _value, _kind: True)
    assert GaussianEvent(1.0, "shuffled").sampling == "shuffled"
