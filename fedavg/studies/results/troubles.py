"""Cells that did not run, and warnings of those that did, grouped by reason, with their common settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedavg.studies.results.figures import label_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fedavg.studies.results.table import Row, Table

__all__ = ["Trouble", "notices_of", "troubles_of"]

_NUMBER = re.compile(r"\d[\d,.]*")
_MOST_VALUES = 8


@dataclass(frozen=True, slots=True)
class Trouble:
    """Cells with one reason.

    Args:
        state: "refused" or "failed", or "warned" for cells that ran.
        reason: reason of the first cell; the others' differ at most in numbers and in the cells' settings.
        cells: number of cells.
        shared: settings that all of them have and the study's other cells do not have; "" for none.
        differs: settings in which they differ, with the values that occur.
    """

    state: str
    reason: str
    cells: int
    shared: str
    differs: tuple[tuple[str, str], ...]


def troubles_of(table: Table) -> tuple[Trouble, ...]:
    """The cells that were refused or failed, grouped by reason, the most frequent first."""
    rows = [row for row in table.rows if row.state in ("failed", "refused")]
    return _grouped(table, [(row.state, row.reason, row) for row in rows])


def notices_of(table: Table) -> tuple[Trouble, ...]:
    """Warnings of finished cells, grouped by warning, the most frequent first."""
    done = [row for row in table.rows if row.state == "done"]
    return _grouped(
        table, [("warned", text, row) for row in done for text in row.values["warnings"]]
    )


def _grouped(table: Table, said: Sequence[tuple[str, str, Row]]) -> tuple[Trouble, ...]:
    """Group triples of state, text and row by state and by pattern of the text."""
    groups: dict[tuple[str, str], list[tuple[str, Row]]] = {}
    for state, text, row in said:
        groups.setdefault((state, _pattern(text, row)), []).append((text, row))
    found: list[Trouble] = []
    for (state, _), members in groups.items():
        rows = [row for _, row in members]
        others = [row for row in table.rows if row not in rows]
        found.append(_trouble(state, members[0][0], rows, others))
    return tuple(sorted(found, key=lambda trouble: -trouble.cells))


def _pattern(text: str, row: Row) -> str:
    """A reason without its numbers and without words from the row's own settings."""
    # Reasons that differ only by a number or a setting's name are one trouble.
    for value in {value for value in row.settings.values() if isinstance(value, str) and value}:
        text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", "#", text)
    return _NUMBER.sub("#", text)


def _trouble(state: str, reason: str, rows: Sequence[Row], others: Sequence[Row]) -> Trouble:
    keys = dict.fromkeys(key for row in rows for key in row.settings)
    shared: dict[str, Any] = {}
    differs: list[tuple[str, str]] = []
    for key in keys:
        mine = _values(rows, key)
        if len(mine) > 1:
            differs.append((key, _listed(mine)))
        # A setting that all other cells have as well does not explain anything.
        elif mine and _values(others, key) - mine:
            shared[key] = rows[0].settings.get(key)
    return Trouble(state, reason, len(rows), label_of(shared) if shared else "", tuple(differs))


def _values(rows: Iterable[Row], key: str) -> set[str]:
    """The values of a setting in these rows, as text; an unset value is left out."""
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
