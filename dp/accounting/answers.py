"""An accountant's answers, from the costs of its events: ε, δ and the whole curve, from both sides."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dp.accounting.curve import PrivacyCurve
from dp.accounting.failures import failure_delta, shared_delta, sum_up
from dp.accounting.singles import least_delta, least_epsilon, most_delta
from dp.accounting.terms import Terms, resolve
from dp.composition.bracket import Bracket
from dp.composition.moments import pair_curve
from dp.composition.pld import pld_curve, pld_delta, pld_epsilon
from dp.losses import MixturePair, renyi
from dp.losses.outward import exp_bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dp.accounting.terms import Counted
    from dp.events import NeighboringRelation
    from dp.losses.outward import ExactCurve
    from dp.losses.pairs import Pair

__all__ = ["curve_of", "delta_of", "epsilon_of", "quick_epsilon_of"]

_LOG_SMALLEST = -640.0
"""Below this log δ, only the Rényi bound is used."""
_LARGE = 700.0
_SMALLEST = 1e-250
"""Below this δ, releases with bounded losses are answered by their bound."""
_LARGER = (1e-50, 1e-20, 1e-12, 1e-8, 1e-5)
_NARROWEST = 1e-6
"""A curve that is practically 0 from the start is shown up to this ε."""
_DEEPEST = 1e-200
_NEAR = 0.9
"""A low side beyond this part of the high one is near enough to look no further."""
_FAR = 100.0
"""How far below the moment bound log δ may be guessed."""
_ANCHORS = 12
"""Number of compositions from which a curve is computed."""


@lru_cache(maxsize=1024)
def epsilon_of(
    relation: NeighboringRelation, counts: Counted, delta: float, *, both: bool
) -> Bracket:
    """Bracket ε at this δ; without `both` its lower side is 0."""

    def rest(terms: Terms, delta: float) -> Bracket:
        return _base_epsilon(terms, delta, both=both)

    return _with_failure(resolve(counts, relation), delta, rest)


@lru_cache(maxsize=1024)
def delta_of(relation: NeighboringRelation, counts: Counted, epsilon: float) -> Bracket:
    """Bracket δ at this ε ≥ 0."""
    terms = resolve(counts, relation)
    failed = failure_delta(terms.failure, epsilon)
    base = _base_delta(terms, epsilon, _pairs_delta)
    high = min(1.0, sum_up(base.high, shared_delta(terms), failed))
    # A failure may make the true δ larger or smaller, so it widens the bracket on both sides.
    return Bracket(min(max(0.0, base.low - failed), high), high)


@lru_cache(maxsize=1024)
def quick_epsilon_of(relation: NeighboringRelation, counts: Counted, delta: float) -> float:
    """A looser upper bound on ε, from Rényi curves alone."""
    return _with_failure(resolve(counts, relation), delta, _quick_epsilon).high


@lru_cache(maxsize=16)
def curve_of(
    relation: NeighboringRelation, counts: Counted, smallest: float, group: int, points: int
) -> PrivacyCurve:
    """The whole curve down to δ = `smallest`, of a group of clients."""
    terms = resolve(counts, relation)
    whole = _without_failure(replace(terms, failure=0.0), smallest, group, points)
    failed = np.array([failure_delta(terms.failure, float(e)) for e in whole.epsilons])
    low, high = np.maximum(whole.low - failed, 0.0), np.minimum(whole.high + failed, 1.0)
    return PrivacyCurve(whole.epsilons, low, high)


def _without_failure(terms: Terms, smallest: float, group: int, points: int) -> PrivacyCurve:
    shared, exact = shared_delta(terms), _exact_for_groups(terms)
    terms = replace(terms, shared=0.0)
    if group == 1 or exact:
        return _with_shared(_curve(_of_group(terms, group), smallest, points), shared)
    # If a chain of k clients ends at δ, its links are as low as δ·e^(−(k−1)ε) (docs/privacy.md §13).
    deeper = smallest
    for _ in range(2):
        reach = _reach(terms, deeper)
        deeper = max(smallest * math.exp(-min((group - 1) * reach, _LARGE)), _DEEPEST)
    one = _curve(terms, min(deeper, smallest), points, stretch=group)
    whole = _with_shared(one, shared).group(group)
    last = int(np.argmax(whole.high <= smallest)) or len(whole.high) - 1
    kept = slice(0, max(last, 1) + 1)
    return PrivacyCurve(whole.epsilons[kept], whole.low[kept], whole.high[kept])


def _exact_for_groups(terms: Terms) -> bool:
    """Whether one plain Gaussian is everything but failures that belong to the mechanism."""
    single = _single(terms)
    if single is None or single.precision is None:
        return False
    return terms.curve is None and terms.slack == terms.shared == terms.exposed == 0


def _with_shared(curve: PrivacyCurve, shared: float) -> PrivacyCurve:
    return PrivacyCurve(curve.epsilons, curve.low, np.minimum(curve.high + shared, 1.0))


def _of_group(terms: Terms, group: int) -> Terms:
    """One plain Gaussian: a group moves the sum `group` times as far."""
    if group == 1:
        return terms
    pair, count = terms.pairs[0]
    further = MixturePair(1.0, 1 / math.sqrt(pair.precision or 0.0) / group)
    pairs = ((further, count),)
    # What one client attains, a group attains at its distance; what nobody attains, a group need not.
    least = pairs if terms.least == terms.pairs else ()
    return replace(terms, pairs=pairs, least=least, pure=group * terms.pure)


def _reach(terms: Terms, smallest: float) -> float:
    """An ε at which δ is about as small as this, or as small as it gets."""

    def rest(terms: Terms, delta: float) -> Bracket:
        return _base_epsilon(terms, delta, both=False)

    delta = smallest
    while delta < 1:
        high = _with_failure(terms, delta, rest).high
        if math.isfinite(high):
            return max(high, _NARROWEST)
        delta *= 100
    return 1.0


def _curve(terms: Terms, smallest: float, points: int, *, stretch: int = 1) -> PrivacyCurve:
    reach = min(_reach(terms, smallest) * stretch, _LARGE * (points - 1))
    epsilons = np.linspace(0.0, reach, points)
    if 0 < terms.pure <= 2 * reach:  # from that ε on, δ is 0
        ends = terms.pure * np.arange(1.0, stretch + 1)
        epsilons = np.union1d(epsilons[epsilons < ends[-1]], ends)
    bounds = _many_deltas(terms, epsilons, smallest)
    found = [_base_delta(terms, float(epsilon), bounds) for epsilon in epsilons]
    low, high = np.array([(bracket.low, bracket.high) for bracket in found]).T
    return PrivacyCurve(epsilons, low, np.maximum.accumulate(high[::-1])[::-1])


def _many_deltas(
    terms: Terms, epsilons: NDArray[np.float64], smallest: float
) -> Callable[[Terms, float], Bracket]:
    """A function like `_pairs_delta`, for these ε and for those that slack makes of them."""
    both = *terms.pairs, *terms.least
    if _single(terms) is not None or not both or terms.exposed:
        return _pairs_delta
    shifts = 0.0, 2 * terms.slack, -2 * terms.least_slack
    asked = sorted({max(float(e) - shift, 0.0) for e in epsilons for shift in shifts})
    beyond = terms.pure + 2 * terms.least_slack  # a lower side is asked for at ε + 2B
    where = np.array([epsilon for epsilon in asked if epsilon <= beyond])
    log_smallest = max(math.log(smallest), _LOG_SMALLEST)
    anchors = np.linspace(-1.0, log_smallest, max(2, min(_ANCHORS, round(-log_smallest / 6))))
    at = [float(anchor) for anchor in anchors]
    low, high = np.zeros(len(where)), np.ones(len(where))
    if terms.curve is None:
        low, high = pld_curve(terms.pairs, where, at)
    if terms.curve is not None or terms.least != terms.pairs:
        low = pld_curve(terms.least, where, at)[0] if terms.least else np.zeros(len(where))
    known = dict(zip(where.tolist(), zip(low, high, strict=True), strict=True))

    def bounded(terms: Terms, epsilon: float) -> Bracket:
        low, high = known[epsilon]
        curve, missing = _total_curve(terms)
        log_renyi = renyi.log_delta_bound(curve, epsilon)
        bound = exp_bounds(log_renyi, log_renyi)[1] + missing
        high = min(float(high), bound, 1.0)
        return Bracket(min(float(low), high), high)

    return bounded


def _with_failure(terms: Terms, delta: float, rest: Callable[[Terms, float], Bracket]) -> Bracket:
    """Solve δ_rest(ε) + (1 + e^ε)·p + s ≤ δ for the smallest ε, and its mirror image for the lower side.

    Any E with δ_rest(E) ≤ δ − s − (1 + e^E)·p is a valid claim, so the result is its own proof.
    """
    if delta == 1:
        return Bracket(0.0, 0.0)
    shared = shared_delta(terms)
    if shared > 0:
        if shared > delta:
            return Bracket(0.0, math.inf)
        left = math.nextafter(delta - shared, 0.0)  # rounded down: never more than is left
        high = _with_failure(replace(terms, shared=0.0), left, rest).high
        return Bracket(min(rest(terms, delta).low, high), high)
    if terms.failure == 0:
        return rest(terms, delta)
    high = rest(terms, delta).high
    for _ in range(200):
        ceiling = high * (1 + 1e-6) + 1e-12
        cost = failure_delta(terms.failure, ceiling)
        if not cost < delta:
            break
        needed = rest(terms, delta - cost)
        if needed.high <= ceiling:
            above = rest(terms, min(1.0, delta + cost))
            return Bracket(min(needed.high, above.low), needed.high)
        high = needed.high
    return Bracket(0.0, math.inf)


def _trivial_epsilon(terms: Terms, delta: float) -> Bracket | None:
    if delta >= 1 or (terms.exposed == 0 and terms.curve is None and not terms.pairs):
        return Bracket(0.0, 0.0)
    # The client's part is revealed with this probability: no ε holds at a smaller δ.
    if terms.exposed > 0:
        return Bracket(math.inf if delta < terms.exposed else 0.0, math.inf)
    if delta <= 0 and math.isinf(terms.pure):
        return Bracket(0.0, math.inf)
    return None


def _total_curve(terms: Terms) -> tuple[NDArray[np.float64], float]:
    """The run's Rényi curve, and the mass that it leaves out."""
    total = np.zeros(len(renyi.ORDERS)) if terms.curve is None else terms.curve
    missing = 0.0
    for pair, count in terms.pairs:
        curve, tail = pair_curve(pair)
        total = total + count * curve
        missing += count * tail
    return total, missing


