"""D13: noise of the right strength in all that is wrong in its pattern is found, and right noise is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from dp import sample_discrete_gaussian, sample_rounded_gaussian, sample_skellam
from dp.audit import NoiseFault, check_noise, residual
from dp.audit.energy import Weakness
from dp.audit.repeats import Alike

ROUNDS, PLACES, STDDEV = 10, 4000, 20.0
WEAK, DEPENDENT, MISSHAPEN = NoiseFault.WEAK, NoiseFault.DEPENDENT, NoiseFault.MISSHAPEN


def fresh(rounds=ROUNDS, places=PLACES, stddev=STDDEV):
    return sample_rounded_gaussian(stddev, rounds * places).reshape(rounds, places).astype(float)


def signs(rounds=ROUNDS, places=PLACES):
    return np.where(sample_rounded_gaussian(STDDEV, rounds * places) > 0, 1.0, -1.0).reshape(
        rounds, places
    )


def in_nine_rounds_of_ten_none():
    noise = np.zeros((ROUNDS, PLACES))
    noise[3] = fresh(1)[0] * math.sqrt(ROUNDS)
    return noise


def in_half_of_the_places_none():
    noise = np.rint(fresh() * math.sqrt(2))
    noise[:, ::2] = 0
    return noise


def one_stream_four_times_in_a_round():
    return np.tile(fresh(places=PLACES // 4), (1, 4))


def every_other_round_shifted_by_one():
    noise = fresh()
    noise[1::2] = np.roll(noise[::2], 1, axis=1)
    return noise


def two_values():
    return STDDEV * signs()


def always_positive():
    return np.abs(fresh())


def one_number_for_all_places():
    return np.repeat(fresh(places=1), PLACES, axis=1)


def one_round_at_half_strength():
    noise = fresh()
    noise[6] = np.rint(noise[6] / 2)
    return noise


def one_place_without_noise():
    noise = fresh()
    noise[:, 1234] = 0
    return noise


def one_round_negated():
    noise = fresh()
    noise[7] = -noise[2]
    return noise


def one_round_reversed():
    noise = fresh()
    noise[7] = noise[2, ::-1]
    return noise


def one_round_permuted_with_new_signs():
    noise = fresh()
    order = np.argsort(sample_rounded_gaussian(1e6, PLACES))
    noise[7] = np.abs(noise[2, order]) * signs(1)[0]
    return noise


def signs_of_another_round():
    noise = fresh()
    noise[7] = np.abs(noise[7]) * np.sign(np.roll(noise[2], 77) + 0.5)
    return noise


def sizes_of_another_round_shifted():
    noise = fresh()
    noise[7, 300:] = np.abs(noise[2, :-300]) * signs(1, PLACES - 300)[0]
    return noise


def uniform():
    edge = STDDEV * math.sqrt(3)
    return np.rint(
        (np.argsort(np.argsort(fresh(), axis=None)) / (ROUNDS * PLACES) - 0.5) * 2 * edge
    ).reshape(ROUNDS, PLACES)


BROKEN = {
    in_nine_rounds_of_ten_none: WEAK,
    in_half_of_the_places_none: WEAK,
    one_stream_four_times_in_a_round: DEPENDENT,
    every_other_round_shifted_by_one: DEPENDENT,
    two_values: MISSHAPEN,
    always_positive: MISSHAPEN,
    one_number_for_all_places: DEPENDENT,
    one_round_at_half_strength: WEAK,
    one_place_without_noise: WEAK,
    one_round_negated: DEPENDENT,
    one_round_reversed: DEPENDENT,
    one_round_permuted_with_new_signs: DEPENDENT,
    signs_of_another_round: DEPENDENT,
    sizes_of_another_round_shifted: DEPENDENT,
    uniform: MISSHAPEN,
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda function: function.__name__)
def test_d13_every_breakage_is_found_every_time(broken):
    """Five draws of 10 × 4,000 entries each, at a false-alarm rate of 1e-6: each statistic is so far beyond
    its limit (five standard deviations or more) that a miss has probability < 1e-6."""
    for _ in range(5):
        found = check_noise(broken(), STDDEV, false_alarm=1e-6)
        assert BROKEN[broken] in {finding.fault for finding in found.findings}


LAWS = {
    "rounded": lambda size, stddev: sample_rounded_gaussian(stddev, size),
    "discrete": lambda size, stddev: sample_discrete_gaussian(stddev, size),
    "skellam": lambda size, stddev: sample_skellam(stddev**2, size),
    "shares": lambda size, stddev: sum(sample_rounded_gaussian(stddev / 2, size) for _ in range(4)),
    "coarse": lambda size, stddev: sample_rounded_gaussian(64 * stddev, size) / 64,
}


@pytest.mark.parametrize(
    ("rounds", "places", "stddev"), [(5, 100, 3.0), (1, 16, 1.0), (12, 16, 2.0), (3, 60, 1.0)]
)
def test_d13_right_noise_is_left_alone(rounds, places, stddev):
    """400 draws at a false-alarm rate of 5 %, of five laws in turn.  If the rate holds, more findings than
    the binomial's 1 − 1e-6 quantile (43 of 400) have probability ≤ 1e-6."""
    draws, alarms = 400, 0
    for draw in range(draws):
        law = list(LAWS.values())[draw % len(LAWS)]
        noise = law(rounds * places, stddev).reshape(rounds, places).astype(float)
        alarms += bool(check_noise(noise, stddev, false_alarm=0.05).findings)
    assert alarms <= binom.isf(1e-6, draws, 0.05)


