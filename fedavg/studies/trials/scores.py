"""The figures of a kept model as the values of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.metrics.interface import Figure

__all__ = ["Scored", "Scores", "scores_of"]


class Scored(Protocol):
    """The figures of a model, the headline first."""

    @property
    def figures(self) -> Sequence[Figure]:
        """All figures."""
        ...

    def figure(self, name: str) -> Figure | None:
        """The figure of a metric; None where it was not asked for."""
        ...


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


def scores_of(scored: Scored | None) -> Scores:
    """The fields that the figures of a model give.

    Args:
        scored: the figures; None for a model that was not scored.

    Example:
        >>> scores_of(None)["headline"] is None
        True
    """
    figures = () if scored is None else scored.figures
    headline = figures[0] if figures else None
    accuracy = None if scored is None else scored.figure("accuracy")
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
