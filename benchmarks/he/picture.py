"""Stacked bars of a round: where each system's time and bytes go, read from the results' own tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["draw"]

_PANELS = (
    ("time", "client sends", "A client sends: CPU ms", "ours alone: CPU ms"),
    ("time", "server, a client", "Server, for each client: CPU ms", "ours alone: CPU ms"),
    ("time", "opening", "Opening the result: CPU ms", "ours alone: CPU ms"),
    ("bytes", "up", "Upload of a client: MB", "ours beside the body: kB"),
    ("bytes", "down", "Download of the result: MB", "ours beside the body: kB"),
)
_BODY = "body"
_OTHERS = ("NVFlare", "TenSEAL tutorial", "float32 in the clear")
_COLOURS = {  # in the order of the work
    "parse": "#55aaaa",
    "verify signature": "#cc6699",
    "verify tags": "#aa3355",
    "add": "#225588",
    "expand c1": "#884499",
    "decrypt": "#3366aa",
    "decode, unpack": "#e0a030",
    "broadcast of floats": "#996644",
    "encode, pack": "#e0a030",
    "encrypt": "#3366aa",
    "tag, sign": "#aa3355",
    "serialise": "#88aa44",
    "other": "#bbbbbb",
    _BODY: "#3366aa",
    "contexts": "#996644",
    "headers": "#e0a030",
    "tags": "#aa3355",
    "signatures": "#cc6699",
}


def draw(results: Path, picture: Path) -> None:
    """Draw a results file's tables of time and bytes.

    Two panels in each row: everyone on one scale, and ours on its own.

    Args:
        results: what a run wrote.
        picture: an HTML page to write, readable without a network.
    """
    told = json.loads(results.read_text(encoding="utf-8"))
    tables = {table["key"]: table for table in told["tables"]}
    systems = tables["time"]["columns"][2:]
    alone = [name for name in systems if name not in _OTHERS]
    titles = [f"<b>{title}</b>" for _, _, *both in _PANELS for title in both]
    figure = make_subplots(
        rows=len(_PANELS),
        cols=2,
        subplot_titles=titles,
        horizontal_spacing=0.16,
        vertical_spacing=0.06,
    )
    for row, (key, group, _, _) in enumerate(_PANELS, start=1):
        bars = _bars(tables[key], group)
        beside = {part: cells for part, cells in bars.items() if part != _BODY}
        left, right = (1e-6, 1e-3) if key == "bytes" else (1.0, 1.0)
        _stack(figure, row, 1, _scaled(bars, systems, left), legend=True)
        _stack(figure, row, 2, _scaled(beside, alone, right), legend=False)
    about = tables["round"]["title"]
    figure.update_layout(
        title=f"Where time and bytes go: {about}",
        barmode="stack",
        height=250 * len(_PANELS) + 140,
        template="plotly_white",
    )
    for row in range(1, len(_PANELS) + 1):
        top = next(figure.select_yaxes(row=row, col=1)).domain[1]
        place = {"x": 1.01, "y": top, "yanchor": "top", "traceorder": "normal"}
        figure.update_layout({_legend(row): place})
    figure.write_html(picture, include_plotlyjs=True)


def _legend(row: int) -> str:
    return "legend" if row == 1 else f"legend{row}"


def _bars(table: Mapping[str, Any], group: str) -> dict[str, dict[str, float]]:
    """Part to system to figure, in the order of the work."""
    systems = table["columns"][2:]
    rows = [row for row in table["rows"] if row[0] == group]
    rows.sort(key=lambda row: list(_COLOURS).index(row[1]))
    return {row[1]: dict(zip(systems, row[2:], strict=True)) for row in rows}


def _scaled(
    bars: Mapping[str, Mapping[str, float]], systems: Sequence[str], factor: float
) -> dict[str, dict[str, float]]:
    return {
        part: {name: factor * cells[name] for name in systems}
        for part, cells in bars.items()
        if any(cells[name] for name in systems)
    }


def _stack(
    figure: go.Figure,
    row: int,
    column: int,
    bars: Mapping[str, Mapping[str, float]],
    *,
    legend: bool,
) -> None:
    """One panel; the left one of a row shows the legend for both."""
    totals: dict[str, float] = {}
    for part, cells in bars.items():
        trace = go.Bar(
            x=list(cells.values()),
            y=list(cells),
            orientation="h",
            name=part,
            legend=_legend(row),
            legendgroup=part,
            showlegend=legend,
            marker_color=_COLOURS[part],
            hovertemplate="%{y}, " + part + ": %{x:.4g}<extra></extra>",
        )
        figure.add_trace(trace, row=row, col=column)
        totals = {name: totals.get(name, 0.0) + cell for name, cell in cells.items()}
    figure.add_trace(
        go.Scatter(
            x=list(totals.values()),
            y=list(totals),
            mode="text",
            text=[_shown(total) for total in totals.values()],
            textposition="middle right",
            showlegend=False,
            hoverinfo="skip",
        ),
        row=row,
        col=column,
    )
    figure.update_xaxes(range=[0, 1.18 * max(totals.values())], row=row, col=column)
    figure.update_yaxes(autorange="reversed", row=row, col=column)


def _shown(total: float) -> str:
    return f" {total:,.0f}" if total >= 1000 else f" {total:.3g}"
