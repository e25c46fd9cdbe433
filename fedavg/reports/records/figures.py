"""Pictures of a run of records: the headline above epsilon by step, and where the time of a step goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedavg.reports.figures import BLUE, GREY, ORANGE, figure, privacy_utility

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.reports.records.data import RecordsSummary, ScoredStep

__all__ = ["outcome_figure", "time_figure"]

_PINK = "#CC79A7"  # the colour of the server's epsilon on every page


def outcome_figure(rows: Sequence[ScoredStep], summary: RecordsSummary) -> dict[str, Any] | None:
    """The headline above epsilon; None if no step was scored."""
    found = privacy_utility([row.metric for row in rows], None, summary.budget, each="Step")
    if found is None:
        return None
    known = [row.epsilon_colluding for row in rows]
    if not any(value is not None for value in known):
        return found
    for trace in found["data"]:
        if trace.get("yaxis") == "y2":
            trace["name"] = "epsilon, released models"
    colluders = summary.epsilon.colluders
    found["data"].append(
        {
            "type": "scatter",
            "mode": "lines+markers" if len(rows) <= 12 else "lines",
            "name": f"epsilon, server with {colluders} silo{'' if colluders == 1 else 's'}",
            "x": [row.step for row in rows],
            "y": known,
            "yaxis": "y2",
            "line": {"color": _PINK, "width": 2.5, "dash": "dot"},
            "marker": {"size": 7},
            "hovertemplate": "%{y:.2f}",
        }
    )
    found["layout"]["showlegend"] = True
    found["layout"]["legend"] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    found["layout"]["margin"] = {"l": 62, "r": 16, "t": 64, "b": 48}
    return found


def time_figure(stages: Mapping[str, float], steps: int) -> dict[str, Any] | None:
    """Seconds of one step by stage, on average; None without steps."""
    if not stages or steps < 1:
        return None
    ordered = list(stages.items())
    colours = [
        BLUE if name == "gradients" else GREY if name == "score" else ORANGE for name, _ in ordered
    ]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [float(f"{seconds / steps:.4g}") for _, seconds in ordered],
        "y": [name.replace("_", " ") for name, _ in ordered],
        "marker": {"color": colours},
        "hovertemplate": "%{y}: %{x:.3f} s<extra></extra>",
    }
    return figure(
        [bars],
        110 + 30 * len(ordered),
        xaxis={
            "title": {"text": "Seconds a step, silos in turn"},
            "rangemode": "tozero",
        },
        yaxis={"type": "category", "title": {"text": ""}, "autorange": "reversed", "dtick": 1},
        margin={"l": 120, "r": 16, "t": 14, "b": 48},
        showlegend=False,
        hovermode="closest",
    )
