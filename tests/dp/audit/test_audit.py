"""Audits: valid bounds (against exact optimisation and by coverage), tight, and bugs that they catch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import binom

from dp import (
    InvalidParameterError,
    NonFiniteError,
    audit,
    gaussian_epsilon,
    l2_clip,
    sample_rounded_gaussian,
)
from dp.audit import guessing

DELTA = 1e-5


def _largest_tail(m, r, c, points):
    """Largest P[C ≥ c] that the inequalities of the module's docstring allow: a linear program."""
    rows, limits = [], []
    counts = np.arange(r + 1)
    for j in range(1, r + 1):
        likely = np.where(counts >= j, counts, 0) / m
        rare = np.where(counts >= j - 1, r - counts, 0) / m
        for e, d in points:  # likely ≤ d + e^ε·rare, and its mirror
            rows.append(likely - math.exp(e) * rare)
            limits.append(d)
            rows.append(math.exp(e) * likely - rare)
            limits.append(math.exp(e) - 1 + d)
    found = linprog(
        -(counts >= c).astype(float),
        A_ub=np.array(rows),
        b_ub=limits,
        A_eq=np.ones((1, r + 1)),
        b_eq=[1.0],
    )
    return -found.fun


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_the_recursion_is_the_exact_optimum_of_its_inequalities(data):
    m = data.draw(st.integers(1, 9))
    r = data.draw(st.integers(1, m))
    c = data.draw(st.integers(1, r))
    pair = st.tuples(st.sampled_from([0.0, 0.3, 1.0, 2.5]), st.sampled_from([0.0, 1e-3, 0.05]))
    points = tuple(data.draw(st.lists(pair, min_size=1, max_size=3)))
    curve, exact = audit.ProfileCurve(points), _largest_tail(m, r, c, points)
    assert guessing._impossible(min(1.0, exact * (1 + 1e-6)), m, r, c, curve) or exact > 1 - 1e-6
    assert not guessing._impossible(exact * (1 - 1e-6), m, r, c, curve)


@pytest.mark.parametrize(("m", "r", "c", "epsilon"), [(50, 20, 15, 0.5), (10, 10, 10, 2.0)])
def test_pure_privacy_gives_the_binomial_tail(m, r, c, epsilon):
    exact = binom.sf(c - 1, r, 1 / (1 + math.exp(-epsilon)))
    found = audit.right_guesses_p_value(m, r, c, audit.ProfileCurve(((epsilon, 0.0),)))
    assert found == pytest.approx(exact, rel=1e-6)


def test_the_approximate_bound_is_the_published_one():
    """Against theorem 5.2 of Steinke, Nasr and Jagielski (2023), summed term by term."""
    m, r, c, e, d = 1000, 100, 90, 1.5, 1e-4
    right = 1 / (1 + math.exp(-e))
    below, worst = 0.0, 0.0
    for i in range(1, c + 1):
        below += binom.pmf(c - i, r, right)
        worst = max(worst, below / i)
    expected = binom.sf(c - 1, r, right) + 2 * m * d * worst
    assert guessing._binomial_bound(m, r, c, e, d) == pytest.approx(expected, rel=1e-9)


def _gaussian_scores(rng, m, mu):
    coins = rng.random(m) < 0.5
    return coins * mu + rng.standard_normal(m), coins


@pytest.mark.parametrize("family", ["any", "gaussian"])
def test_the_bound_holds_as_often_as_stated(family):
    """300 runs at confidence .9 of mechanisms that the family fits exactly; a valid bound fails in more
    of them than the binomial's 1 − 1e-6 quantile with probability ≤ 1e-6."""
    rng = np.random.default_rng(5)
    runs, m, epsilon, failures = 300, 60, 1.0, 0
    for _ in range(runs):
        if family == "any":  # randomised response attains pure ε, δ = 0 nearly
            coins = rng.random(m) < 0.5
            answers = coins ^ (rng.random(m) < 1 / (1 + math.exp(epsilon)))
            found = audit.one_run(
                answers.astype(float), coins, delta=1e-12, confidence=0.9, guesses=m
            )
            failures += found.epsilon_low > epsilon
        else:
            scores, coins = _gaussian_scores(rng, m, 1.0)
            found = audit.one_run(scores, coins, delta=DELTA, confidence=0.9, family=family)
            failures += found.epsilon_low > gaussian_epsilon(1.0, DELTA)
    assert failures <= binom.isf(1e-6, runs, 0.1)


