"""Certified brackets of ε and δ for composed pairs: the mesh is refined until both sides meet.

Both sides are exact compositions of gridded laws that lie above and below the true one; each grid errs by
the square of its mesh.  A first look from few points finds about where the answer lies; the mesh follows from
the two laws' moments there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dp.composition.bracket import Bracket
from dp.composition.compose import Composed, compose
from dp.composition.discretise import Cells, GridLaw, cells_of
from dp.composition.question import Question, Tilt, tilt_for
from dp.composition.reading import last_above, least
from dp.composition.spectrum import Spectrum, spectrum
from dp.composition.tilting import Tilted, Window, tilted, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dp.losses import Pair

    Laws = tuple[tuple[GridLaw, int], ...]

__all__ = ["RELATIVE_WIDTH", "pld_curve", "pld_delta", "pld_epsilon"]

Pairs = tuple[tuple["Pair", int], ...]

RELATIVE_WIDTH = 1e-4
"""Target width of the bracket, relative to its value."""
_MAX_POINTS = 1 << 20
_MANY_POINTS = 1 << 17
"""Points of a window beyond which low frequencies may be the shorter way."""
_MAX_CELLS = 1 << 18
_FEW_POINTS = 1 << 14
"""Points of a composition for a first look, and how many of them there may be."""
_SCOUTS, _NEAR = 8, 0.7
"""First looks at most, and how little two in a row may differ to be the last."""
_ABOVE_ROUNDING = 10.0
_ATTEMPTS = 8
_LITTLE = 0.7
"""A part of its width that a bracket keeps on a finer mesh if the mesh is not why it is wide."""
_DEEPER = 20.0
"""How far below the answer the next guess of log δ is, if the tails were cut too early; then twice as far."""
_NEGLIGIBLE = math.log(1e-30)
"""Log of a δ so small that it is not attempted again for the sake of its width."""
_FIRST_MESH = 0.05
"""Multiple of the losses' root mean square spread."""
_FINEST_MESH = 0.01
"""Of the spread: below it nothing is won, nor below a small part of losses that are large anyway."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Both sides of one order of the pairs; they also answer the question at a nearby δ."""

    upper: Composed | Spectrum
    lower: Composed | Spectrum | None

    def epsilon(self, log_delta: float, *, floor: float = 0.0) -> tuple[float, float]:
        """ε from both sides; values below the floor need not be exact."""
        high = least(self.upper, log_delta, floor)
        if self.lower is None or not math.isfinite(high):
            return 0.0, high
        return last_above(self.lower, log_delta, high), high

    def log_delta(self, epsilon: float) -> tuple[float, float]:
        """Log δ from both sides."""
        low = -math.inf if self.lower is None else self.lower.log_delta_low(epsilon)
        return min(low, 0.0), self.upper.log_delta_high(epsilon)


def pld_epsilon(
    pairs: Pairs, log_delta: float, *, both: bool = True, near: float | None = None
) -> Bracket:
    """Bracket ε at this δ.

    Args:
        pairs: pairs of the releases, with their counts.
        log_delta: log δ, below 0.
        both: whether to compute both sides; else only the upper one, and `low` is 0.
        near: about what ε is, if something is known; no value makes a side wrong.
    """
    low, high = 0.0, 0.0
    # Rounded, so that one composition in the cache answers all questions at nearby δ.
    nearby = math.floor(4 * log_delta) / 4
    # ε is the larger of the two orders (docs/privacy.md §2.1).
    aim = None if near is None or not 0 < near < math.inf else Question(nearby, near)
    for removing in _orders(pairs):
        answer = _answer(pairs, Question(nearby), removing, both, high, aim)
        if answer is None:
            return Bracket(0.0, math.inf)
        # What this order has to exceed, or it does not matter, is what to look for in the other one.
        below, above = answer.epsilon(log_delta, floor=high)
        low, high = max(low, below), max(high, above)
        if math.isinf(high):
            break
        aim = Question(nearby, high) if high > 0 else None
    return Bracket(min(low, high), high)


