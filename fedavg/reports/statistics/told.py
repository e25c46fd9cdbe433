"""What to know of a table before its statistics are read: its format, columns left out, rows left out.

These lines are about the rows, and for those who hold the table: no page and no file repeats them, and under
noise there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.tables.cells import cells_of
from fedavg.parts.nearest import alike

if TYPE_CHECKING:
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schemas.propose import Finding, Proposal
    from fedavg.statistics.question import Question, Unit
    from fedavg.statistics.silos import Silos

__all__ = ["about_columns", "about_rows", "about_silos"]

_MANY = 100
_SHOWN = 5


def about_columns(proposal: Proposal, wanted: tuple[str, ...]) -> list[str]:
    """The format of the file, the columns without statistics and why, and advice on the others.

    Args:
        proposal: the schema with its reasons.
        wanted: headings that are asked about.
    """
    asked = [found for found in proposal.findings if found.heading in wanted]
    lines = [*proposal.notes]
    for found in asked:
        if not _has_statistics(found):
            lines.append(f"{found.heading}: no statistics: {_why(found)}")
        # Advice is written for a run's configuration, and statistics have a schema only.
        lines += [
            f"{found.heading}: {advice.replace('[data] file', 'in a --schema file, file')}"
            for advice in found.advice
        ]
        words = found.column.markers if found.column is not None else ()
        if words:
            lines.append(f"{found.heading}: {', '.join(map(repr, words))} taken for missing")
    return lines


def _has_statistics(found: Finding) -> bool:
    return found.column is not None and bool(found.column.fields(found.heading))


def _why(found: Finding) -> str:
    return (
        "the schema describes it as no number, word or date"
        if found.why == "declared"
        else found.why
    )


def about_rows(table: Table, markers: tuple[str, ...], client: str, unit: Unit) -> list[str]:
    """How many rows have no silo or no person, and are left out.

    Args:
        table: the table, as read.
        markers: cells that are missing.
        client: heading of the column of silos.
        unit: whose privacy counts.
    """
    lines: list[str] = []
    for heading in filter(None, (client, unit.column)):
        gone = int(np.count_nonzero(cells_of(table, heading, markers).missing))
        if gone:
            rows = "row has" if gone == 1 else "rows have"
            lines.append(
                f"{gone:,} {rows} no {heading!r} and {'is' if gone == 1 else 'are'} left out"
            )
    return lines


def about_silos(silos: Silos, client: str, question: Question, *, private: bool) -> list[str]:
    """Silos that may be no silos: many of few rows, or a few rows under a name that is nearly another's.

    Args:
        silos: the silos.
        client: heading of the column of silos.
        question: the rules.
        private: whether noise protects the rows; only names and number of silos are then used.
    """
    sizes = np.array([len(rows) for rows in silos.rows])
    count, few = len(sizes), np.flatnonzero(sizes < question.min_people)
    if count > _MANY and (private or 2 * len(few) > count):
        most = "" if private else f", most of fewer than {question.min_people} rows"
        said = f"{client!r} makes {count:,} silos{most}. Does it name people (--person {client})?"
        return [f"{said} A secure sum over so many silos takes minutes or more"]
    lines: list[str] = []
    if not private:
        lines += [
            f"{silos.names[place]!r} is a silo of few rows: {int(sizes[place]):,}"
            for place in few[:_SHOWN]
        ]
    if len(few) > _SHOWN and not private:
        lines.append(f"{len(few) - _SHOWN:,} more silos have fewer than {question.min_people} rows")
    lines += [
        f"{', '.join(map(repr, same))} differ in upper and lower case or blanks only, and are separate silos"
        for same in alike(silos.names)
    ]
    return lines
