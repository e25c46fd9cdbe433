"""The accountant beside exact laws of few parties, summed with 40 digits: no bound is on the wrong side.

Every law is computed here from its definition with mpmath, without a line of the package: weights
e^(−k²/2σ²), masses e^(−V)·I_k(V), convolution, and the hockey stick in both orders.  Small variances matter
most, since the accountant gives a part of the variance up, and allows a slack, where the lattice shows.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import mpmath
import pytest
from mpmath import mp

from dp import (
    Accountant,
    DiscreteGaussianSumEvent,
    InvalidParameterError,
    NeighboringRelation,
    PoissonSampling,
    SkellamEvent,
)
from dp.events import lattice

EPSILONS = (0.0, 0.05, 0.5, 2.0, 6.0)
TINY = mpmath.mpf(10) ** -50
SEEN = 1e-35
"""Smaller deltas are lost with the outcomes that are left out."""


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(40):
        yield


@functools.cache
def gaussian(variance):
    """The discrete Gaussian of this parameter σ², from 16σ below to 16σ above."""
    reach = int(16 * math.sqrt(variance)) + 12
    weights = {k: mp.exp(-mp.mpf(k * k) / (2 * mp.mpf(variance))) for k in range(-reach, reach + 1)}
    total = mp.fsum(weights.values())
    return {k: weight / total for k, weight in weights.items()}


@functools.cache
def skellam(variance):
    reach = int(16 * math.sqrt(variance)) + 40
    scale = mp.exp(-mp.mpf(variance))
    return {k: scale * mp.besseli(abs(k), mp.mpf(variance)) for k in range(-reach, reach + 1)}


def convolved(laws):
    total = {0: mp.mpf(1)}
    for law in laws:
        merged = {}
        for (i, p), (j, q) in itertools.product(total.items(), law.items()):
            merged[i + j] = merged.get(i + j, 0) + p * q
        total = {k: p for k, p in merged.items() if p > TINY}
    return total


def releases(first, second, count):
    """Pairs of probabilities of all outcomes of `count` releases."""
    one = [(first.get(k, mp.mpf(0)), second.get(k, mp.mpf(0))) for k in {*first, *second}]
    found = one
    for _ in range(count - 1):
        found = [(p * a, q * b) for p, q in found for a, b in one if max(p * a, q * b) > TINY]
    return found


def hockey_stick(outcomes, epsilon):
    """The larger one of both orders."""
    factor = mp.exp(mp.mpf(epsilon))
    forth = mp.fsum(p - factor * q for p, q in outcomes if p > factor * q)
    back = mp.fsum(q - factor * p for p, q in outcomes if q > factor * p)
    return max(forth, back)


def sampled(absent, present, rate):
    rate = mp.mpf(rate)
    return {
        k: (1 - rate) * absent.get(k, mp.mpf(0)) + rate * present.get(k, mp.mpf(0))
        for k in {*absent, *present}
    }


def moved(law, shift):
    return {k + shift: p for k, p in law.items()}


def assert_between(run, outcomes):
    """Both sides of δ at every ε, and of ε at that δ, by the questions that a caller asks."""
    curve = run.curve(smallest=1e-4, points=8)
    for epsilon in EPSILONS:
        true = hockey_stick(outcomes, epsilon)
        if true < SEEN:
            continue
        found = run.delta(epsilon)
        assert mp.mpf(found.low) <= true <= mp.mpf(found.high)
        if true > 1e-4 and epsilon <= curve.epsilons[-1]:
            at = curve.delta(epsilon)
            assert at.low * (1 - 1e-9) <= true <= at.high * (1 + 1e-9)
        back = run.epsilon(float(true))
        assert back.low <= epsilon * (1 + 1e-9)
        assert run.upper_epsilon(float(true)) >= epsilon * (1 - 1e-9)
        assert run.quick_epsilon(float(true)) >= epsilon * (1 - 1e-9)


@dataclass(frozen=True)
class Parties:
    """A roster, of which some drop out and some collude.

    Args:
        roster: number of clients that the noise is dealt to.
        missing: number of them that drop out; the server adds one share in their place.
        colluding: number of survivors whose shares the adversary subtracts.
        variance: of all shares together.
    """

    roster: int
    missing: int
    colluding: int
    variance: float

    @property
    def honest(self):
        """The variances that the adversary does not know."""
        share = self.variance / self.roster
        others = [share] * (self.roster - self.missing - self.colluding)
        return [*others, share * self.missing] if self.missing else others

    def event(self, shift, rate, *, dimension=1):
        norm = float(shift)
        return DiscreteGaussianSumEvent(
            math.sqrt(sum(self.honest)) / norm,
            local_stddev=math.sqrt(self.variance / self.roster),
            shares=self.roster + 1,
            dimension=dimension,
            l2_sensitivity=norm,
            l1_sensitivity=norm,
            sampling=PoissonSampling(rate),
        )


@pytest.mark.parametrize("rate", [1.0, 0.2])
@pytest.mark.parametrize(
    ("parties", "shift", "count"),
    [
        (Parties(1, 0, 0, 0.36), 1, 1),
        (Parties(1, 0, 0, 2.25), 1, 2),
        (Parties(2, 0, 0, 0.5), 1, 1),  # the smallest shares that are allowed
        (Parties(3, 0, 0, 48.0), 4, 1),
        (Parties(4, 1, 0, 16.0), 2, 1),  # one drops out
        (Parties(5, 0, 2, 24.0), 3, 1),  # two collude
        (Parties(6, 2, 1, 60.0), 4, 1),  # both
        (Parties(3, 1, 1, 9.0), 1, 2),
    ],
)
def test_sums_of_discrete_gaussians_with_parties_missing_and_colluding(parties, shift, count, rate):
    law = convolved([gaussian(v) for v in parties.honest])
    outcomes = releases(sampled(law, moved(law, shift), rate), law, count)
    assert_between(Accountant().compose(parties.event(shift, rate), count), outcomes)


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize(
    ("variance", "shift", "count"),
    [(0.01, 1, 1), (0.25, 1, 1), (1.0, 1, 2), (1.0, 3, 1), (9.0, 3, 1), (4.0, 2, 2)],
)
def test_skellam_noise_of_small_variance(variance, shift, count, rate):
    """A sum of Skellam shares is one Skellam variable, so the honest part's variance is all that counts."""
    law = skellam(variance)
    event = SkellamEvent(
        math.sqrt(variance) / shift,
        l2_sensitivity=float(shift),
        l1_sensitivity=float(shift),
        sampling=PoissonSampling(rate),
    )
    outcomes = releases(sampled(law, moved(law, shift), rate), law, count)
    assert_between(Accountant().compose(event, count), outcomes)


