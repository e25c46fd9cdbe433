"""A run's results for people and programs: tables on the console, a JSON file, a plot, the last line."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from benchmarks.kit.measure import middle
from benchmarks.kit.plot import write_plot
from benchmarks.kit.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.kit.bench import Bench
    from benchmarks.kit.measure import Measure

__all__ = ["last_line", "print_tables", "write_files"]


def print_tables(bench: Bench, console: Console) -> None:
    """Measures, fitted exponents, and the suite's own tables."""
    headings = ("measure", "ours", "peer", "unit", "ratio", "bar", "reach", "")
    rows = [_measure_row(m) for m in bench.measures]
    console.print(_grid(f"{bench.suite}, {bench.size}", headings, rows))
    for m in bench.measures:
        if m.note:
            console.print(f"  {m.name}: {m.note}", style="dim", markup=False)
    for curve in bench.curves:
        for line, slope in curve.exponents.items():
            console.print(f"{curve.title}, {line}: grows as {curve.x_name}^{slope:.2f}")
    for table in bench.tables:
        cells = [tuple(map(_cell, row)) for row in table.rows]
        console.print(_grid(table.title, table.columns, cells))


def _grid(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    grid = Grid(title=title)
    for heading in headings:
        left = heading in ("measure", "unit", "") or heading == headings[0]
        grid.add_column(heading, justify="left" if left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _measure_row(m: Measure) -> tuple[str, ...]:
    verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[m.met]
    if unmeasured(m):
        verdict = "[yellow]no peer[/]"
    reach = _number(m.bar.reach) if m.bar is not None else ""
    figures = (_number(m.ours), _number(m.peer), m.unit, _number(m.ratio))
    return (m.name, *figures, str(m.bar or ""), reach, verdict)


def write_files(bench: Bench, folder: Path) -> tuple[Path, Path]:
    """Write SUITE.json and SUITE.html into `folder`, which is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    results, picture = folder / f"{bench.suite}.json", folder / f"{bench.suite}.html"
    content = {
        "suite": bench.suite,
        "size": bench.size,
        "machine": bench.machine,
        "peers": bench.versions,
        "absent_peers": bench.absent,
        "measures": [{**asdict(m), "met": m.met} for m in bench.measures],
        "curves": [{**asdict(curve), "exponents": curve.exponents} for curve in bench.curves],
        "tables": [asdict(table) for table in bench.tables],
    }
    results.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_plot(bench, picture)
    return results, picture


def last_line(bench: Bench, **more: float) -> str:
    """One JSON object on one line: ratios, our own figures, the bars that were not met, and more figures."""
    return json.dumps(
        {
            "suite": bench.suite,
            "size": bench.size,
            "ratios": {m.key: _short(m.ratio) for m in bench.measures if m.ratio is not None},
            "ours": {m.key: _short(middle(m.ours)) for m in bench.measures},
            "missed": [m.key for m in bench.measures if m.met is False],
            "unmeasured": [m.key for m in bench.measures if unmeasured(m)],
            **{name: _short(figure) for name, figure in more.items()},
        }
    )


def unmeasured(measure: Measure) -> bool:
    """Whether a bar could not be judged: the peer is not there."""
    return measure.bar is not None and measure.met is None


def _short(figure: float | None) -> float | None:
    return None if figure is None else float(f"{figure:.4g}")


def _cell(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _number(figure: float | Timing | None) -> str:
    if figure is None:
        return ""
    value = figure.median if isinstance(figure, Timing) else figure
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