def test_a_bound_that_counts_canaries_as_guesses_would_fail(monkeypatch):
    """Mutant: the δ-term without its factor 2m, with a mechanism that gives a coin away with
    probability δ = .02; 200 runs, false alarm ≤ 1e-6 for a valid bound."""

    def failures():
        rng = np.random.default_rng(2)
        runs, m, delta, failed = 200, 200, 0.02, 0
        for _ in range(runs):
            coins = rng.random(m) < 0.5
            shown = rng.random(m) < delta  # (0, δ)-private for each coin
            scores = np.where(shown, np.where(coins, 1.0, -1.0), 0.01 * rng.standard_normal(m))
            found = audit.one_run(scores, coins, delta=delta, confidence=0.9, guesses=4)
            failed += found.epsilon_low > 1e-9
        return failed, binom.isf(1e-6, runs, 0.1)

    honest, limit = failures()
    assert honest <= limit
    monkeypatch.setattr(guessing, "_impossible", lambda *_: False)
    monkeypatch.setattr(
        guessing,
        "_binomial_bound",
        lambda m, r, c, e, d: float(binom.sf(c - 1, r, 1 / (1 + math.exp(-e)))),
    )
    broken, limit = failures()
    assert broken > limit


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_one_run_with_4000_canaries_attains_half_of_a_gaussian_epsilon(mu):
    """Median of 7 runs at 95 % confidence, guesses fixed before; the seed is fixed."""
    rng = np.random.default_rng(11)
    guesses = audit.plan_guesses(4000, mu, delta=DELTA, family="gaussian")
    truth = gaussian_epsilon(1 / mu, DELTA)
    ratios = []
    for _ in range(7):
        scores, coins = _gaussian_scores(rng, 4000, mu)
        found = audit.one_run(scores, coins, delta=DELTA, guesses=guesses, family="gaussian")
        ratios.append(found.epsilon_low / truth)
    assert 0.5 <= np.median(ratios) <= 1


def test_one_run_needs_coins_and_guesses_that_fit():
    coins = np.arange(10) % 2 == 0
    with pytest.raises(InvalidParameterError, match="one score and one coin"):
        audit.one_run(np.zeros(9), coins, delta=DELTA)
    with pytest.raises(InvalidParameterError, match="included must hold booleans"):
        audit.one_run(np.zeros(10), coins.astype(float), delta=DELTA)
    with pytest.raises(InvalidParameterError, match="11 guesses"):
        audit.one_run(np.zeros(10), coins, delta=DELTA, guesses=11)
    with pytest.raises(NonFiniteError, match="score"):
        audit.one_run(np.full(10, np.nan), coins, delta=DELTA)
    with pytest.raises(InvalidParameterError, match="family"):
        audit.one_run(np.zeros(10), coins, delta=DELTA, family="laplace")


def test_blind_scores_show_nothing():
    rng = np.random.default_rng(0)
    coins = rng.random(1000) < 0.5
    assert audit.one_run(rng.random(1000), coins, delta=DELTA, confidence=1 - 1e-6).epsilon_low == 0


