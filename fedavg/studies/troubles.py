"""Cells that did not run, by reason: many refusals are one fault, and what the cells share says which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedavg.studies.figures import label_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fedavg.studies.table import Row, Table

__all__ = ["Trouble", "troubles_of"]

_NUMBER = re.compile(r"\d[\d,.]*")
_MOST_VALUES = 8


@dataclass(frozen=True, slots=True)
class Trouble:
    """Cells with one reason.

    Args:
        state: "refused" or "failed".
        reason: of the first of them; the others' differ in numbers and in the cells' own settings at most.
        cells: how many they are.
        shared: what all of them have in common and other cells of the study have not; "" for nothing.
        differs: settings in which they differ from one another, with the values that occur.
    """

    state: str
    reason: str
    cells: int
    shared: str
    differs: tuple[tuple[str, str], ...]


def troubles_of(table: Table) -> tuple[Trouble, ...]:
    """The cells that were refused or failed, grouped by reason, the commonest first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if row.state in ("failed", "refused"):
            groups.setdefault((row.state, _pattern(row)), []).append(row)
    found = [
        _trouble(state, rows, [row for row in table.rows if row not in rows])
        for (state, _), rows in groups.items()
    ]
    return tuple(sorted(found, key=lambda trouble: -trouble.cells))


def _pattern(row: Row) -> str:
    """A reason without its numbers and without the words that the row's own settings put into it."""
    text = row.reason
    for value in {value for value in row.settings.values() if isinstance(value, str) and value}:
        text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", "#", text)
    return _NUMBER.sub("#", text)


def _trouble(state: str, rows: Sequence[Row], others: Sequence[Row]) -> Trouble:
    keys = dict.fromkeys(key for row in rows for key in row.settings)
    shared: dict[str, Any] = {}
    differs: list[tuple[str, str]] = []
    for key in keys:
        mine = _values(rows, key)
        if len(mine) > 1:
            differs.append((key, _listed(mine)))
        elif mine and _values(others, key) - mine:
            shared[key] = rows[0].settings.get(key)
    return Trouble(
        state, rows[0].reason, len(rows), label_of(shared) if shared else "", tuple(differs)
    )


def _values(rows: Iterable[Row], key: str) -> set[str]:
    """What a setting is in these rows, as text; unset counts as no value."""
    return {str(row.settings[key]) for row in rows if row.settings.get(key) not in (None, "")}


def _listed(values: set[str]) -> str:
    named = sorted(values, key=_order)
    more = f" and {len(named) - _MOST_VALUES} more" if len(named) > _MOST_VALUES else ""
    return ", ".join(named[:_MOST_VALUES]) + more


def _order(value: str) -> tuple[int, float, str]:
    """Numbers by size, then texts."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
