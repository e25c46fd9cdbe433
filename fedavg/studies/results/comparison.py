"""The figure by which the cells of a study are compared: the headline that all of them share, or accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedavg.metrics.interface import figure_text, figure_worth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ACCURACY", "Comparison", "comparison_of"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure by which cells are compared, and the names under which a cell's values have it.

    Args:
        name: name of the figure.
        value, baseline: names of a cell's values: for the model, and for the constant prediction.
        rule: the constant prediction.
        greater_is_better: whether a larger figure is better.
        share: whether it is a share, which is printed as a percentage.

    Example:
        >>> ACCURACY.text(0.5), ACCURACY.worth(0.5)
        ('50.0%', 0.5)
    """

    name: str = "accuracy"
    value: str = "accuracy"
    baseline: str = "baseline_accuracy"
    rule: str = "majority class"
    greater_is_better: bool = True
    share: bool = True

    def text(self, value: float | None) -> str:
        """A value as text."""
        return figure_text(value, share=self.share)

    def worth(self, value: float) -> float:
        """A number that is larger, the better the value is."""
        return figure_worth(value, greater_is_better=self.greater_is_better)


ACCURACY = Comparison()
"""The comparison of cells that have no headline in common."""


def comparison_of(done: Sequence[Mapping[str, Any]]) -> Comparison:
    """The figure by which finished cells are compared.

    Args:
        done: the values of each finished cell.
    """
    heads = {values.get("headline") for values in done}
    # Tasks with different headlines have no common scale.
    if len(heads) != 1 or None in heads:
        return ACCURACY
    first = done[0]
    return Comparison(
        str(first["headline"]).replace("_", " "),
        "headline_value",
        "headline_baseline",
        str(first.get("baseline_rule")),
        greater_is_better=first.get("headline_greater") is not False,
        share=bool(first.get("headline_share")),
    )
