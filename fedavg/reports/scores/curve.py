"""A privacy curve as a file (CSV or JSON), and as pictures of a page."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.errors import ReportError
from fedavg.files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dp import PrivacyCurve

__all__ = ["ENDINGS", "LEVELS", "curve_figure", "tradeoff_figure", "write_curve"]

_RED, _GREY = "#D55E00", "#8A8F98"  # the report's colour for an observer of the released models
LEVELS = np.concatenate([10.0 ** np.arange(-9.0, -2.0, 0.25), np.linspace(0.01, 1.0, 100)])
"""Levels of a test at which a file and a picture state the least error of the other kind."""
ENDINGS = (".csv", ".json")
"""Endings of the names of files that hold a curve."""
_SHOWN = 1e-15


def write_curve(path: Path, curve: PrivacyCurve, facts: dict[str, Any]) -> None:
    """Write a curve and its trade-off function to a file, by the ending of its name.

    A CSV file has a row for each point: `kind` is "delta", where x is epsilon, or "type_2_error", where x is
    the level of a test; `low` and `high` bound the value. A JSON file has the same as lists, and the facts.

    Args:
        path: FILE.csv or FILE.json, replaced if it exists.
        curve: the curve between proven bounds.
        facts: facts about the curve, for JSON.

    Raises:
        ReportError: the name has another ending, or the file cannot be written.
    """
    low, high = curve.tradeoff(LEVELS)
    if path.suffix == ".json":
        tradeoff = {
            "type_1": LEVELS.tolist(),
            "type_2_low": low.tolist(),
            "type_2_high": high.tolist(),
        }
        text = (
            json.dumps({**facts, "curve": curve.as_dict(), "tradeoff": tradeoff}, indent=1) + "\n"
        )
    elif path.suffix == ".csv":
        buffer = io.StringIO()
        rows = csv.writer(buffer, lineterminator="\n")
        rows.writerow(("kind", "x", "low", "high"))
        columns = (
            ("delta", curve.epsilons, curve.low, curve.high),
            ("type_2_error", LEVELS, low, high),
        )
        for kind, *numbers in columns:
            rows.writerows((kind, *row) for row in np.array(numbers).T.tolist())
        text = buffer.getvalue()
    else:
        raise ReportError(
            f"a curve is written to a file {' or '.join(ENDINGS)}, not to {path.name}"
        )
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def curve_figure(curve: PrivacyCurve, epsilon: float, delta: float) -> dict[str, Any]:
    """Delta against epsilon, with the plan's own point marked."""
    # Below this, delta is of no interest and the logarithmic axis would be stretched.
    shown = curve.high > _SHOWN
    data = [_line("delta", curve.epsilons[shown], curve.high[shown], "%{y:.2e}")]
    if math.isfinite(epsilon):
        data.append(_point(epsilon, delta))
    y = {"title": {"text": "Delta"}, "type": "log", "exponentformat": "power", "dtick": 2}
    return _figure(data, "Epsilon", y)


def _point(epsilon: float, delta: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "this plan",
        "x": [_short(epsilon)],
        "y": [_short(delta)],
        "marker": {"size": 10, "color": _RED},
        "hovertemplate": "%{y:.2e}",
    }


def tradeoff_figure(curve: PrivacyCurve) -> dict[str, Any]:
    """The least type II error against the level of a test, beside that of guessing."""
    levels = np.linspace(0.0, 1.0, 201)
    data = [_line("least error of any test", levels, curve.tradeoff(levels)[0], "%{y:.3f}")]
    guess = _line("guessing blindly", np.array([0.0, 1.0]), np.array([1.0, 0.0]), "%{y:.3f}")
    guess["line"] = {"color": _GREY, "width": 1.5, "dash": "dash"}
    data.append(guess)
    y = {"title": {"text": "Type II error"}, "range": [0, 1], "zeroline": False}
    return _figure(data, "Type I error: share of false alarms", y)


def _line(name: str, x: NDArray[np.float64], y: NDArray[np.float64], hover: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [_short(value) for value in x],
        "y": [_short(value) for value in y],
        "line": {"color": _RED, "width": 2.5},
        "hovertemplate": hover,
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _figure(data: list[dict[str, Any]], x: str, y: dict[str, Any]) -> dict[str, Any]:
    layout = {
        "height": 400,
        "margin": {"l": 70, "r": 16, "t": 30, "b": 48},
        "dragmode": False,
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": x}, "zeroline": False, "rangemode": "tozero"},
        "yaxis": y,
        "shapes": [],
    }
    return {"data": data, "layout": layout}