def _renyi_epsilon(terms: Terms, log_delta: float) -> float:
    """An upper bound on ε from Rényi curves alone, without slack and failure."""
    curve, missing = _total_curve(terms)
    # Mass that a gridded curve leaves out is added to δ, so that less of δ is left for the curve.
    if missing > 0:
        left = math.exp(log_delta) - missing
        if not left > 0:
            return math.inf
        log_delta = math.log(left)
    return renyi.epsilon_bound(curve, log_delta)


def _quick_epsilon(terms: Terms, delta: float) -> Bracket:
    trivial = _trivial_epsilon(terms, delta)
    if trivial is not None:
        return Bracket(0.0, trivial.high)
    bound = _renyi_epsilon(terms, math.log(max(delta, _SMALLEST)) - terms.slack)
    bound = bound + 2 * terms.slack if delta >= _SMALLEST else math.inf
    return Bracket(0.0, min(bound, terms.pure))


def _base_epsilon(terms: Terms, delta: float, *, both: bool) -> Bracket:
    """ε of everything except failure; slack A enters by δ_true(ε) ≤ e^A·δ(ε − 2A)."""
    trivial = _trivial_epsilon(terms, delta)
    if trivial is not None:
        return trivial
    if math.isinf(terms.pure):
        bracket = _composed_epsilon(terms, math.log(delta), both=both)
        return _at_least_one(terms, delta, bracket) if both else bracket
    bracket = Bracket(0.0, math.inf)
    if delta > _SMALLEST:
        bracket = _composed_epsilon(terms, math.log(delta), both=both)
    if both and bracket.low == 0 and terms.curve is None:
        # Near the largest loss a mesh may give no lower bound; ε at a larger δ is smaller and still valid.
        larger = (other for other in _LARGER if other > delta)
        lows = (_least_epsilon(terms, math.log(other)) for other in larger)
        low = next((low for low in lows if low > 0), 0.0)
        bracket = _at_least_one(terms, delta, Bracket(min(low, bracket.high), bracket.high))
    return Bracket(min(bracket.low, terms.pure), min(bracket.high, terms.pure))