def pld_delta(
    pairs: Pairs, epsilon: float, log_guess: float, *, near: float | None = None
) -> Bracket:
    """Bracket δ at this ε.

    Args:
        pairs: pairs of the releases, with their counts.
        epsilon: ε ≥ 0.
        log_guess: about what log δ is.  If it is too large, the first attempt cuts too much; if it is too
            small, meshes are long.
        near: about what δ is, where more is known.  Neither makes a side wrong.
    """
    low = high = -math.inf
    aim = Question(math.log(near), epsilon) if near else None
    deeper = _DEEPER
    for _ in range(_ATTEMPTS):
        low, high, beyond = -math.inf, -math.inf, 0.0
        for removing in _orders(pairs):
            answer = _answer(pairs, Question(log_guess, epsilon), removing, True, high, aim)
            if answer is None:
                return Bracket(0.0, 1.0)
            below, above = answer.log_delta(epsilon)
            low, high = max(low, below), max(high, above)
            beyond = max(beyond, answer.upper.beyond)
            aim = Question(high, epsilon)
        if high < _NEGLIGIBLE or beyond <= 0.1 * RELATIVE_WIDTH * math.exp(high):
            break
        log_guess = high - deeper  # the cut tails dominate: cut less
        deeper *= 2
    return Bracket(math.exp(min(low, high)), math.exp(high))


