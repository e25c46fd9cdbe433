"""Audits in one run: m canaries, each included or not by a fair coin, and an attack that guesses the coins.

Steinke, Nasr and Jagielski (2023) bound the right guesses under (ε, δ)-privacy; Mahloujifar, Melis and
Chaudhuri (2024) under a whole privacy curve, which is tighter.  The bound used here is of the second
kind; it holds for any attack and any dependence between canaries.

Let r of the m canaries be guessed, C guesses be right, and F be the curve's blow-up function.  For each
canary and any value of the other coins, "guessed right, and j − 1 others right" has a probability of at
most F of that of "guessed wrong, and j − 1 others right", since only this canary's coin differs.
Averaged over canaries and coins (F is concave), and summed over all j from some level on:

    (1/m)·Σ_{i ≥ j} i·P[C=i]  ≤  F( (1/m)·Σ_{i ≥ j−1} (r−i)·P[C=i] )

With tails A_j = P[C ≥ j] and B_j = Σ_{i ≥ j} A_i this reads

    A_{j−1}  ≥  ( m·F⁻¹((j·A_j + B_{j+1})/m) + B_j ) ÷ (r − j + 1)

whose right side grows with every tail.  So if P[C ≥ c] were τ, the least tails that can follow are those
from A_c = τ and nothing above; where they exceed 1, P[C ≥ c] < τ.

For a single (ε, δ) pair Steinke, Nasr and Jagielski's bound (theorem 5.2) is sometimes the smaller:

    P[C ≥ c]  ≤  P[X ≥ c] + 2mδ·max_i P[c − i ≤ X < c]/i,   X ~ Bin(r, e^ε/(1 + e^ε))

Both bound the probability of the same event, so the smaller of them is valid too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, ndtr

from dp.accounting import gaussian_epsilon
from dp.audit.curves import GaussianCurve, ProfileCurve
from dp.checks import plain_array, positive, proper_fraction, real_array, whole
from dp.errors import InvalidParameterError, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dp.audit.curves import Curve

__all__ = [
    "Family",
    "OneRun",
    "claim_p_value",
    "one_run",
    "plan_guesses",
    "refutes",
    "right_guesses_p_value",
]

_LARGEST_EPSILON = 100.0
_LARGEST_MU = 40.0
_SMALLEST_P = 1e-30

Family = Literal["any", "gaussian"]


@dataclass(frozen=True, slots=True)
class OneRun:
    """A lower bound on ε from one run.

    Args:
        epsilon_low: the true ε at `delta` is at least this, except with probability at most 1 − confidence.
        delta: δ at which ε is stated.
        confidence: confidence of the bound.
        canaries: number of coins.
        guesses: number of coins that the attack guessed.
        correct: number of correct guesses.
        family: "any": nothing is assumed of the mechanism. "gaussian": the mechanism is μ-Gaussian private
            for some μ, as unsampled Gaussian noise is, and only then is the bound valid.
    """

    epsilon_low: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int
    family: Family


def one_run(
    scores: NDArray[np.floating],
    included: NDArray[np.bool_],
    *,
    delta: float,
    confidence: float = 0.95,
    guesses: int | tuple[int, int] | None = None,
    family: Family = "any",
) -> OneRun:
    """Bound ε from below by one run with canaries that were included by independent fair coins.

    The highest scores are guessed to be in, the lowest to be out.  Decide the number of guesses before you
    see the scores.

    Args:
        scores: float[m], one for each canary, large if it seems included.  Compute them from what was
            released and from the canaries, never from the coins.
        included: bool[m], the coins.
        delta: δ at which ε is stated, in (0, 1).
        confidence: confidence of the bound, in (0, 1).
        guesses: number of guesses, or (guessed out, guessed in); None guesses a quarter of all.
        family: see `OneRun`.

    Raises:
        InvalidParameterError: the arrays do not fit, or a parameter is out of range.
        NonFiniteError: a score is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> coins = np.arange(400) % 2 == 1
        >>> found = one_run(coins + np.linspace(0, 0.5, 400), coins, delta=1e-5, guesses=100)
        >>> found.correct, 3 < found.epsilon_low < 4
        (100, True)
    """
    delta, confidence = proper_fraction("delta", delta), proper_fraction("confidence", confidence)
    if family not in ("any", "gaussian"):
        raise InvalidParameterError(f"family must be 'any' or 'gaussian', not {family!r}")
    canaries, total, right = _right_guesses(scores, included, guesses)
    low = _epsilon_low(canaries, total, right, 1 - confidence, delta, family)
    return OneRun(low, delta, confidence, canaries, total, right, family)


def plan_guesses(
    canaries: int,
    mu: float,
    *,
    delta: float,
    confidence: float = 0.95,
    family: Family = "any",
) -> int:
    """Choose the number of guesses, before the run, for a mechanism that is about μ-Gaussian private.

    Args:
        canaries: number of coins.
        mu: μ of the run's noise: √rounds ÷ noise multiplier; an approximate value suffices.
        delta: as for `one_run`.
        confidence: as for `one_run`.
        family: as for `one_run`.

    Returns:
        An even number of guesses at which the bound is expected to be best.

    Example:
        >>> plan_guesses(4000, 1.0, delta=1e-5, family="gaussian")
        400
    """
    canaries, mu = whole("canaries", canaries, 2), positive("mu", mu)
    delta, tau = proper_fraction("delta", delta), 1 - proper_fraction("confidence", confidence)
    shares = np.array([0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8])
    best, best_low = 2, -1.0
    for total in np.unique(2 * np.ceil(canaries * shares / 2).astype(int)):
        # scores are N(0,1) or N(μ,1) with equal probability, and symmetric about μ/2
        edge = _upper_quantile(mu, total / (2 * canaries))
        rate = float(ndtr(mu - edge)) * canaries / total
        # One deviation below the mean, so that the plan does not count on luck.
        expected = total * rate - math.sqrt(total * rate * max(1 - rate, 0.0))
        low = _epsilon_low(canaries, int(total), int(expected), tau, delta, family)
        if low > best_low:
            best, best_low = int(total), low
    return best


def _upper_quantile(mu: float, share: float) -> float:
    """The score that this share of all canaries exceeds."""
    return float(brentq(lambda x: (ndtr(-x) + ndtr(mu - x)) / 2 - share, mu / 2 - 1e-9, mu + 40.0))


def _epsilon_low(
    canaries: int, guesses: int, correct: int, tau: float, delta: float, family: Family
) -> float:
    """The largest ε of the family under which this many correct guesses have a probability below tau."""

    def refuted(parameter: float) -> bool:
        gaussian = family == "gaussian"
        curve = GaussianCurve(parameter) if gaussian else ProfileCurve(((parameter, delta),))
        return refutes(canaries, guesses, correct, curve, tau)

    if family == "any":
        return _last_refuted(refuted, _LARGEST_EPSILON)
    mu = _last_refuted(refuted, _LARGEST_MU)
    return gaussian_epsilon(1 / mu, delta) if mu > 0 else 0.0


def claim_p_value(
    scores: NDArray[np.floating],
    included: NDArray[np.bool_],
    claim: Curve,
    *,
    guesses: int | tuple[int, int] | None = None,
) -> float:
    """Bound the probability of this many correct guesses, if the claim holds.

    Args:
        scores: as for `one_run`.
        included: as for `one_run`.
        claim: a `GaussianCurve`, or a `ProfileCurve` of (ε, δ) pairs that are all claimed, such as an
            accountant's at several ε; pairs with tiny δ make small p-values possible.
        guesses: as for `one_run`.

    Returns:
        A valid p-value: if the claim is true, it is below p with probability at most p.  At least 1e-30.

    Example:
        >>> import numpy as np
        >>> coins = np.arange(400) % 2 == 1
        >>> claim_p_value(coins.astype(float), coins, ProfileCurve(((1.0, 0.0),)), guesses=100) < 1e-9
        True
    """
    canaries, total, right = _right_guesses(scores, included, guesses)
    return right_guesses_p_value(canaries, total, right, claim)


def right_guesses_p_value(canaries: int, guesses: int, correct: int, curve: Curve) -> float:
    """Bound P[at least `correct` of `guesses` are right] for any attack on a mechanism with this curve.

    Args:
        canaries: m ≥ 1 fair coins.
        guesses: r of them guessed, r ≤ m.
        correct: c of the guesses right, c ≤ r.
        curve: the claimed privacy.

    Returns:
        In [1e-30, 1].

    Example:
        >>> round(right_guesses_p_value(10, 10, 10, ProfileCurve(((0.0, 0.0),))), 6)  # 2⁻¹⁰
        0.000977
    """
    canaries, guesses = whole("canaries", canaries), whole("guesses", guesses)
    correct = whole("correct", correct, 0)
    if not correct <= guesses <= canaries:
        raise InvalidParameterError(
            f"{correct} right guesses of {guesses} among {canaries} canaries is not possible"
        )
    low, high = math.log(_SMALLEST_P), 0.0
    if not _impossible(1.0, canaries, guesses, correct, curve):
        low = 0.0
    elif _impossible(_SMALLEST_P, canaries, guesses, correct, curve):
        high = low
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _impossible(math.exp(middle), canaries, guesses, correct, curve):
            high = middle
        else:
            low = middle
    pairs = curve.points if isinstance(curve, ProfileCurve) else ()
    binomial = (_binomial_bound(canaries, guesses, correct, e, d) for e, d in pairs)
    return max(_SMALLEST_P, min((math.exp(high), *binomial)))


def refutes(canaries: int, guesses: int, correct: int, curve: Curve, tau: float) -> bool:
    """Whether this many correct guesses have a probability below `tau` under this curve.

    The result equals `right_guesses_p_value` < tau, at a thirtieth of the cost.

    Example:
        >>> refutes(10, 10, 10, ProfileCurve(((0.0, 0.0),)), 0.001)
        True
    """
    if _impossible(tau, canaries, guesses, correct, curve):
        return True
    pairs = curve.points if isinstance(curve, ProfileCurve) else ()
    return any(_binomial_bound(canaries, guesses, correct, e, d) < tau for e, d in pairs)


def _impossible(tau: float, canaries: int, guesses: int, correct: int, curve: Curve) -> bool:
    """Whether P[C ≥ correct] ≥ tau contradicts the curve: the recursion above."""
    if correct == 0:
        return False
    tail, total, above = tau, tau, 0.0  # A_j, B_j, B_{j+1}
    for j in range(correct, 0, -1):
        fewest = canaries * curve.least((j * tail + above) / canaries)
        tail = max(tail, (fewest + total) / (guesses - j + 1))
        if tail > 1:
            return True
        above, total = total, total + tail
    return False


def _binomial_bound(
    canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> float:
    """Steinke, Nasr and Jagielski's bound on P[C ≥ correct] under (ε, δ)-privacy."""
    right = 1 / (1 + math.exp(-epsilon))
    beyond = float(bdtrc(correct - 1, guesses, right)) if correct > 0 else 1.0
    if correct == 0 or delta == 0:
        return beyond
    steps = np.arange(1, correct + 1)
    # P[X ≥ c − i], with P[X ≥ 0] = 1 as the last
    reached = np.append(bdtrc(correct - steps[:-1] - 1, guesses, right), 1.0)
    worst = float(((reached - beyond) / steps).max())
    return min(1.0, beyond + 2 * canaries * delta * worst)


