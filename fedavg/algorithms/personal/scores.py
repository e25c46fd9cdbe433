"""How the models of clients' own are scored, client by client, on examples that they never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Score", "held_out", "summary_of"]


@dataclass(frozen=True, slots=True)
class Score:
    """One client's figures on examples that it never trained on; private to it, and covered by no epsilon.

    Args:
        client: its id.
        examples: so many.
        shared: of the released model; None where there is no such model.
        personal: of its own model.
        trained: whether that is its own: a client that was never in a round of Ditto has the released one.
        figure: what `shared` and `personal` are: "accuracy" of classes and labels, "rmse" of numbers.
        greater_is_better: whether a larger figure is a better one.
    """

    client: int
    examples: int
    shared: float | None
    personal: float
    trained: bool
    figure: str = "accuracy"
    greater_is_better: bool = True


def held_out(
    count: int, fraction: float, seed: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split one client's examples by a public rule.

    Args:
        count: its examples.
        fraction: share to keep for scoring: at least one example where there are two, never all.
        seed: public.

    Returns:
        int64 indices to train on, and to score on (none of a single example).

    Example:
        >>> [len(part) for part in held_out(10, 0.2, (0, 7))], len(held_out(1, 0.2, (0, 7))[1])
        ([8, 2], 0)
    """
    order = np.random.default_rng(seed).permutation(count)  # noqa: TID251 - public seed
    held = min(max(round(fraction * count), 1), count - 1)
    return np.sort(order[held:]), np.sort(order[:held])


def summary_of(kind: str, scores: Sequence[Score]) -> dict[str, object]:
    """What may stand in the operator's summary: no client's figure but the worst one's.

    Args:
        kind: of personalisation.
        scores: of all clients that hold an example to score on.
    """
    shared = [score.shared for score in scores if score.shared is not None]
    personal = [score.personal for score in scores]
    sign = 1 if all(score.greater_is_better for score in scores) else -1
    gains = [sign * (s.personal - s.shared) for s in scores if s.shared is not None]
    return {
        "kind": kind,
        "figure": scores[0].figure if scores else "accuracy",
        "clients": len(scores),
        "untrained": sum(not score.trained for score in scores),
        "shared": _spread(shared, sign),
        "personal": _spread(personal, sign),
        "better": sum(gain > 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
    }


def _spread(values: Sequence[float], sign: int) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = (float(q) for q in np.quantile(values, (0.1, 0.5, 0.9)))
    return {
        "mean": float(np.mean(values)),
        "worst": min(values, key=lambda value: sign * value),
        "q10": low,
        "median": middle,
        "q90": high,
    }