@pytest.mark.parametrize("l2", [1.3, 2.0, 2.5, 3.1])
@pytest.mark.parametrize("noise", ["discrete gaussian", "skellam"])
def test_a_norm_that_no_whole_vector_has_costs_what_the_longest_one_does(noise, l2):
    """Two coordinates, every whole vector within the norm: its square is whole, and so is what is charged."""
    variance, l1 = 12.0, l2 * math.sqrt(2)
    if noise == "skellam":
        law = skellam(variance)
        event = SkellamEvent(math.sqrt(variance) / l2, l2_sensitivity=l2, l1_sensitivity=l1)
    else:
        law = gaussian(variance)
        event = DiscreteGaussianSumEvent(
            math.sqrt(variance) / l2,
            local_stddev=math.sqrt(variance),
            shares=1,
            dimension=2,
            l2_sensitivity=l2,
            l1_sensitivity=l1,
        )
    reach = math.floor(l2)
    vectors = [
        v
        for v in itertools.product(range(reach + 1), repeat=2)
        if 0 < v[0] ** 2 + v[1] ** 2 <= l2**2
    ]
    coarse = {k: p for k, p in law.items() if p > mp.mpf(10) ** -16}
    run = Accountant().compose(event)
    for epsilon in (0.1, 1.0):
        worst = max(
            mp.fsum(
                max(coarse.get(i - a, 0) * coarse.get(j - b, 0) - mp.exp(epsilon) * p * q, 0)
                for (i, p), (j, q) in itertools.product(coarse.items(), repeat=2)
            )
            for a, b in vectors
            if a >= b
        )
        assert run.delta(epsilon).low * (1 - 1e-9) <= worst <= run.delta(epsilon).high


def test_replacement_moves_by_two_whole_vectors():
    law = gaussian(9.0)
    event = DiscreteGaussianSumEvent(
        3.0 / 1.9, local_stddev=3.0, shares=1, dimension=1, l2_sensitivity=1.9, l1_sensitivity=1.9
    )
    run = Accountant(NeighboringRelation.REPLACE_ONE).compose(event)
    assert_between(run, releases(moved(law, 2), law, 1))


@pytest.mark.parametrize(
    ("event", "epsilon", "true"),
    [
        # mpmath, 40 digits: the mass of D(49, 0) moved by 3 above e^ε times itself, summed over |k| ≤ 124
        ((7.0, 1, 3, 1.0), 0.5, 0.0326077681966149),
        ((7.0, 1, 3, 1.0), 2.0, 3.41653999124456e-7),
        # three shares of σ = 4, moved by 4, with a coin of 0.2
        ((4.0, 3, 4, 0.2), 0.5, 0.000457549450429414),
        ((4.0, 3, 4, 0.2), 2.0, 6.84796091331942e-11),
    ],
)
def test_known_values(event, epsilon, true):
    stddev, shares, shift, rate = event
    law = convolved([gaussian(stddev**2)] * shares)
    outcomes = releases(sampled(law, moved(law, shift), rate), law, 1)
    assert float(hockey_stick(outcomes, epsilon)) == pytest.approx(true, rel=1e-13)
    found = (
        Accountant()
        .compose(Parties(shares, 0, 0, shares * stddev**2).event(shift, rate))
        .delta(epsilon)
    )
    assert found.low < true < found.high < 2 * found.low


def test_mutant_that_charges_no_variance_for_the_kernel_is_below_the_truth(monkeypatch):
    parties = Parties(2, 0, 0, 0.72)
    law = convolved([gaussian(v) for v in parties.honest])
    outcomes = releases(moved(law, 1), law, 1)
    monkeypatch.setattr(lattice, "coset_slack", lambda _: 0.0)
    monkeypatch.setattr(lattice, "rounded_gaussian_tau", lambda *_: 0.0)
    monkeypatch.setattr(lattice, "_given_up", lambda *_: 0.0)
    event = parties.event(1, 1.0)
    careless = event.cost(NeighboringRelation.ADD_REMOVE)
    monkeypatch.undo()
    (pair,) = careless.pairs
    claimed = [math.exp(pair.exact.log_delta_bounds(e)[1]) for e in EPSILONS]
    assert any(hockey_stick(outcomes, e) > 1.02 * c for e, c in zip(EPSILONS, claimed, strict=True))


def test_a_multiplier_that_the_shares_do_not_carry_is_refused():
    """Nobody adds that noise: the event would state a hundredth of the epsilon."""
    with pytest.raises(
        InvalidParameterError, match="is more than 4 shares of local_stddev 5 carry, 1 at"
    ):
        DiscreteGaussianSumEvent(
            100.0, local_stddev=5.0, shares=4, dimension=9, l2_sensitivity=10.0, l1_sensitivity=30.0
        )
