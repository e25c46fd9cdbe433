"""What the audits of clients and of records have in common: their smallest number of canaries, and words."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from fedavg.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dp.audit import NoiseCheck

__all__ = ["FALSE_ALARM", "FEWEST_CANARIES", "as_json", "fitting", "refutations_of", "verdict_of"]

FALSE_ALARM = 1e-6
"""Probability with which one check refutes a claim that holds."""
FEWEST_CANARIES = 40
"""With fewer canaries, no number of correct guesses is evidence."""


def fitting(count: int, most: int, what: str) -> int:
    """A number of canaries that a plan has room for.

    Args:
        count: the number.
        most: the largest number.
        what: what each canary takes up, such as "each parameter of the model".

    Raises:
        PlanError: there are fewer than 40, or more than `most`.

    Example:
        >>> fitting(40, 36, "each of 36 parameters")
        Traceback (most recent call last):
        fedavg.errors.PlanError: no audit fits: it takes 40 canaries or more, and at most 36, one for each ...
    """
    if most < FEWEST_CANARIES:
        raise PlanError(
            f"no audit fits: it takes {FEWEST_CANARIES} canaries or more, and at most {most}, one for "
            f"{what}, have room: audit a larger model or plan"
        )
    if not FEWEST_CANARIES <= count <= most:
        raise PlanError(
            f"{count} canaries do not fit: between {FEWEST_CANARIES} and {most} do, one for {what}"
        )
    return count


def refutations_of(
    correct: int, guesses: int, p_value: float, noise: NoiseCheck, too_long: str
) -> tuple[str, ...]:
    """Findings that a claim cannot explain; each check errs with probability 1e-6 at most.

    Args:
        correct: number of correct guesses.
        guesses: number of guesses.
        p_value: largest probability of so many correct guesses, if the claim holds.
        noise: the check of the noise.
        too_long: what is longer than the noise is made for, as a sentence; "" for nothing.
    """
    found: list[str] = []
    if p_value <= FALSE_ALARM:
        found.append(
            f"the attack was right {correct} of {guesses} times, which the claimed "
            f"privacy allows with probability {p_value:.0e} at most"
        )
    found.extend(finding.text for finding in noise.findings)
    if too_long:
        found.append(too_long)
    return tuple(found)


def verdict_of(
    refutations: Sequence[str], confidence: float, epsilon_low: float, claimed: float
) -> str:
    """The verdict, in one or two sentences."""
    if refutations:
        return "REFUTED: " + "; ".join(refutations) + "."
    ratio = epsilon_low / claimed if claimed > 0 else math.inf
    return (
        f"Consistent with the claim. With {confidence:.0%} confidence epsilon is at least "
        f"{epsilon_low:.2f}, {ratio:.0%} of the claimed {claimed:.2f}. "
        "An audit can refute a claim, it cannot prove one."
    )


def as_json(figures: Mapping[str, object]) -> dict[str, Any]:
    """Figures as JSON has them: infinity becomes null, as in "no bound", and a kind of fault its name."""
    return {name: _plain(figure) for name, figure in figures.items()}


def _plain(figure: object) -> object:
    if isinstance(figure, dict):
        return as_json(cast("dict[str, object]", figure))
    if isinstance(figure, (list, tuple)):
        return [_plain(value) for value in cast("Sequence[object]", figure)]
    if isinstance(figure, Enum):
        return figure.value
    return None if isinstance(figure, float) and not math.isfinite(figure) else figure
