"""Results into the documents: `python -m benchmarks document [FOLDER]` rewrites docs/benchmarks.md.

Between `<!-- results: SUITE -->` and `<!-- /results -->` stands what FOLDER/SUITE.json says; suites without
a file there keep what they have.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "results"]

_PAGE = Path("docs/benchmarks.md")
_WIDTH = 110
_PLACE = re.compile(
    r"(?P<open><!-- results: (?P<suite>\w+) -->\n).*?(?P<close><!-- /results -->)", re.DOTALL
)


def results(told: dict[str, Any]) -> str:
    """A suite's JSON as Markdown: the machine, measures with quartiles, exponents, tables.

    Example:
        >>> told = {"machine": {"cores": 2, "cpu": "one", "system": "Linux", "python": "3.11", "load": [0],
        ...         "packages": {}},
        ...         "size": "quick", "peers": {}, "curves": [], "tables": [], "measures": [
        ...         {"name": "a", "unit": "s", "ours": 2.0, "peer": None, "ratio": None, "bar": None,
        ...          "met": None, "note": ""}]}
        >>> results(told).splitlines()[-1]
        '| a | 2 | – | s | – | – | – | – |'
    """
    lines = [*_wrapped(_machine(told)), ""]
    lines += _rows(
        ("measure", "ours", "peer", "unit", "ratio", "bar", "reach", "met"),
        [_measure(measure) for measure in told["measures"]],
    )
    notes = [
        line
        for m in told["measures"]
        if m["note"]
        for line in _wrapped(f"- {m['name']}: {m['note']}.")
    ]
    lines += ["", *notes] if notes else []
    for curve in told["curves"]:
        slopes = [
            f"{line} {curve['x_name']}^{slope:.2f}" for line, slope in curve["exponents"].items()
        ]
        if slopes:
            smallest = f" (fitted from {curve['x_name']} = {curve['fit_from']:,g})"
            lines += ["", *_wrapped(f"Growth, {curve['title']}{smallest}: {', '.join(slopes)}.")]
    for table in told["tables"]:
        rows = [tuple(map(_cell, row)) for row in table["rows"]]
        lines += [
            "",
            *_wrapped(f"{table['title'].capitalize()}:"),
            "",
            *_rows(table["columns"], rows),
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the page; prints which suites changed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks document", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("bench-results"))
    parser.add_argument("--page", type=Path, default=_PAGE, help="default: %(default)s")
    options = parser.parse_args(arguments)

    def fill(place: re.Match[str]) -> str:
        source = options.folder / f"{place['suite']}.json"
        if not source.is_file():
            return place[0]
        print(f"{place['suite']}: from {source}")
        told = json.loads(source.read_text(encoding="utf-8"))
        return f"{place['open']}{results(told)}{place['close']}"

    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(_PLACE.sub(fill, page), encoding="utf-8")
    return 0


def _wrapped(text: str) -> list[str]:
    """A paragraph or an item of a list within the width of the pages."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.wrap(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _machine(told: dict[str, Any]) -> str:
    machine = told["machine"]
    versions = {**machine["packages"], **told["peers"]}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Size {told['size']}; {_cores(machine['cores'])} of {machine['cpu']}, {machine['system']}, Python "
        f"{machine['python']}, load {machine['load'][0]:g} at the start{'; ' if listed else ''}{listed}."
    )


def _measure(measure: dict[str, Any]) -> tuple[str, ...]:
    bar = measure["bar"]
    limit = f"{'≤' if bar['at_most'] else '≥'} {bar['value']:,g}" if bar else "–"
    reach = _figure(bar["reach"]) if bar else "–"
    met = {True: "yes", False: "**no**", None: "–"}[measure["met"]]
    figures = (_figure(measure["ours"]), _figure(measure["peer"]), measure["unit"])
    return (measure["name"], *figures, _figure(measure["ratio"]), limit, reach, met)


def _figure(figure: Any) -> str:  # noqa: ANN401 - a number, a timing or nothing
    if figure is None:
        return "–"
    if isinstance(figure, dict):
        middle = _cell(float(figure["median"]))
        if figure["samples"] == 1:
            return middle
        return f"{middle} ({_cell(float(figure['low']))}–{_cell(float(figure['high']))})"
    return _cell(float(figure))


def _cell(value: Any) -> str:  # noqa: ANN401 - a table's cell of any type
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
