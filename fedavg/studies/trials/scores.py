"""The figures of a kept model as the values of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.metrics.interface import Figure

__all__ = ["Scores", "scores_of"]


class Scores(TypedDict):
    """The fields of `Measured` that figures give."""

    headline: str | None
    headline_value: float | None
    headline_baseline: float | None
    headline_greater: bool | None
    headline_share: bool | None
    baseline_rule: str | None
    baseline_accuracy: float | None
    figures: dict[str, float | None]


def scores_of(figures: Sequence[Figure]) -> Scores:
    """The fields that some figures give; nothing for a model that was not scored.

    Args:
        figures: the headline first.

    Example:
        >>> scores_of(())["headline"] is None
        True
    """
    headline = figures[0] if figures else None
    accuracy = next((figure for figure in figures if figure.name == "accuracy"), None)
    return {
        "headline": None if headline is None else headline.name,
        "headline_value": None if headline is None else headline.value,
        "headline_baseline": None if headline is None else headline.baseline.value,
        "headline_greater": None if headline is None else headline.greater_is_better,
        "headline_share": None if headline is None else headline.share,
        "baseline_rule": None if headline is None else headline.baseline.rule,
        "baseline_accuracy": None if accuracy is None else accuracy.baseline.value,
        "figures": {figure.name: figure.value for figure in figures},
    }
