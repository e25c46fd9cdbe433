"""Figures of statistics in words, with their intervals, for tables."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedavg.statistics.summary import ColumnSummary, Figure, Protection, Summary

__all__ = [
    "WITHHELD",
    "count_words",
    "facts",
    "figure_words",
    "guarantee",
    "number_words",
    "place_words",
]

WITHHELD = "–"
_MANY = 1e12


def count_words(figure: Figure | None) -> str:
    """A count; under noise with its interval.

    Example:
        >>> from fedavg.statistics import Figure
        >>> count_words(Figure(1234.0)), count_words(Figure(99.6, 90.2, 109.0))
        ('1,234', '100 [90, 109]')
    """
    if figure is None or figure.value is None:
        return WITHHELD
    shown = f"{max(figure.value, 0.0):,.0f}"
    if figure.low is None or figure.high is None:
        return shown
    return f"{shown} [{figure.low:,.0f}, {figure.high:,.0f}]"


def figure_words(figure: Figure | None, digits: int = 5) -> str:
    """A number; with its interval where it has one.

    Args:
        figure: the figure; None for one that does not exist.
        digits: significant digits.

    Example:
        >>> from fedavg.statistics import Figure
        >>> figure_words(Figure(1 / 3)), figure_words(Figure(2.0, 1.5, 2.5)), figure_words(None)
        ('0.33333', '2 [1.5, 2.5]', '–')
    """
    if figure is None or figure.value is None:
        return WITHHELD
    shown = number_words(figure.value, digits)
    if figure.low is None or figure.high is None:
        return shown
    return f"{shown} [{number_words(figure.low, digits)}, {number_words(figure.high, digits)}]"


def number_words(value: float | None, digits: int = 5) -> str:
    """A number without an interval; "–" for one that is withheld.

    Example:
        >>> number_words(1.6471e7), number_words(1 / 3, 2), number_words(None)
        ('16,471,000', '0.33', '–')
    """
    if value is None:
        return WITHHELD
    # Readers know incomes and counts by their digits, not by powers of ten.
    return f"{value:,.0f}" if 10**digits <= abs(value) < _MANY else f"{value:,.{digits}g}"


def place_words(column: ColumnSummary, figure: Figure | None, digits: int = 5) -> str:
    """A mean or a quantile of a column, as a date where its numbers are days.

    Args:
        column: the column.
        figure: the figure; None for one that does not exist.
        digits: significant digits of a number.

    Example:
        >>> from fedavg.statistics import Figure
        >>> from fedavg.statistics.summary import ColumnSummary
        >>> born = ColumnSummary("born days", Figure(0.0), Figure(9.0), (), days=True)
        >>> place_words(born, Figure(20485.5)), place_words(born, Figure(0.0, -1.0, 365.2))
        ('2026-02-01', '1970-01-01 [1969-12-31, 1971-01-01]')
    """
    if not column.days or figure is None or figure.value is None:
        return figure_words(figure, digits)
    ends = figure.value, figure.low, figure.high
    if not all(_DAYS[0] <= end < _DAYS[1] for end in ends if end is not None):
        return figure_words(figure, digits)
    day, *interval = (
        str(date(1970, 1, 1) + timedelta(days=math.floor(end))) for end in ends if end is not None
    )
    return f"{day} [{', '.join(interval)}]" if interval else day


_DAYS = -719_162, 2_932_897
"""Days of the years 1 to 9999, which the calendar of the standard library has."""


def facts(summary: Summary) -> list[tuple[str, str]]:
    """What the statistics are and what they cost, in a few lines."""
    found = [
        ("silos", f"{summary.silos:,}"),
        ("rows", count_words(summary.rows)),
        ("secure sum", _sums(summary)),
    ]
    if summary.protection is not None:
        return found + _costs(summary.protection)
    withheld = (
        f"counts of fewer than {summary.min_people} {summary.units} or {summary.min_silos} silos, and "
        "figures that would give these away"
    )
    return [*found, ("noise", "none: the sums are exact"), ("withheld", withheld)]


def _sums(summary: Summary) -> str:
    """The secure sum, and what each of two is of."""
    if summary.sums == 1:
        return f"{summary.secure_sum}, one"
    return f"{summary.secure_sum}, two: counts and moments, then histograms over ranges that these give"


def _costs(cost: Protection) -> list[tuple[str, str]]:
    silos = f"{cost.colluders} silo{'' if cost.colluders == 1 else 's'}"
    noise = (
        f"{cost.mechanism}, {cost.noise_multiplier:.3g} times what one {cost.unit} can move in "
        f"{cost.coordinates:,} coordinates"
    )
    alone = f"would have intervals {cost.alone:.2g} times as wide, at the same epsilon"
    found = [
        ("unit of privacy", _unit(cost)),
        ("epsilon of the budget", f"{cost.epsilon:g} at delta {cost.delta:g}"),
        ("epsilon for who sees the result", _epsilon(cost.epsilon_release)),
        ("epsilon for the server", _epsilon(cost.epsilon_server)),
        (f"epsilon for the server with {silos}", _epsilon(cost.epsilon_spent)),
        ("noise", noise),
        ("each silo with noise of its own", alone),
    ]
    if cost.epsilon_two_silos is not None:
        two = (
            f"the same, of a {cost.unit} with rows in two silos",
            f"{cost.epsilon_two_silos:.3f}",
        )
        found.insert(5, two)
    return found


def _unit(cost: Protection) -> str:
    if cost.most_rows == 1:
        return f"one {cost.unit} of one silo"
    return f"one {cost.unit} of one silo, with at most {cost.most_rows} rows"


def _epsilon(value: float | None) -> str:
    return "no bound: it sees each silo's vector" if value is None else f"{value:.3f}"


def guarantee(summary: Summary) -> list[str]:
    """Where the guarantee ends, in sentences."""
    lines = _OF_ALL if summary.protection is None else _of_noise(summary, summary.protection)
    shown = "" if summary.hidden else _IN_THE_CLEAR
    known = {"sum": summary.secure_sum, "people": summary.min_people}
    return [
        *(_beyond(column) for column in summary.columns if column.beyond),
        *(line.format(**known) for line in (shown, _PUBLIC, *lines) if line),
    ]


def _beyond(column: ColumnSummary) -> str:
    """What exact sums say of numbers beyond declared bounds, which bounds should not hide."""
    said = ", ".join(
        f"{count_words(cell.rows) if cell.rows.shown else 'a withheld number of'} rows {cell.label}"
        for cell in column.beyond
    )
    return (
        f"{column.name!r} has numbers beyond its declared bounds: {said}. Exact sums take them as they are; "
        "under noise each would count as the bound."
    )


_IN_THE_CLEAR = "The sum {sum} shows the server each silo's vector."
_PUBLIC = (
    "The silos and their number are public. A silo learns what all learn, and knows its own rows."
)
_SERVER = (
    "The operator of the server has the totals of all cells, small ones too, and counts in 1,024 parts of "
    "each range: the rules withhold figures from readers only."
)
_READERS = (
    "Adding and subtracting the counts on this page narrows no withheld count to an interval shorter than "
    "itself or than {people}. A mean whose number of cells is withheld is withheld, too. Who knows which "
    "numbers a column can hold, such as whole ones, learns more of withheld bins from mean and deviation. "
    "Another release of other columns, of other rows, or of the same rows a day later may give it "
    "away: nothing counts what exact releases tell together."
)
_OF_ALL = (
    _SERVER,
    _READERS,
    "Zeros are shown. They say that nobody has these properties.",
    "Where all cells of a column but few hold one value, such as zero, its mean tells of the few.",
    "All silos but one together can subtract their rows from the totals, and have those of the last.",
)


_NEGATIVE = (
    "Estimates of counts below zero are shown as 0 here and in pictures. CSV and JSON have them as they are, "
    "so that sums of them stay right on average."
)


def _of_noise(summary: Summary, cost: Protection) -> tuple[str, ...]:
    supposed = (
        f"Epsilon supposes that at most {cost.colluders} of {summary.silos} silos tell the server what they "
        "know, and that the others add their share of the noise."
    )
    about = (
        f"Epsilon is about the presence of one {cost.unit} in one silo. It hides no property of a silo, or "
        "of all rows together."
    )
    intervals = (
        "Intervals are about the noise, not about the choice of the people. Each holds with probability "
        f"{summary.confidence or 0:.0%}; of many, some will miss."
    )
    bounds = (
        "Bounds, words and the schema are public. Numbers beyond their bounds count as the bound."
    )
    return about, supposed, bounds, intervals, _NEGATIVE