def _at_least_one(terms: Terms, delta: float, bracket: Bracket) -> Bracket:
    """Where compositions say little from below, what releases say one by one."""
    # ε at a larger δ is smaller, so what holds there holds at δ = 0 as well.
    asked = math.log(max(delta, _SMALLEST)) + terms.least_slack
    if bracket.low > _NEAR * bracket.high or not asked < 0:
        return bracket
    low = max(bracket.low, least_epsilon(terms.least, asked) - 2 * terms.least_slack)
    return Bracket(min(low, bracket.high), bracket.high)


def _composed_epsilon(terms: Terms, log_delta: float, *, both: bool) -> Bracket:
    if terms.slack == 0 and terms.curve is None and terms.least == terms.pairs:
        return _pairs_epsilon(terms, log_delta, both=both)
    high = math.inf
    # A release that is known by its curve alone has no pair to compose.
    if terms.curve is not None:
        high = _quick_epsilon(terms, math.exp(log_delta)).high
    elif math.isfinite(terms.slack):
        above = _pairs_epsilon(terms, log_delta - terms.slack, both=False)
        high = above.high + 2 * terms.slack
    # Both laws lie near each other, so the first one's answer says where to look for the second.
    low = _least_epsilon(terms, log_delta, near=high) if both and high > 0 else 0.0
    return Bracket(min(low, high), high)