def _last_refuted(refuted: Callable[[float], bool], top: float) -> float:
    """The largest parameter, to 1e-4 of itself, that is refuted; refutation is monotone."""
    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 0.125
    while high < top and refuted(high):
        low, high = high, 2 * high
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def _right_guesses(
    scores: NDArray[np.floating],
    included: NDArray[np.bool_],
    guesses: int | tuple[int, int] | None,
) -> tuple[int, int, int]:
    """The number of coins, the number of guesses, and the number of correct guesses."""
    values, coins = real_array("scores", scores), plain_array("included", included, "b")
    if values.ndim != 1 or values.size == 0 or coins.shape != values.shape:
        raise InvalidParameterError(
            f"an audit needs one score and one coin a canary, not coins of shape {coins.shape} "
            f"for scores of shape {values.shape}"
        )
    if not bool(np.isfinite(values).all()):
        raise NonFiniteError("a canary's score is NaN or infinite")
    lowest, highest = _split(guesses, values.size)
    # Ties go by place, so that they cannot depend on the coins.
    order = np.argsort(values, kind="stable")
    right = int(np.count_nonzero(~coins[order[:lowest]]))
    right += int(np.count_nonzero(coins[order[values.size - highest :]]))
    return values.size, lowest + highest, right


def _split(guesses: int | tuple[int, int] | None, canaries: int) -> tuple[int, int]:
    if guesses is None:
        guesses = max(1, canaries // 4)
    if isinstance(guesses, tuple):
        lowest, highest = (whole("guesses", part, 0) for part in guesses)
    else:
        total = whole("guesses", guesses)
        lowest, highest = total // 2, total - total // 2
    if not 1 <= lowest + highest <= canaries:
        raise InvalidParameterError(
            f"{lowest + highest} guesses were asked for with {canaries} canaries; "
            "guess between 1 and all of them"
        )
    return lowest, highest