def pld_curve(
    pairs: Pairs, epsilons: NDArray[np.float64], log_anchors: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bracket δ at many ε from few compositions.

    Args:
        pairs: pairs of the releases, with their counts.
        epsilons: float64[n], ≥ 0.
        log_anchors: values of log δ, below 0; the bounds are tight where δ is near one of them.

    Returns:
        Two float64[n], lower and upper bounds of δ.
    """
    low, high = np.zeros(len(epsilons)), np.ones(len(epsilons))
    for anchor in log_anchors:
        both = np.full((2, len(epsilons)), -np.inf)
        for removing in _orders(pairs):
            answer = _answer(pairs, Question(anchor), removing, True, 0.0)
            if answer is None:
                both[1] = 0.0
                continue
            found = np.array([answer.log_delta(float(epsilon)) for epsilon in epsilons]).T
            both = np.maximum(both, found)
        low, high = np.maximum(low, np.exp(both[0])), np.minimum(high, np.exp(both[1]))
    return np.minimum(low, high), high


def _orders(pairs: Pairs) -> tuple[bool, ...]:
    """Removing and adding; one of them where it is the other's mirror image."""
    return (True,) if all(pair.mirrored for pair, _ in pairs) else (True, False)


@lru_cache(maxsize=4)
def _answer(
    pairs: Pairs,
    question: Question,
    removing: bool,  # noqa: FBT001 - a cache key
    both: bool,  # noqa: FBT001 - a cache key
    enough: float,
    near: Question | None = None,
) -> _Answer | None:
    """Both sides of one order; None where a mesh for the losses would have steps or places beyond floats.

    The mesh then overflows, or divides by a number that underflows.  The moment bounds, which need no mesh,
    answer instead.
    """
    try:
        return _refined(pairs, question, enough, near, removing=removing, both=both)
    except ArithmeticError:
        return None


def _refined(
    pairs: Pairs,
    question: Question,
    enough: float,
    near: Question | None,
    *,
    removing: bool,
    both: bool,
) -> _Answer | None:
    """Compose on ever smaller meshes until the sides meet, or until the upper one is below `enough`.

    The first composition looks about `near`, or where a first look finds the answer.
    """
    releases = sum(count for _, count in pairs)
    # The tails that all releases leave out are together at most 1e-7 of δ, as far as floats reach.
    log_tail = max(min(question.log_delta - math.log(1e7 * releases), math.log(1e-14)), -660.0)
    tail = math.exp(log_tail)
    spread = math.sqrt(sum(n * pair.spread**2 for pair, n in pairs) / releases)
    coarsest = _coarsest(pairs, tail, removing=removing)
    finest = _finest(pairs, coarsest, spread, tail)
    step = max(_FIRST_MESH * spread * (1 if removing else 3), finest)
    best: _Answer | None = None
    aim, composed = near or _scout(pairs, question, step, tail, removing=removing), math.inf
    attempts, before = 0, math.inf
    while attempts < _ATTEMPTS:
        upper = _upper(pairs, step, tail, removing)
        tilt = _tilt(upper, question, aim)
        parts = [tilted(law, tilt.t, n) for law, n in upper]
        span = window(parts, step, tilt.log_outside)
        lower = _lower(pairs, step, tail, removing)
        # a mesh can be too coarse for any claim from below
        under = [tilted(law, tilt.t, n) for law, n in lower if law.mass.any()]
        gap = _moment(parts) - _moment(under) if len(under) == len(lower) else math.inf
        known = tilt.answer if aim.epsilon is None else aim.epsilon
        width = abs(question.relative(gap, tilt.t, known))
        if removing and best is None and width > RELATIVE_WIDTH and step > finest:
            step = _finer(step, width, finest)  # nothing was composed: no attempt either
            continue
        attempts += 1
        above = _composed(parts, upper, tilt.t, span)
        if above is None:  # too many points: the next mesh is as fine as the limit allows
            finest = step = 1.05 * span.width / _MAX_POINTS
            if step > min(0.9 * composed, coarsest):
                break
            continue
        if _beaten(above, question, enough):  # the other order decides
            return _Answer(above, None)
        below = None
        if both and gap < math.inf:
            below = _under(pairs, (under, lower), tilt, tail, removing=removing)
        best, composed = _Answer(above, below), step
        aim, found = _width(best, question)
        if both:
            width = found
        elif question.epsilon is None:
            width = abs(question.relative(gap, tilt.t, aim.epsilon or math.inf))
        if width <= RELATIVE_WIDTH or step <= finest or _LITTLE * before < width < 1:
            break
        before = width
        step = _finer(step, width, finest)
    return best


def _finest(pairs: Pairs, coarsest: float, spread: float, tail: float) -> float:
    """A mesh below which nothing is won; what rounding may do to a loss is small beside a step."""
    wrong = [pair.loss_rounding(np.array([pair.spread]), tail)[0] for pair, _ in pairs]
    least = min(coarsest / _MAX_CELLS, _FINEST_MESH * spread)
    return max(least, min(_ABOVE_ROUNDING * float(max(wrong)), _FIRST_MESH * spread))


def _tilt(laws: Laws, question: Question, aim: Question) -> Tilt:
    """The tilt at the aim, unless the moment bound knows that the answer is less.

    A composition is read badly far below its centre, so that an aim which is too high would find itself
    confirmed: many releases on a coarse first mesh give such an aim.
    """
    if question.epsilon is None and aim.epsilon is not None:
        bound = tilt_for(laws, question)
        if aim.epsilon > bound.answer:
            return bound
    return tilt_for(laws, aim)


def _under(
    pairs: Pairs, lower: tuple[list[Tilted], Laws], tilt: Tilt, tail: float, *, removing: bool
) -> Composed | Spectrum | None:
    """The lower side, on a coarser mesh of its own where there are too many points.

    A law of few points that lie far apart is taken apart above, and not below: its transform does not fall.
    """
    under, laws = lower
    step = laws[0][0].step
    span = window(under, step, tilt.log_outside)
    found = _composed(under, laws, tilt.t, span, most=2 * _MAX_POINTS)
    if found is not None:
        return found
    step = 1.05 * span.width / (2 * _MAX_POINTS)
    laws = _lower(pairs, step, tail, removing)
    under = [tilted(law, tilt.t, n) for law, n in laws if law.mass.any()]
    if len(under) < len(laws):
        return None
    span = window(under, step, tilt.log_outside)
    return _composed(under, laws, tilt.t, span, most=2 * _MAX_POINTS)


def _composed(
    parts: list[Tilted], laws: Laws, t: float, span: Window, *, most: int = _MAX_POINTS
) -> Composed | Spectrum | None:
    """By all points of the window, or by the low frequencies; None if both are too many."""
    points = span.width / laws[0][0].step
    low = spectrum(parts, laws, t, span) if points > _MANY_POINTS else None
    if low is not None or points > most:
        return low
    return compose(parts, laws, t, span)


def _scout(
    pairs: Pairs, question: Question, step: float, tail: float, *, removing: bool
) -> Question:
    """The question with a first answer, from few points: moment bounds alone can be far from the truth."""
    aim, fine = question, step
    for _ in range(_SCOUTS):
        look = _far_look(pairs, aim, fine, tail, removing=removing)
        if look is not None:
            return _width(_Answer(look, None), question)[0]
        upper = _upper(pairs, step, tail, removing)
        tilt = tilt_for(upper, aim)
        parts = [tilted(law, tilt.t, n) for law, n in upper]
        span = window(parts, step, tilt.log_outside)
        if span.width > step * _FEW_POINTS:
            step = 1.5 * span.width / _FEW_POINTS
            if step > _coarsest(pairs, tail, removing=removing):
                break
            continue
        aim, before = _width(_Answer(compose(parts, upper, tilt.t, span), None), question)[0], aim
        if question.epsilon is not None or aim.epsilon is None:
            break
        if before.epsilon is not None and aim.epsilon > _NEAR * before.epsilon:
            break
        step /= 4
    return aim


def _far_look(
    pairs: Pairs, aim: Question, step: float, tail: float, *, removing: bool
) -> Spectrum | None:
    """The low frequencies' answer on the first mesh, if all points of its window would be too many."""
    upper = _upper(pairs, step, tail, removing)
    tilt = tilt_for(upper, aim)
    parts = [tilted(law, tilt.t, n) for law, n in upper]
    span = window(parts, step, tilt.log_outside)
    return spectrum(parts, upper, tilt.t, span) if span.width > step * _MANY_POINTS else None


def _moment(parts: list[Tilted]) -> float:
    return sum(x.log_moment * x.count for x in parts)


def _beaten(above: Composed | Spectrum, question: Question, enough: float) -> bool:
    if question.epsilon is None:
        return enough > 0 and above.log_delta_high(enough) <= question.log_delta
    return above.log_delta_high(question.epsilon) <= enough


def _width(answer: _Answer, question: Question) -> tuple[Question, float]:
    """The question that is equivalent now that the answer is nearly known, and the relative width."""
    if question.epsilon is not None:
        low, high = answer.log_delta(question.epsilon)
        return Question(high, question.epsilon), -math.expm1(low - high)
    low, high = answer.epsilon(question.log_delta)
    if not math.isfinite(high):
        return question, math.inf
    return Question(question.log_delta, high), (high - low) / high if high > 0 else 0.0


def _finer(step: float, width: float, finest: float) -> float:
    """A finer step, given that errors are quadratic in the mesh."""
    return max(step * min(0.8, max(0.1, math.sqrt(0.7 * RELATIVE_WIDTH / width))), finest)


def _coarsest(pairs: Pairs, tail: float, *, removing: bool) -> float:
    """A mesh on which all losses of every pair would be one cell."""
    ends = [pair.range(tail, removing=removing) for pair, _ in pairs]
    return max(high - low for low, high in ends)


@lru_cache(maxsize=2)
def _cells(
    pairs: Pairs,
    step: float,
    tail: float,
    removing: bool,  # noqa: FBT001 - a cache key
) -> tuple[tuple[Cells, int], ...]:
    return tuple((cells_of(pair, step, tail, removing=removing), n) for pair, n in pairs)


@lru_cache(maxsize=2)
def _upper(pairs: Pairs, step: float, tail: float, removing: bool) -> Laws:  # noqa: FBT001 - a cache key
    """All releases' laws from above; first looks and the first composition share a mesh."""
    return tuple((cells.above(), n) for cells, n in _cells(pairs, step, tail, removing))


def _lower(pairs: Pairs, step: float, tail: float, removing: bool) -> Laws:  # noqa: FBT001 - as above
    """All releases' laws from below."""
    return tuple((cells.below(), n) for cells, n in _cells(pairs, step, tail, removing))
