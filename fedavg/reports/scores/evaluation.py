"""The report's part on the quality of the model: figures with baselines, curves, tables, residuals."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from fedavg.reports.figures import BLUE, GREY, ORANGE, figure
from fedavg.reports.page import payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.metrics.interface import Figure
    from fedavg.reports.reading.evaluated import Evaluation, Output

__all__ = ["evaluation_part", "figure_rows"]

_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#D55E00", GREY)
_DASHES = ("solid", "dash", "dot", "dashdot")
_SHADES = [[0.0, "rgba(0,114,178,0.04)"], [1.0, "rgba(0,114,178,0.85)"]]


def figure_rows(figures: Sequence[Figure]) -> list[dict[str, str]]:
    """Figures for a table: name, value, that of the constant prediction, and which is better."""
    verdicts = {True: "better", False: "no better", None: "–"}
    return [
        {
            "name": found.name.replace("_", " "),
            "value": found.text(found.value),
            "baseline": found.text(found.baseline.value),
            "rule": found.baseline.rule,
            "verdict": verdicts[found.beats_baseline],
        }
        for found in figures
    ]


def evaluation_part(found: Evaluation) -> dict[str, Any]:
    """The content of the template's part on an evaluation.

    Returns:
        `rows` of figures; `pictures` as (name, title, caption, payload); `labels`, a table of correct and
        wrong predictions for each of several labels.
    """
    drawn = [
        *_curve_pictures(found),
        *_confusion_picture(found),
        *_reliability_picture(found),
        *_number_pictures(found),
    ]
    return {
        "rows": figure_rows(found.figures),
        "rule": found.rule,
        "examples": f"{found.examples:,}",
        "pictures": [(name, title, caption, payload(plot)) for name, title, caption, plot in drawn],
        "labels": found.each,
    }


Picture = tuple[str, str, str, dict[str, Any]]


def _square(x: str, y: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - Plotly's JSON
    """The layout of a picture of two shares."""
    axis = {"range": [-0.02, 1.02], "tickformat": ".0%", "zeroline": False}
    return {
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"},
        "xaxis": axis | {"title": {"text": x}},
        "yaxis": axis | {"title": {"text": y}},
    } | more


def _line(name: str, x: Sequence[float], y: Sequence[float], index: int = 0) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {
            "color": _COLOURS[index % len(_COLOURS)],
            "dash": _DASHES[index // len(_COLOURS) % len(_DASHES)],
            "width": 2.2,
        },
    }


def _reference(name: str, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    """The line of a prediction without any information, or of a perfect one."""
    look = {"line": {"color": GREY, "width": 1.5, "dash": "dash"}, "hoverinfo": "skip"}
    return _line(name, x, y) | look


def _curve_pictures(found: Evaluation) -> list[Picture]:
    if not found.curves:
        return []
    several = len(found.curves) > 1
    height = 380 + 22 * (len(found.curves) // 3)
    shown = {"showlegend": True}
    roc = [_line(curve.name, *curve.roc, index) for index, curve in enumerate(found.curves)]
    roc.append(_reference("constant prediction", (0, 1), (0, 1)))
    precise = [
        _line(curve.name, *curve.precision_recall, index)
        for index, curve in enumerate(found.curves)
    ]
    who = "each against the rest" if several else f"of {found.curves[0].name}"
    share = ""
    # Several classes have several shares, for which one line would be wrong.
    if not several:
        held = found.curves[0].share
        precise.append(_reference("constant prediction", (0, 1), (held, held)))
        share = f" A constant prediction has a precision of {held:.1%}, the share of the class."
    return [
        (
            "roc",
            f"ROC, {who}",
            (
                "Upwards: the share of a class's examples that the model finds. To the right: the share of "
                "all other examples that it takes for that class. A line far above the dashed one is good."
            ),
            figure(roc, height, **_square("False positives", "True positives", **shown)),
        ),
        (
            "precision-recall",
            f"Precision and recall, {who}",
            (
                "To the right: the share of a class's examples that the model finds. Upwards: the share of "
                f"its finds that are right, which falls early for a rare class.{share}"
            ),
            figure(precise, height, **_square("Recall", "Precision", **shown)),
        ),
    ]


def _confusion_picture(found: Evaluation) -> list[Picture]:
    if not found.confusion:
        return []
    # Rows are divided by their sums, because the colour shows shares within a class.
    rows = [[value / (sum(row) or 1.0) for value in row] for row in found.confusion]
    names = [_short(name) for name in found.names]
    small = len(names) <= 12
    data: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": rows,
        "zmin": 0,
        "zmax": 1,
        "colorscale": _SHADES,
        "showscale": False,
        "text": [[f"{value:,.0f}" for value in row] for row in found.confusion],
        "hovertemplate": "%{y} taken for %{x}: %{text} (%{z:.1%})<extra></extra>",
    }
    # In a large table the numbers would not be readable.
    if small:
        data |= {"texttemplate": "%{text}", "textfont": {"size": 11}, "meta": "see-through"}
    axis = {"type": "category", "zeroline": False, "showgrid": False}
    plot = figure(
        [data],
        max(300, 60 + 34 * len(names)),
        hovermode="closest",
        xaxis=axis | {"title": {"text": "Predicted"}, "side": "bottom"},
        yaxis=axis | {"title": {"text": "True"}, "autorange": "reversed"},
    )
    caption = "Number of examples by true and predicted class; the colour is the share within the true class."
    return [("confusion", "Confusion", caption, plot)]


def _reliability_picture(found: Evaluation) -> list[Picture]:
    if not found.reliability:
        return []
    total = sum(row.weight for row in found.reliability) or 1.0
    # The area of a dot, and not its width, is what the eye compares.
    sizes = [6 + 18 * (row.weight / total) ** 0.5 for row in found.reliability]
    dots = _line(
        "predictions",
        [row.confidence for row in found.reliability],
        [row.accuracy for row in found.reliability],
    ) | {
        "mode": "lines+markers",
        "marker": {"size": sizes, "color": BLUE},
        "cliponaxis": False,  # the largest dots often lie at the edge
        "hovertemplate": "said %{x:.1%}, right %{y:.1%}<extra></extra>",
    }
    data = [_reference("perfectly calibrated", (0, 1), (0, 1)), dots]
    plot = figure(data, 380, **_square("Confidence", "Right", showlegend=True))
    caption = (
        "The share of right predictions at each confidence; larger dots stand for more predictions. Below "
        "the dashed line the model is more confident than it should be."
    )
    return [("calibration", "Calibration", caption, plot)]


def _number_pictures(found: Evaluation) -> list[Picture]:
    several = len(found.outputs) > 1
    drawn: list[Picture] = []
    for index, output in enumerate(found.outputs):
        suffix = f" of {output.name}" if several else ""
        if output.true:
            drawn.append(
                (
                    f"predicted-{index}",
                    f"Predicted against true{suffix}",
                    (
                        "Each dot is a held-out example; on the dashed line predictions are right, and the "
                        "dotted line is the mean, which is the baseline."
                    ),
                    _scatter(output),
                )
            )
        drawn.append(
            (
                f"residuals-{index}",
                f"Residuals{suffix}",
                "Predicted less true values. A middle away from zero is a bias.",
                _residuals(output),
            )
        )
    return drawn


def _scatter(output: Output) -> dict[str, Any]:
    ends = [min(*output.true, *output.predicted), max(*output.true, *output.predicted)]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "examples",
        "x": output.true,
        "y": output.predicted,
        "marker": {"size": 5, "color": BLUE, "opacity": 0.45},
        "hovertemplate": "true %{x:.4g}, predicted %{y:.4g}<extra></extra>",
    }
    mean = _reference("mean", [min(output.true), max(output.true)], [output.mean, output.mean])
    mean["line"] = {"color": ORANGE, "width": 2, "dash": "dot"}
    return figure(
        [dots, _reference("right", ends, ends), mean],
        380,
        hovermode="closest",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"},
        xaxis={"title": {"text": "True"}, "zeroline": False},
        yaxis={"title": {"text": "Predicted"}, "zeroline": False},
    )


def _residuals(output: Output) -> dict[str, Any]:
    edges = output.residuals.edges
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    bars = {
        "type": "bar",
        "x": middles,
        "y": output.residuals.counts,
        "width": [high - low for low, high in itertools.pairwise(edges)],
        "marker": {"color": BLUE, "line": {"width": 0.5, "color": GREY}},
        "hovertemplate": "%{y} examples near %{x:.3g}<extra></extra>",
    }
    return figure(
        [bars],
        380,
        hovermode="closest",
        showlegend=False,
        bargap=0,
        xaxis={"title": {"text": "Predicted less true"}, "zeroline": True, "zerolinecolor": ORANGE},
        yaxis={"title": {"text": "Examples"}, "rangemode": "tozero"},
    )


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
