"""Columns of dates, from which a model reads numbers and parts of the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from fedavg.data.tables.columns.interface import (
    Encoded,
    Field,
    Handled,
    Labels,
    clamped,
    no_labels,
)
from fedavg.errors import SchemaError
from fedavg.parts import register

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Cells

__all__ = ["ISO", "Date", "days_of"]

ISO = "iso"
_EPOCH = date(1970, 1, 1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = tuple(str(hour) for hour in range(24))

DatePart = Literal["days", "month", "weekday", "hour"]


@register("column")
class Date(Handled, frozen=True, tag="date", kw_only=True):
    """A day or a moment.

    Args:
        parts: fields that a model reads: "days", a number that grows with time; "month", "weekday" and
            "hour", categories with a fixed vocabulary.
        pattern: notation of the cells: "iso" (2026-01-31, with or without a time), or a `strptime` pattern
            such as "%d/%m/%Y".
        bounds: first and last possible day, as ISO dates; other days are clamped, and counted.

    Raises:
        SchemaError: there is no part or a part occurs twice, the bounds are no two days in order, or the fill
            is no day.

    Example:
        >>> [field.name for field in Date(parts=("days", "weekday")).fields("admitted")]
        ['admitted days', 'admitted weekday']
    """

    policies: ClassVar[frozenset[str]] = frozenset({"auto", "drop", "constant", "mean", "median"})

    parts: tuple[DatePart, ...] = ("days", "month", "weekday")
    pattern: str = ISO
    bounds: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts or len(set(self.parts)) != len(self.parts):
            raise SchemaError(
                "the parts of a date must be some of days, month, weekday and hour, each once; they are "
                f"{list(self.parts)}"
            )
        if self.pattern != ISO and "%" not in self.pattern:
            raise SchemaError(
                f"the pattern of a date must be 'iso', or one such as '%d/%m/%Y', not {self.pattern!r}"
            )
        limits = self._limits
        if limits is not None and not limits[0] < limits[1]:
            raise SchemaError(
                f"bounds of a date must be its first and its last possible day, not {self.bounds}"
            )
        if self.fill is not None:
            _day(self.fill)

    @property
    def _limits(self) -> tuple[float, float] | None:
        return None if self.bounds is None else (_day(self.bounds[0]), _day(self.bounds[1]))

    def fields(self, name: str) -> tuple[Field, ...]:
        """A field for each part; a missing cell of a calendar part belongs to no category."""
        found: list[Field] = []
        for part in self.parts:
            words = _CALENDAR.get(part, ((), None))[0]
            fill = None if self.fill is None else float(self._part(part, _day(self.fill)))
            # One indicator is enough: all parts are missing together.
            indicator = self.indicator and part == self.parts[0]
            if words:
                kept = self.missing if self.missing in ("drop", "constant") else "auto"
                found.append(
                    Field(
                        f"{name} {part}",
                        categories=words,
                        named=len(words),
                        missing=kept,
                        fill=fill,
                        indicator=indicator,
                    )
                )
            else:
                found.append(
                    Field(
                        f"{name} {part}",
                        bounds=self._limits,
                        missing=self.missing,
                        fill=fill,
                        indicator=indicator,
                    )
                )
        return tuple(found)

    def encode(self, cells: Cells) -> Encoded:
        """The chosen parts of each date."""
        moments = cells.moments(self.pattern)
        odd = np.isnan(moments) & ~cells.missing
        inside, notes = clamped(moments, self._limits, cells.heading)
        arrays = tuple(_parted(inside, part) for part in self.parts)
        written = "2026-01-31" if self.pattern == ISO else self.pattern
        return Encoded(arrays, odd, f"a date such as {written}", notes)

    def labels(self, cells: Cells) -> Labels:
        """Refuse the column as a target; a number of days can be given as a number instead."""
        return no_labels(cells, "a date")

    def undeclared(self) -> str:
        """Bounds of the days, which scale them when no statistics may be used."""
        return "" if self.bounds or "days" not in self.parts else "bounds"

    @staticmethod
    def _part(part: DatePart, moment: float) -> float:
        return float(_parted(np.array([moment]), part)[0])


def _day(text: object) -> float:
    try:
        return float((date.fromisoformat(str(text)) - _EPOCH).days)
    except ValueError:
        raise SchemaError(f"a day must be written as in '2026-01-31', not as {text!r}") from None


def _parted(moments: NDArray[np.float64], part: DatePart) -> NDArray[np.float64]:
    if part not in _CALENDAR:
        return moments
    there = np.isfinite(moments)
    found = np.full(len(moments), np.nan)
    found[there] = _CALENDAR[part][1](moments[there])
    return found


def _month(moments: NDArray[np.float64]) -> NDArray[np.int64]:
    days = np.floor(moments).astype(np.int64).astype("datetime64[D]")
    return days.astype("datetime64[M]").astype(np.int64) % 12


def _weekday(moments: NDArray[np.float64]) -> NDArray[np.int64]:
    return (np.floor(moments).astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday


def _hour(moments: NDArray[np.float64]) -> NDArray[np.int64]:
    # A moment is a float of days: one millisecond is added, so that rounding does not turn 07:00 into 06:59.
    return np.floor((moments % 1.0) * 24 + 1e-3 / 3600).astype(np.int64) % 24


_CALENDAR: dict[str, tuple[tuple[str, ...], Callable[[NDArray[np.float64]], NDArray[np.int64]]]] = {
    "month": (_MONTHS, _month),
    "weekday": (_WEEKDAYS, _weekday),
    "hour": (_HOURS, _hour),
}


def days_of(text: str, pattern: str) -> float:
    """Days since 1970-01-01 of one text; NaN if it does not match the pattern; zoned moments are in UTC.

    Example:
        >>> days_of("1970-01-02T12:00", "iso"), days_of("31/01/1970", "%d/%m/%Y"), days_of("soon", "iso")
        (1.5, 30.0, nan)
    """
    try:
        moment = datetime.fromisoformat(text) if pattern == ISO else _by_pattern(text, pattern)
    except (ValueError, OverflowError):
        return float("nan")
    # Moments with a time zone are compared in one zone.
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - datetime(1970, 1, 1)) / timedelta(days=1)  # noqa: DTZ001 - as above


def _by_pattern(text: str, pattern: str) -> datetime:
    return datetime.strptime(text, pattern)  # noqa: DTZ007 - a file's own clock