@pytest.mark.parametrize(("dimension", "noise"), [(1000, 0.5), (10_000, 0.5), (10_000, 1.0)])
def test_one_shot_estimates_within_a_tenth(dimension, noise):
    """The mean of 16 estimates with 1,000 canaries (500 where d = 1,000): relative standard error ≤ 1 %
    each case, so that an estimator without bias fails by 10 % with probability < 1e-20."""
    rng = np.random.default_rng(3)
    count = min(1000, dimension // 2)
    canaries = audit.unit_canaries(count, dimension)
    ratios = []
    for _ in range(16):
        released = canaries.sum(axis=0, dtype=float) + noise * rng.standard_normal(dimension)
        found = audit.one_shot(released, canaries, delta=DELTA)
        ratios.append(found.epsilon_estimate / gaussian_epsilon(noise, DELTA))
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


def test_one_shot_fits_a_spread_that_differs():
    """Canaries of different lengths: their cosines spread more than absent ones', which ε must show."""
    rng = np.random.default_rng(4)
    canaries = audit.unit_canaries(1000, 10_000)
    lengths = np.where(np.arange(1000) % 2 == 0, 0.0, 2.0)
    released = lengths @ canaries + rng.standard_normal(10_000)
    uneven = audit.one_shot(released, canaries, delta=DELTA)
    assert uneven.stddev > 1.2 * uneven.null_stddev
    assert uneven.epsilon_estimate > 1.2 * gaussian_epsilon(1.0, DELTA)


def test_the_hockey_stick_of_two_normals_is_right_for_any_spreads():
    from scipy.stats import norm

    x = np.linspace(-60, 60, 1_200_001)
    for m1, s1, m0, s0, e in [(1, 1, 0, 1, 0.5), (2, 0.7, 0, 1, 1.0), (1, 1.6, 0, 1, 0.3)]:
        gap = norm.pdf(x, m1, s1) - math.exp(e) * norm.pdf(x, m0, s0)
        exact = np.maximum(gap, 0).sum() * (x[1] - x[0])
        assert audit.cosine._hockey_stick(m1, s1, m0, s0, e) == pytest.approx(exact, rel=1e-5)


def test_one_shot_refuses_what_cannot_be_judged():
    canaries = audit.unit_canaries(20, 50)
    with pytest.raises(InvalidParameterError, match="no noise at all"):
        audit.one_shot(np.zeros(50), canaries, delta=DELTA)
    with pytest.raises(InvalidParameterError, match="of its length"):
        audit.one_shot(np.zeros(51), canaries, delta=DELTA)
    with pytest.raises(NonFiniteError):
        audit.one_shot(np.full(50, np.inf), canaries, delta=DELTA)


def test_canaries_lie_evenly_on_the_sphere():
    """d·cos² of 300 pairs has mean 1 with standard error √(2/300) = .082: 6.6 of them, below 1e-6; the
    mean entry has standard error 1/√(d·240,600): 6 of them, below 1e-8."""
    rows = audit.unit_canaries(600, 401).astype(float)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosines = (rows[:300] * rows[300:]).sum(axis=1)
    assert abs(401 * np.mean(cosines**2) - 1) < 0.54
    assert abs(rows.mean()) < 6 / math.sqrt(401 * rows.size)


def test_two_worlds_bound_from_below_and_rise_with_the_truth():
    """Confidence 1 − 1e-6: the bound exceeds the truth with probability ≤ 1e-6."""
    rng = np.random.default_rng(9)
    for mu in (1.0, 2.0):
        found = audit.two_worlds(
            rng.standard_normal(40_000),
            mu + rng.standard_normal(40_000),
            delta=DELTA,
            confidence=1 - 1e-6,
        )
        truth = gaussian_epsilon(1 / mu, DELTA)
        assert 0.3 * truth < found.epsilon_low <= truth


def test_two_worlds_choose_on_one_half_only(monkeypatch):
    """Mutant: chosen and scored on all runs, for which no interval is valid.  Equal worlds of 40 runs,
    100 times at confidence .5: a positive bound ≤ half of the time, so ≤ 73 but with 1e-6."""
    from dp.audit import worlds

    def positive():
        rng = np.random.default_rng(1)
        found = [
            audit.two_worlds(rng.random(40), rng.random(40), delta=0.0, confidence=0.5)
            for _ in range(100)
        ]
        return sum(one.epsilon_low > 0 for one in found)

    assert positive() <= binom.isf(1e-6, 100, 0.5)
    chosen = worlds._choose

    class _Whole(np.ndarray):
        def __getitem__(self, place):
            return self if isinstance(place, slice) else super().__getitem__(place)

    checked = worlds._checked
    monkeypatch.setattr(worlds, "_checked", lambda *given: checked(*given).view(_Whole))
    monkeypatch.setattr(
        worlds, "_choose", lambda parts, *rest: chosen([np.asarray(p) for p in parts], *rest)
    )
    assert positive() > binom.isf(1e-6, 100, 0.5)


# --- planted bugs: a small federation on the grid; its claim is a noise multiplier for every round

DIMENSION, ROUNDS, MULTIPLIER, SHARES, SCALE, CANARIES = 3000, 4, 4.0, 8, 400, 400
CLAIM = audit.GaussianCurve(math.sqrt(ROUNDS) / MULTIPLIER)
FALSE_ALARM = 1e-6


def _once(update):
    return l2_clip(update, 1.0)


def _by_layer(update):
    return np.concatenate([l2_clip(part, 1.0) for part in np.split(update, 4)])


def _noise(multiplier, shares, dimension):
    """Shares of noise, of which SHARES give the multiplier; in grid units."""
    stddev = multiplier * SCALE / math.sqrt(SHARES)
    return sum(sample_rounded_gaussian(stddev, dimension) for _ in range(shares)).astype(float)


def _run(*, multiplier=MULTIPLIER, shares=SHARES, fresh=True):
    """The p-value of canaries under the claim, and the check of the noise."""
    canaries, coins = audit.unit_canaries(CANARIES, DIMENSION), audit.fair_coins(CANARIES)
    sent = np.sum([np.rint(SCALE * _once(9.0 * row.astype(float))) for row in canaries[coins]], 0)
    rounds = [_noise(multiplier, shares, DIMENSION) for _ in range(ROUNDS if fresh else 1)]
    noise = np.stack(rounds if fresh else rounds * ROUNDS)
    mean = sent + noise.mean(axis=0)
    scores = audit.canary_scores(mean / SCALE, canaries, stddev=MULTIPLIER / math.sqrt(ROUNDS))
    p_value = audit.claim_p_value(scores, coins, CLAIM, guesses=CANARIES)
    return p_value, audit.check_noise(noise, MULTIPLIER * SCALE, false_alarm=FALSE_ALARM)


def test_the_right_mechanism_passes():
    """Three checks, each with a false-alarm rate ≤ 1e-6."""
    p_value, noise = _run()
    assert p_value > FALSE_ALARM
    assert not noise.too_weak
    assert not noise.repeated


def test_noise_for_a_mean_instead_of_a_sum_is_caught():
    """Sensitivity 1/n for a sum over n = 200; false alarm ≤ 1e-6 for canaries and noise each."""
    p_value, noise = _run(multiplier=MULTIPLIER / 200)
    assert p_value <= FALSE_ALARM
    assert noise.too_weak


def test_a_forgotten_share_of_noise_is_caught():
    """One of 8 shares missing is 6.5 % of the deviation; 12,000 entries tell 3.1 % at 1e-6."""
    assert _run(shares=SHARES - 1)[1].too_weak


def test_noise_drawn_once_and_used_again_is_caught():
    """Correlation between rounds, false alarm ≤ 1e-6 over all pairs; the noise is as strong as stated."""
    noise = _run(fresh=False)[1]
    assert noise.repeated
    assert not noise.too_weak


@pytest.mark.parametrize(("clip", "caught"), [(_once, False), (_by_layer, True)])
def test_clipping_by_layer_is_caught(clip, caught):
    """Four layers clipped apart double the sensitivity.  20,000 runs in each of two worlds, at δ = .1
    where they are told apart best; the bound is wrong with probability ≤ 1e-6."""
    layers, runs, multiplier = 4, 20_000, 1.0
    sent = np.rint(SCALE * clip(np.full(layers, 50.0)))
    worlds = [
        (_noise(multiplier, SHARES, runs * layers).reshape(runs, layers) + world * sent) @ sent
        for world in (0, 1)
    ]
    found = audit.two_worlds(*worlds, delta=0.1, confidence=1 - FALSE_ALARM)
    assert (found.epsilon_low > gaussian_epsilon(multiplier, 0.1)) == caught


def test_noise_used_twice_gives_the_difference_away():
    """What the correlation means: a client that joins one of two rounds with the same noise shows in
    their difference.  1,000 runs a world; bound wrong with probability ≤ 1e-6."""
    runs, claimed = 1000, gaussian_epsilon(MULTIPLIER / math.sqrt(2), 0.01)
    first = _noise(MULTIPLIER, SHARES, runs)
    worlds = [first + SCALE * joined - first for joined in (0, 1)]
    found = audit.two_worlds(*worlds, delta=0.01, confidence=1 - FALSE_ALARM)
    assert found.epsilon_low > claimed
    second = _noise(MULTIPLIER, SHARES, runs)
    honest = [first + SCALE * joined - second for joined in (0, 1)]
    fresh = audit.two_worlds(*honest, delta=0.01, confidence=1 - FALSE_ALARM)
    assert fresh.epsilon_low <= claimed


def test_noise_checks_refuse_what_they_cannot_judge():
    with pytest.raises(InvalidParameterError, match="rounds, coordinates"):
        audit.check_noise(np.zeros(100), 1.0)
    with pytest.raises(NonFiniteError):
        audit.check_noise(np.full((1, 100), np.nan), 1.0)
    with pytest.raises(InvalidParameterError, match="stddev"):
        audit.check_noise(np.zeros((1, 100)), 0.0)


def test_noise_limits_cover_heavy_skellam_tails():
    """2,000 checks of Skellam noise of variance 1/4 at a false-alarm rate of 1 %; a valid check fails in
    more than its 1 − 1e-6 quantile with probability ≤ 1e-6."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(2000):
        noise = (rng.poisson(0.125, 400) - rng.poisson(0.125, 400)).astype(float)
        wrong += audit.check_noise(noise[None, :], 0.5, false_alarm=0.01).too_weak
    assert wrong <= binom.isf(1e-6, 2000, 0.01)