def _least_epsilon(terms: Terms, log_delta: float, *, near: float | None = None) -> float:
    """ε from below, of the pairs that some data attain."""
    asked = log_delta + terms.least_slack
    if not (terms.least and asked < 0):
        return 0.0
    attained = replace(terms, pairs=terms.least, curve=None)
    found = _pairs_epsilon(attained, asked, both=True, near=near)
    return max(found.low - 2 * terms.least_slack, 0.0)


def _pairs_epsilon(
    terms: Terms, log_delta: float, *, both: bool, near: float | None = None
) -> Bracket:
    single = _exact(terms)
    if single is not None:
        return Bracket(*single.epsilon_bounds(log_delta))
    # δ falls with ε: no ε is needed from the sum of the releases' own δ at 0 on
    if log_delta >= math.log(most_delta(terms.pairs)):
        return Bracket(0.0, 0.0)
    bracket = pld_epsilon(terms.pairs, log_delta, both=both, near=near)
    high, low = bracket.high, bracket.low
    if math.isinf(high):
        high = _renyi_epsilon(terms, log_delta)
        if both and log_delta < _LOG_SMALLEST:  # no mesh reaches so far; ε at a larger δ is smaller
            low = max(low, pld_epsilon(terms.pairs, _LOG_SMALLEST).low)
    return Bracket(min(low, high), high)


def _single(terms: Terms) -> Pair | None:
    """The only pair, if everything is one release whose curve has a closed form."""
    if len(terms.pairs) != 1 or terms.pairs[0][1] > 1 or terms.pairs[0][0].exact is None:
        return None
    return terms.pairs[0][0]


def _exact(terms: Terms) -> ExactCurve | None:
    single = _single(terms)
    return None if single is None else single.exact


def _base_delta(
    terms: Terms, epsilon: float, pairs_delta: Callable[[Terms, float], Bracket]
) -> Bracket:
    """δ of everything except failure."""
    if terms.exposed == 0 and terms.curve is None and not terms.pairs:
        return Bracket(0.0, 0.0)
    if terms.exposed > 0:
        return Bracket(terms.exposed, 1.0)
    if epsilon >= terms.pure:
        return Bracket(0.0, 0.0)
    if terms.slack == terms.least_slack == 0:
        return pairs_delta(terms, epsilon)
    # δ_true(ε) ≤ e^A·δ(ε − 2A) (docs/privacy.md §4).
    inner = epsilon - 2 * terms.slack
    shifted = pairs_delta(terms, max(inner, 0.0)).high
    if inner < 0:  # δ(−x) ≤ δ(0) + 1 − e^(−x), since δ falls with e^ε at a slope of at most 1
        shifted -= math.expm1(inner)
    high = min(1.0, shifted * math.exp(min(terms.slack, _LARGE)))
    least = pairs_delta(terms, epsilon + 2 * terms.least_slack).low
    return Bracket(min(least * math.exp(-terms.least_slack), high), high)


def _pairs_delta(terms: Terms, epsilon: float) -> Bracket:
    """δ of the releases by themselves: from above, and of what some data attain from below."""
    found = _law_delta(terms, epsilon)
    if terms.curve is None and terms.least == terms.pairs:
        return found
    attained = replace(terms, pairs=terms.least, curve=None)
    low = _law_delta(attained, epsilon, near=found.high).low if terms.least else 0.0
    return Bracket(min(low, found.high), found.high)


def _law_delta(terms: Terms, epsilon: float, *, near: float | None = None) -> Bracket:
    single = None if terms.curve is not None else _exact(terms)
    if single is not None:
        return Bracket(*exp_bounds(*single.log_delta_bounds(epsilon)))
    curve, missing = _total_curve(terms)
    log_renyi = renyi.log_delta_bound(curve, epsilon)
    bound = min(1.0, exp_bounds(log_renyi, log_renyi)[1] + missing)
    if terms.curve is not None or log_renyi < _LOG_SMALLEST:
        return Bracket(0.0, bound)
    least = least_delta(terms.pairs, epsilon)  # of what these pairs are, which need not be attained
    log_least = math.log(least) if least > 0 else -math.inf
    # Where few releases decide, the moment bound is far from δ, and what one of them shows is near it.
    guess = log_least if log_renyi - log_least < _FAR else log_renyi
    certified = pld_delta(terms.pairs, epsilon, guess, near=near)
    high = min(bound, certified.high, most_delta(terms.pairs))
    low = max(certified.low, least) if certified.low <= _NEAR * high else certified.low
    return Bracket(min(low, high), high)
