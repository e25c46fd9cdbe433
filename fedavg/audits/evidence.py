"""What the audits of clients and of records have in common: their smallest number of canaries, and words."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dp.audit import NoiseCheck

__all__ = ["FALSE_ALARM", "FEWEST_CANARIES", "as_json", "refutations_of", "verdict_of"]

FALSE_ALARM = 1e-6
"""Probability with which one check refutes a claim that holds."""
FEWEST_CANARIES = 40
"""With fewer canaries, no number of correct guesses is evidence."""


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
