"""The report's part on clients' own models: the distribution of their figure over the clients."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.algorithms.personal.scores import spread
from fedavg.reports.figures import BLUE, GREY, ORANGE, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.reports.reading.data import Personal, Run

__all__ = ["by_another_figure", "personal_lines", "personal_part"]

_SHARED, _OWN = "released model", "own model"
_NAMES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "scaled_rmse": "Scaled RMSE"}
_MARKED = 60  # largest number of clients that get a marker each


def personal_part(run: Run) -> dict[str, Any] | None:
    """Sentence, figure and table; None without personalisation."""
    rows = run.personal
    if not rows:
        return None
    drawn = json.dumps(personal_lines(rows), separators=(",", ":"), allow_nan=False)
    return {
        "says": _says(rows) + _other(run),
        "name": figure_name(rows),
        "figure": drawn.replace("<", "\\u003c"),
        "rows": [(name, _spread(rows[0], values)) for name, values in (*_lines(rows), *_bar(rows))],
    }


def by_another_figure(figure: str, headline: str) -> str:
    """Why clients are not compared by the headline, as a sentence; "" if they are.

    Example:
        >>> by_another_figure("accuracy", "accuracy")
        ''
    """
    if headline in ("", figure):
        return ""
    return (
        f"Clients are compared by {figure}, since the headline {headline} is not defined, or says little, "
        "on the few examples that some of them hold out."
    )


def _other(run: Run) -> str:
    told: dict[str, Any] = run.summary.personalization or {}
    says = by_another_figure(run.personal[0].figure, str(told.get("headline", "")))
    return f" {says}" if says else ""


def figure_name(rows: Sequence[Personal]) -> str:
    """The name of the figure by which clients are compared, for a page."""
    return _NAMES.get(rows[0].figure, rows[0].figure.replace("_", " ").capitalize())


def _lines(rows: Sequence[Personal]) -> list[tuple[str, list[float | None]]]:
    own: list[float | None] = [row.personal for row in rows]
    if not _shares_a_model(rows):
        return [(_OWN, own)]
    return [(_SHARED, [row.shared for row in rows]), (_OWN, own)]


def _bar(rows: Sequence[Personal]) -> list[tuple[str, list[float | None]]]:
    """The constant prediction, where it is known for all clients."""
    if any(row.baseline is None for row in rows):
        return []
    return [(f"always the {rows[0].rule}", [row.baseline for row in rows])]


def _shares_a_model(rows: Sequence[Personal]) -> bool:
    """Whether the released model predicts; if so, a missing figure is an undefined one."""
    return any(row.shared is not None for row in rows)


def _spread(like: Personal, values: Sequence[float | None]) -> list[str]:
    # An undefined figure counts as the worst, as it does when clients are scored.
    worst = -math.inf if like.greater_is_better else math.inf
    found = spread(
        [worst if value is None else value for value in values],
        greater_is_better=like.greater_is_better,
    )
    return [like.text(found[name]) for name in ("mean", "worst", "q10", "median", "q90")]


def _says(rows: Sequence[Personal]) -> str:
    pairs = [(row.worth(row.shared), row.worth(row.personal)) for row in rows]
    if not _shares_a_model(rows):
        return (
            f"{len(rows):,} clients were scored. Their heads stayed with them, so there is no shared "
            "model to compare with."
        )
    better = sum(own > shared for shared, own in pairs)
    worse = sum(own < shared for shared, own in pairs)
    says = (
        f"Of {len(rows):,} clients, {better:,} are better off with their own model than with the released "
        f"one, {worse:,} are worse off, and for {len(pairs) - better - worse:,} it makes no difference."
    )
    untrained = sum(not row.trained for row in rows)
    if untrained:
        says += f" {untrained:,} were never in a round and have the released model."
    return says


def personal_lines(rows: Sequence[Personal]) -> dict[str, Any]:
    """The figure of each client, ordered from the worst to the best, one line a model.

    Args:
        rows: one row for each client, at least one.
    """
    styles = {_SHARED: (BLUE, "dash"), _OWN: (ORANGE, "solid")}
    like = rows[0]
    data = [_line(like, name, values, *styles[name]) for name, values in _lines(rows)]
    axis: dict[str, Any] = {"title": {"text": figure_name(rows)}, "zerolinecolor": GREY}
    if like.share:
        axis |= {"tickformat": ".0%", "range": [-0.02, 1.04]}
    elif not like.greater_is_better:
        axis |= {"rangemode": "tozero"}
    return figure(
        data,
        330,
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 62, "r": 16, "t": 40, "b": 48},
        xaxis={
            "title": {"text": "Clients, from the worst to the best"},
            "tickformat": ".0%",
            "range": [0, 1.005],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "zeroline": False,
        },
        yaxis=axis,
    )


def _line(
    like: Personal, name: str, values: Sequence[float | None], colour: str, dash: str
) -> dict[str, Any]:
    # Both lines are sorted by themselves, so a place on the axis is not one client.
    ordered = sorted(values, key=like.worth)
    places = ((np.arange(len(ordered)) + 0.5) / len(ordered)).tolist()
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(ordered) <= _MARKED else "lines",
        "name": name,
        "x": [round(place, 4) for place in places],
        "y": [None if value is None else float(f"{value:.4g}") for value in ordered],
        "line": {"color": colour, "width": 2.5, "dash": dash, "shape": "hvh"},
        "marker": {"size": 5},
        "hovertemplate": ("%{y:.1%}" if like.share else "%{y:.4g}") + "<extra>" + name + "</extra>",
    }
