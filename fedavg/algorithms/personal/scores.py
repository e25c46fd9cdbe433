"""Scores of the clients' own models, client by client, on examples that they never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.metrics.interface import defined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Score", "held_out", "of_one_figure", "spread", "summary_of"]

_PARTS = {"q10": 0.1, "median": 0.5, "q90": 0.9}


@dataclass(frozen=True, slots=True)
class Score:
    """One client's figures on examples that it never trained on; private to it and not covered by epsilon.

    Args:
        client: id of the client.
        examples: number of examples.
        shared: figure of the released model; None where there is no such model.
        personal: figure of the client's own model.
        trained: whether that model is its own: a client that was never in a round of Ditto has the released
            one.
        figure: meaning of `shared` and `personal`: "accuracy" for labels, "rmse" for numbers,
            "scaled_rmse" for several columns of them.
        greater_is_better: whether a larger figure is better.
        share: whether the figure is a share, which is printed as a percentage.
        rule, baseline: the same prediction for each of these examples, such as "majority class", and its
            figure; None where that is not defined.

    A figure that is not defined, such as that of a model whose outputs are NaN, is the worst one: infinite.
    """

    client: int
    examples: int
    shared: float | None
    personal: float
    trained: bool
    figure: str = "accuracy"
    greater_is_better: bool = True
    share: bool = True
    rule: str = ""
    baseline: float | None = None


def of_one_figure(scores: Sequence[Score], headline: str) -> tuple[Score, ...]:
    """The scores by which clients are compared: by the headline where it is defined for every client.

    Args:
        scores: up to two for each client, one of which is by a figure that is defined on any examples.
        headline: name of the headline's figure; "" for none.

    Returns:
        One score for each client, all of one figure.

    Example:
        >>> two = [Score(0, 9, 0.5, 0.9, True), Score(0, 9, 0.5, 0.7, True, "roc_auc")]
        >>> [score.figure for score in of_one_figure(two, "roc_auc")]
        ['roc_auc']
        >>> [score.figure for score in of_one_figure([*two, Score(1, 1, 0.0, 1.0, True)], "roc_auc")]
        ['accuracy', 'accuracy']
    """
    by_headline = tuple(score for score in scores if score.figure == headline)
    others = tuple(score for score in scores if score.figure != headline)
    return by_headline if len(by_headline) >= len(others) else others


def held_out(
    count: int, fraction: float, seed: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split one client's examples by a public rule.

    Args:
        count: number of examples.
        fraction: share to hold out for scoring: at least one example if there are two or more, never all.
        seed: public seed.

    Returns:
        int64 indices to train on, and to score on (empty for a single example).

    Example:
        >>> [len(part) for part in held_out(10, 0.2, (0, 7))], len(held_out(1, 0.2, (0, 7))[1])
        ([8, 2], 0)
    """
    order = np.random.default_rng(seed).permutation(count)  # noqa: TID251 - public seed
    # Of two examples or more, at least one is held out and at least one remains to train on.
    held = min(max(round(fraction * count), 1), count - 1)
    return np.sort(order[held:]), np.sort(order[:held])


def summary_of(kind: str, scores: Sequence[Score], headline: str = "") -> dict[str, object]:
    """The part of the scores that the operator's summary shows: of single clients, only the worst figure.

    Args:
        kind: kind of personalisation.
        scores: scores of all clients that hold an example to score on.
        headline: name of the run's headline, by which clients are not always compared.
    """
    shared = [score.shared for score in scores if score.shared is not None]
    personal = [score.personal for score in scores]
    bars = [score.baseline for score in scores if score.baseline is not None]
    greater = all(score.greater_is_better for score in scores)
    sign = 1 if greater else -1
    gains = [sign * (s.personal - s.shared) for s in scores if s.shared is not None]
    return {
        "kind": kind,
        "figure": scores[0].figure if scores else "accuracy",
        "greater_is_better": greater,
        "share": all(score.share for score in scores),
        "clients": len(scores),
        "untrained": sum(not score.trained for score in scores),
        "shared": spread(shared, greater_is_better=greater) if shared else None,
        "personal": spread(personal, greater_is_better=greater) if personal else None,
        "rule": scores[0].rule if scores else "",
        "baseline": spread(bars, greater_is_better=greater) if bars else None,
        "headline": headline,
        "better": sum(gain > 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
    }


def spread(values: Sequence[float], *, greater_is_better: bool) -> dict[str, float | None]:
    """The distribution of a figure over clients, from the worst to the best.

    Args:
        values: one a client, at least one; infinite where a client's figure is not defined.
        greater_is_better: whether a larger figure is a better one.

    Returns:
        Mean, worst, and the figures that a tenth, a half and nine tenths of the clients do no better than;
        None for what is not defined.

    Example:
        >>> spread([1.0, 2.0, 9.0], greater_is_better=False)["worst"]
        9.0
    """
    sign = 1.0 if greater_is_better else -1.0
    # Figures are sorted by worth, so that the first is the worst in either direction.
    worth = np.sort(sign * np.asarray(values, np.float64))
    found = {
        "mean": float(np.mean(values)),
        "worst": float(sign * worth[0]),
        **{name: sign * _quantile(worth, part) for name, part in _PARTS.items()},
    }
    return {name: defined(value) for name, value in found.items()}


def _quantile(ordered: NDArray[np.float64], part: float) -> float:
    """By linear interpolation; infinite where one of the two neighbours is, not NaN as numpy has it."""
    place = part * (len(ordered) - 1)
    below = int(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low if place == below or low == high else low + (place - below) * (high - low)