def test_d13_stronger_noise_is_right_noise():
    """Noise shares of clients that could have dropped out make the noise stronger, not wrong.

    The false-alarm rate is 1e-6.
    """
    assert check_noise(fresh(stddev=1.7 * STDDEV), STDDEV).findings == ()
    assert check_noise(fresh(), STDDEV / 3).findings == ()


def only_of_all(monkeypatch):
    """What the check was: the strength of everything together, and the same noise in two rounds."""
    whole = Weakness.limit

    def limit(self, entries, alarm):
        return whole(self, entries, alarm) if entries == ROUNDS * PLACES else -1.0

    monkeypatch.setattr(Weakness, "limit", limit)
    blind_to_signs(monkeypatch)
    blind_to_sizes(monkeypatch)
    blind_to_order(monkeypatch)
    blind_to_shape(monkeypatch)


def blind_to_rounds(monkeypatch):
    whole = Weakness.limit
    monkeypatch.setattr(
        Weakness, "limit", lambda self, n, alarm: -1.0 if n == PLACES else whole(self, n, alarm)
    )


def blind_to_places(monkeypatch):
    whole = Weakness.limit
    monkeypatch.setattr(
        Weakness, "limit", lambda self, n, alarm: -1.0 if n == ROUNDS else whole(self, n, alarm)
    )


def blind_to_signs(monkeypatch):
    monkeypatch.setattr(residual, "shifted_signs", lambda _rows, _alarm: Alike("", 0.0, 1.0))


def blind_to_sizes(monkeypatch):
    monkeypatch.setattr(
        residual, "shifted_magnitudes", lambda _rows, _stddev, _alarm: Alike("", 0.0, 1.0)
    )


def blind_to_order(monkeypatch):
    monkeypatch.setattr(residual, "permuted_rounds", lambda _rows, _alarm: None)


def blind_to_shape(monkeypatch):
    monkeypatch.setattr(residual, "misfits", lambda _rows, _stddev, _alarm: (None, {}))


FIVE = (
    in_nine_rounds_of_ten_none,
    in_half_of_the_places_none,
    one_stream_four_times_in_a_round,
    every_other_round_shifted_by_one,
    two_values,
)


@pytest.mark.parametrize("broken", FIVE, ids=lambda function: function.__name__)
def test_d13_mutant_that_looks_at_all_entries_together_finds_none(broken, monkeypatch):
    """The strength in all is set to the stated one exactly, and no two rounds are alike entry by entry."""
    only_of_all(monkeypatch)

    def found():
        noise = broken()
        noise *= 1.001 * STDDEV / math.sqrt(np.mean(noise**2))
        return bool(check_noise(noise, STDDEV).findings)

    # at a false-alarm rate of 5 % a draw, more than 8 of 10 would happen with a probability below 2e-11
    assert sum(found() for _ in range(10)) <= 8


@pytest.mark.parametrize(
    ("broken", "blind"),
    [
        (one_place_without_noise, blind_to_places),
        (signs_of_another_round, blind_to_signs),
        (sizes_of_another_round_shifted, blind_to_sizes),
        (one_round_permuted_with_new_signs, blind_to_order),
        (two_values, blind_to_shape),
    ],
)
def test_d13_mutant_without_one_check_misses_its_breakage(broken, blind, monkeypatch):
    """Each check finds something that no other one does."""
    noise = broken()
    assert check_noise(noise, STDDEV).findings
    blind(monkeypatch)
    assert check_noise(noise, STDDEV).findings == ()


def test_d13_mutant_that_does_not_look_at_rounds_misses_a_slightly_weak_one(monkeypatch):
    """An eighth less deviation in one round; 4,000 entries tell 9 % at 1e-6.  The shape may tell as well."""
    noise = fresh()
    noise[6] *= 0.87
    noise[6] = np.rint(noise[6])
    assert check_noise(noise, STDDEV).too_weak
    blind_to_rounds(monkeypatch)
    assert not check_noise(noise, STDDEV).too_weak
