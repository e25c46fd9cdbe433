"""One HTML page of a run, readable without a network: ratios beside their bars, and how costs grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.kit.bench import Bench
    from benchmarks.kit.measure import Curve, Measure

__all__ = ["write_plot"]

_COLOURS = ("#3366aa", "#cc6633", "#339966", "#884499", "#aa3355", "#777722")


def write_plot(bench: Bench, path: Path) -> None:
    """Draw every ratio with its bar, and every curve on logarithmic axes."""
    ratios = [m for m in bench.measures if m.ratio is not None]
    titles = [*(["how many times better, and the bar"] if ratios else [])]
    titles += [curve.title for curve in bench.curves]
    rows = max(1, len(titles))
    figure = make_subplots(rows=rows, cols=1, subplot_titles=titles)
    if ratios:
        _draw_ratios(figure, ratios)
    for row, curve in enumerate(bench.curves, start=1 + bool(ratios)):
        _draw_curve(figure, row, curve)
    title = f"Benchmarks: {bench.suite} ({bench.size})"
    figure.update_layout(title=title, height=420 * rows, template="plotly_white")
    figure.write_html(path, include_plotlyjs=True)


def _draw_ratios(figure: go.Figure, ratios: list[Measure]) -> None:
    names = [m.name for m in ratios]
    bars = go.Bar(
        x=[m.ratio for m in ratios],
        y=names,
        orientation="h",
        name="ratio",
        marker_color=_COLOURS[0],
    )
    figure.add_trace(bars, row=1, col=1)
    judged = [m for m in ratios if m.bar is not None and m.bar.of == "ratio"]
    for name, symbol, value in (
        ("bar", "line-ns", {m.name: m.bar.value for m in judged if m.bar}),
        ("reach", "star", {m.name: m.bar.reach for m in judged if m.bar and m.bar.reach}),
    ):
        marks = go.Scatter(
            x=list(value.values()),
            y=list(value),
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 16, "color": "black", "line": {"width": 2}},
        )
        figure.add_trace(marks, row=1, col=1)
    figure.update_xaxes(type="log", row=1, col=1)
    figure.update_yaxes(autorange="reversed", row=1, col=1)


def _draw_curve(figure: go.Figure, row: int, curve: Curve) -> None:
    slopes = curve.exponents
    for (name, points), colour in zip(
        curve.lines.items(), _COLOURS * len(curve.lines), strict=False
    ):
        label = f"{name}: {curve.x_name}^{slopes[name]:.2f}" if name in slopes else name
        line = go.Scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines+markers",
            name=label,
            line={"color": colour},
        )
        figure.add_trace(line, row=row, col=1)
    figure.update_xaxes(type="log", title=curve.x_name, row=row, col=1)
    figure.update_yaxes(type="log", title=curve.y_name, row=row, col=1)
