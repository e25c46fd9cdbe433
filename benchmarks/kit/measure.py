"""What a suite reports: measures with their bars, curves with their exponents, and plain tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from benchmarks.kit.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Bar", "Curve", "Measure", "Table", "exponent"]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach.

    Args:
        value: the bar itself.
        reach: what we strive for, beyond the bar.
        of: judge the `ratio`, or `ours` alone.
        at_most: the figure must not exceed the bar, where otherwise it must not fall short of it.
    """

    value: float
    reach: float | None = None
    of: Literal["ratio", "ours"] = "ratio"
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:,g}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of ours, beside a peer's where there is one.

    Args:
        key: short name for programs, unique in its suite.
        name: what was measured, for people.
        unit: of `ours` and `peer`.
        ours: our figure; a `Timing` gives its median and keeps its quartiles.
        peer: theirs in the same run, or None when it was not measured.
        ratio: how many times better we are; by default peer ÷ ours, right for costs.
        bar: what is asked of it.
        note: how it was measured, or what the figure leaves out.

    Raises:
        ValueError: a figure that is not finite.

    Example:
        >>> m = Measure("mask", "one mask", "s", ours=0.5, peer=2.0, bar=Bar(3))
        >>> m.ratio, m.met
        (4.0, True)
        >>> Measure("mask", "one mask", "s", ours=0.5, bar=Bar(3)).met is None
        True
    """

    key: str
    name: str
    unit: str
    ours: float | Timing
    peer: float | Timing | None = None
    ratio: float | None = None
    bar: Bar | None = None
    note: str = ""

    def __post_init__(self) -> None:
        ours, peer = middle(self.ours), middle(self.peer)
        figures = [x for x in (ours, peer, self.ratio) if x is not None]
        if not all(map(math.isfinite, figures)):
            raise ValueError(f"{self.key}: {figures} are not all finite")
        if self.ratio is None and ours and peer is not None:
            object.__setattr__(self, "ratio", peer / ours)

    @property
    def judged(self) -> float | None:
        """The figure that the bar is about."""
        if self.bar is not None and self.bar.of == "ours":
            return middle(self.ours)
        return self.ratio

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar, or when its figure was not measured."""
        figure = self.judged
        if self.bar is None or figure is None:
            return None
        return figure <= self.bar.value if self.bar.at_most else figure >= self.bar.value


def middle(figure: float | Timing | None) -> float | None:
    """A timing's median; other figures as they are."""
    return figure.median if isinstance(figure, Timing) else figure


@dataclass(frozen=True, slots=True)
class Curve:
    """How something grows: a picture, and the fitted exponent of each line.

    Args:
        key: short name for programs, unique in its suite.
        title: for people.
        x_name: what is varied.
        y_name: what was measured, with its unit.
        lines: line's name to (x, y) points; all positive.
        fit_from: leave smaller x out of the fit.
    """

    key: str
    title: str
    x_name: str
    y_name: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    fit_from: float = 0.0

    @property
    def exponents(self) -> dict[str, float]:
        """Least-squares slope of log y over log x, for each line with two points or more."""
        fitted: dict[str, float] = {}
        for name, points in self.lines.items():
            used = [point for point in points if point[0] >= self.fit_from]
            if len({x for x, _ in used}) > 1:
                fitted[name] = exponent(used)
        return fitted


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope of log y over log x.

    Raises:
        ValueError: fewer than two different x, or figures that are not positive.

    Example:
        >>> round(exponent([(1, 5), (10, 500), (100, 50_000)]), 6)
        2.0
    """
    if len({x for x, _ in points}) < 2 or not all(x > 0 and y > 0 for x, y in points):
        raise ValueError(f"no exponent of {list(points)}")
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x_mean = sum(x for x, _ in logs) / len(logs)
    y_mean = sum(y for _, y in logs) / len(logs)
    spread = sum((x - x_mean) ** 2 for x, _ in logs)
    return sum((x - x_mean) * (y - y_mean) for x, y in logs) / spread


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that stand for themselves.

    Args:
        key: short name for programs, unique in its suite.
        title: for people.
        columns: headings.
        rows: a cell for each column.

    Raises:
        ValueError: a row of another length.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.key}: {len(self.columns)} columns, but a row {wrong[0]}")
