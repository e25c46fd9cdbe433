"""The report's part on fairness: each client's figure before and after training, for the operator only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fedavg.algorithms.personal.scores import spread
from fedavg.metrics.interface import figure_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.reports.reading.data import BeforeAfter

__all__ = ["fairness_part"]

_LISTED = 60  # more clients are shown by their distribution alone
_PARTS = ("mean", "worst", "q10", "median", "q90")


def fairness_part(rows: Sequence[BeforeAfter]) -> dict[str, Any] | None:
    """Sentence and tables; None if no client was scored.

    Args:
        rows: one for each client.

    Example:
        >>> fairness_part(()) is None
        True
    """
    if not rows:
        return None
    like = rows[0]
    listed = sorted(rows, key=lambda row: _worth(row, row.after))
    return {
        "says": _says(rows),
        "name": like.figure.replace("_", " "),
        "rows": [
            ("before training", _spread(rows, [row.before for row in rows])),
            ("after training", _spread(rows, [row.after for row in rows])),
        ],
        "clients": [
            (row.who, row.examples, _text(row, row.before), _text(row, row.after))
            for row in (listed if len(listed) <= _LISTED else ())
        ],
    }


def _worth(like: BeforeAfter, value: float | None) -> float:
    """A number that is larger, the better the value is."""
    if value is None:
        return -math.inf
    return value if like.greater_is_better else -value


def _text(like: BeforeAfter, value: float | None) -> str:
    return figure_text(value, share=like.share)


def _spread(rows: Sequence[BeforeAfter], values: Sequence[float | None]) -> list[str]:
    like = rows[0]
    worst = -math.inf if like.greater_is_better else math.inf
    found = spread(
        [worst if value is None else value for value in values],
        greater_is_better=like.greater_is_better,
    )
    return [_text(like, found[part]) for part in _PARTS]


def _says(rows: Sequence[BeforeAfter]) -> str:
    pairs = [(_worth(row, row.before), _worth(row, row.after)) for row in rows]
    better = sum(after > before for before, after in pairs)
    worse = sum(after < before for before, after in pairs)
    ordered = sorted(rows, key=lambda row: _worth(row, row.after))
    return (
        f"Of {len(rows):,} clients, {better:,} are better off than with the first model, and {worse:,} worse "
        f"off. After training the figure is {_text(rows[0], ordered[0].after)} at client {ordered[0].who} "
        f"and {_text(rows[0], ordered[-1].after)} at client {ordered[-1].who}."
    )
