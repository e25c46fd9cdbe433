"""The report's part on clients' own models: how accuracy is spread over the clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.reports.figures import BLUE, GREY, ORANGE, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.reports.data import Personal, Run

__all__ = ["personal_accuracy", "personal_part"]

_SHARED, _OWN = "released model", "own model"
_MARKED = 60  # so many clients, and no more, get a marker each


def personal_part(run: Run) -> dict[str, Any] | None:
    """Sentence, figure and table; None without personalisation."""
    rows = run.personal
    if not rows:
        return None
    drawn = json.dumps(personal_accuracy(rows), separators=(",", ":"), allow_nan=False)
    return {
        "says": _says(rows),
        "figure": drawn.replace("<", "\\u003c"),
        "rows": [(name, _spread(values)) for name, values in _lines(rows)],
    }


def _lines(rows: Sequence[Personal]) -> list[tuple[str, list[float]]]:
    shared = [row.shared for row in rows if row.shared is not None]
    personal = [row.personal for row in rows]
    return [(_SHARED, shared), (_OWN, personal)] if shared else [(_OWN, personal)]


def _spread(values: Sequence[float]) -> list[str]:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return [f"{value:.1%}" for value in (np.mean(values), min(values), low, middle, high)]


def _says(rows: Sequence[Personal]) -> str:
    pairs = [(row.shared, row.personal) for row in rows if row.shared is not None]
    if not pairs:
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


def personal_accuracy(rows: Sequence[Personal]) -> dict[str, Any]:
    """Accuracy of each client, ordered, one line a model.

    Args:
        rows: one a client, at least one.
    """
    styles = {_SHARED: (BLUE, "dash"), _OWN: (ORANGE, "solid")}
    data = [_line(name, values, *styles[name]) for name, values in _lines(rows)]
    return figure(
        data,
        330,
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 62, "r": 16, "t": 40, "b": 48},
        xaxis={
            "title": {"text": "Clients, from the worst off to the best off"},
            "tickformat": ".0%",
            "range": [0, 1.005],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "zeroline": False,
        },
        yaxis={
            "title": {"text": "Accuracy"},
            "tickformat": ".0%",
            "range": [-0.02, 1.04],
            "zerolinecolor": GREY,
        },
    )


def _line(name: str, values: Sequence[float], colour: str, dash: str) -> dict[str, Any]:
    ordered = sorted(values)
    places = ((np.arange(len(ordered)) + 0.5) / len(ordered)).tolist()
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(ordered) <= _MARKED else "lines",
        "name": name,
        "x": [round(place, 4) for place in places],
        "y": [round(value, 4) for value in ordered],
        "line": {"color": colour, "width": 2.5, "dash": dash, "shape": "hvh"},
        "marker": {"size": 5},
        "hovertemplate": "%{y:.1%}<extra>" + name + "</extra>",
    }
