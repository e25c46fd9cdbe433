"""The report's pictures as Plotly figures in JSON-ready values; the page chooses the colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fedavg.reports.reading.data import Metric, ServerRound, ServerView

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "cohorts",
    "figure",
    "finite",
    "privacy_utility",
    "seconds_by_stage",
    "server_epsilon",
    "traffic",
    "views",
]

Figure = dict[str, Any]

# Okabe and Ito (2008): distinguishable with every common colour blindness, on white and on near-black.
BLUE, ORANGE, _GREEN, _PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
_SKY, _RED, _YELLOW, GREY = "#56B4E9", "#D55E00", "#F0E442", "#8A8F98"
_STAGE_COLOURS = (BLUE, ORANGE, _GREEN, _PINK, _SKY, _RED, _YELLOW, GREY)
_PATTERNS = ("", "/", "", "x", "", "\\", "", ".")  # so that neighbours also differ in print
_DIVERGING = [[0.0, "#2166AC"], [0.5, "#F7F7F7"], [1.0, "#B2182B"]]
_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}


def figure(data: list[dict[str, Any]], height: int, **layout: Any) -> Figure:  # noqa: ANN401 - Plotly's JSON
    """A figure of these traces; `layout` overrides the common layout."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 62, "r": 16, "t": 14, "b": 48},
        "dragmode": False,
        "hovermode": "x unified",
    }
    return {"data": data, "layout": base | layout}


def _rounds_axis(
    rounds: Sequence[int],
    each: str = "Round",
    **extra: Any,  # noqa: ANN401 - Plotly's JSON
) -> dict[str, Any]:
    last = max(rounds, default=1)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if last <= 12 * s)
    ticks = sorted({min(rounds, default=1), *range(step, last + 1, step)})
    return {
        "title": {"text": each},
        "range": [0.4, last + 0.6],
        "tickvals": ticks,
        "zeroline": False,
    } | extra


def _line(name: str, x: Sequence[int], y: Sequence[float | None], colour: str) -> dict[str, Any]:
    mode = "lines+markers" if len(x) <= 12 else "lines"
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "width": 2.5},
        "marker": {"size": 7},
    }


def _level(name: str, y: float, axis: str, beside: Sequence[float | None] = ()) -> dict[str, Any]:
    """A dashed horizontal line with its label, at the end at which a curve is farther away from it."""
    known = [value for value in beside if value is not None] or [y]
    position = "start" if abs(known[0] - y) >= abs(known[-1] - y) else "end"
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": y,
        "y1": y,
        "line": {"color": GREY, "width": 1.5, "dash": "dash"},
        "label": {
            "text": name,
            "textposition": position,
            "yanchor": "bottom",
            "padding": 3,
        },
    }


def privacy_utility(
    metrics: Sequence[Metric],
    unprotected: float | None,
    budget: float | None,
    *,
    each: str = "Round",
) -> Figure | None:
    """The headline above epsilon, by round, on one time axis, beside that of the constant prediction.

    Args:
        metrics: the rows that may be published.
        unprotected: the headline without protection, drawn dashed; None leaves it out.
        budget: limit on epsilon, drawn dashed; None leaves it out.
        each: name of what the time axis counts.

    Returns:
        A Plotly figure; None if there is no value to show.
    """
    rounds = [row.round for row in metrics]
    scores = [row.headline for row in metrics]
    epsilon = [row.epsilon_release for row in metrics]
    has_score = any(value is not None for value in scores)
    has_epsilon = any(value is not None for value in epsilon)
    if not has_score and not has_epsilon:
        return None
    both = has_score and has_epsilon
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"showlegend": False, "shapes": []}
    if has_score:
        line, axis, levels = _score_panel(metrics, scores, unprotected)
        data.append(line)
        layout["yaxis"] = axis | {"domain": [0.5, 1] if both else [0, 1]}
        layout["shapes"] += levels
    if has_epsilon:
        series = _line("epsilon", rounds, epsilon, _RED)
        data.append(series | {"yaxis": "y2", "hovertemplate": "%{y:.2f}"})
        # Some room above the highest value is left for the label of the budget.
        top = max([value for value in epsilon if value is not None] + [budget or 0.0])
        layout["yaxis2"] = {
            "title": {"text": "Epsilon"},
            "domain": [0, 0.4] if both else [0, 1],
            "range": [0, top * 1.28],
            "zeroline": False,
        }
        if budget is not None:
            layout["shapes"].append(_level(f"budget {budget:g}", budget, "y2"))
    anchor = "y2" if has_epsilon else "y"
    axis = _rounds_axis(rounds, each, anchor=anchor)
    return figure(data, 470 if both else 300, xaxis=axis, **layout)


def _score_panel(
    metrics: Sequence[Metric], scores: Sequence[float | None], unprotected: float | None
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The headline's line, its axis, and levels to compare it with."""
    shown = next((row.figures[0] for row in metrics if row.figures), None)
    name = "accuracy" if shown is None else shown.name.replace("_", " ")
    share = shown is None or shown.share
    trivial = None if shown is None else shown.baseline.value
    known = [value for value in [*scores, unprotected, trivial] if value is not None]
    low, high = min(known), max(known)
    room = max(0.1 * (high - low), 0.02 if share else 0.02 * abs(high))
    # Figures that cannot be negative start at zero or above.
    least = min(0.0, low) if low < 0 else 0.0
    axis = {
        "title": {"text": name},
        "range": [max(least, low - room) if low >= 0 else low - room, high + 2 * room],
        "zeroline": False,
    } | ({"tickformat": ".0%"} if share else {})
    line = _line(name, [row.round for row in metrics], scores, BLUE)
    line["hovertemplate"] = "%{y:.1%}" if share else "%{y:.4g}"
    form = ".1%" if share else ".4g"
    levels: list[dict[str, Any]] = []
    if unprotected is not None:
        levels.append(_level(f"unprotected {unprotected:{form}}", unprotected, "y", scores))
    if trivial is not None and shown is not None:
        rule = shown.baseline.rule
        levels.append(_level(f"{rule} {trivial:{form}}", trivial, "y", scores))
    return line, axis, levels


def server_epsilon(server: Sequence[ServerRound]) -> Figure | None:
    """Epsilon towards the server by round; None when it has no bound."""
    rows = [row for row in server if row.epsilon_server is not None]
    if not rows:
        return None
    x, y = [row.round for row in rows], [row.epsilon_server for row in rows]
    line = _line("epsilon", x, y, _PINK) | {"hovertemplate": "%{y:.2f}"}
    # It grows only with the rounds of the client that took part most often, so the line has steps.
    line["line"] = {"color": _PINK, "width": 2.5, "shape": "hv"}
    yaxis = {"title": {"text": "Epsilon"}, "rangemode": "tozero"}
    return figure([line], 270, showlegend=False, xaxis=_rounds_axis(x), yaxis=yaxis)


def _bars(
    name: str, x: Sequence[int], y: Sequence[float], colour: str, pattern: str = ""
) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": list(x),
        "y": list(y),
        "marker": {
            "color": colour,
            "pattern": {"shape": pattern, "fillmode": "overlay", "size": 6, "solidity": 0.18},
        },
    }


def cohorts(server: Sequence[ServerRound]) -> Figure | None:
    """Clients asked and clients in the sum, by round."""
    if not server:
        return None
    x = [row.round for row in server]
    silent = [max(row.cohort - row.survivors, 0) for row in server]
    data = [
        _bars("in the sum", x, [row.survivors for row in server], BLUE),
        _bars("asked, but not in the sum", x, silent, ORANGE, "/"),
    ]
    return _stacked(data, x, "Clients")


def traffic(server: Sequence[ServerRound]) -> Figure | None:
    """Bytes up and down by round, stacked."""
    if not server:
        return None
    x = [row.round for row in server]
    peak = max(row.bytes_up + row.bytes_down for row in server)
    unit, scale = _unit(peak)
    data = [
        _bars("clients to server", x, [row.bytes_up / scale for row in server], BLUE),
        _bars("server to clients", x, [row.bytes_down / scale for row in server], _SKY, "/"),
    ]
    for bars in data:
        bars["hovertemplate"] = "%{y:.2f} " + unit
    return _stacked(data, x, unit)


def _unit(largest: float) -> tuple[str, float]:
    if largest >= 1e9:
        return "GB", 1e9
    return ("MB", 1e6) if largest >= 1e6 else ("kB", 1e3)


def seconds_by_stage(server: Sequence[ServerRound]) -> Figure | None:
    """Wall time by round, stacked by stage in the order in which stages first occur."""
    stages = list(dict.fromkeys(stage for row in server for stage in row.seconds))
    if not stages:
        return None
    x = [row.round for row in server]
    data = [
        _bars(
            stage.replace("_", " "),
            x,
            [row.seconds.get(stage, 0.0) for row in server],
            _STAGE_COLOURS[index % len(_STAGE_COLOURS)],
            _PATTERNS[index % len(_PATTERNS)],
        )
        for index, stage in enumerate(stages)
    ]
    for bars in data:
        bars["hovertemplate"] = "%{y:.3f} s"
    return _stacked(data, x, "Seconds")


def _stacked(data: list[dict[str, Any]], x: Sequence[int], title: str) -> Figure:
    return figure(
        data,
        320,
        barmode="stack",
        bargap=0.15,
        legend=_LEGEND,
        margin={"l": 62, "r": 16, "t": 64, "b": 48},
        xaxis=_rounds_axis(x),
        yaxis={"title": {"text": title}, "rangemode": "tozero"},
    )


def views(view: ServerView) -> list[tuple[str, Figure]]:
    """Pictures of one client's update, of what the server received of it, and of the aggregate.

    Each is a square of coordinates above their histogram. Structure and a bell shape are a signal; even
    speckles and a flat histogram are noise.

    Returns:
        Pairs of name and figure, with names among "update", "masked", "aggregate"; without a client's part
        only the aggregate.
    """
    found: list[tuple[str, Figure]] = []
    if view.client is not None:
        update, masked = finite(view.client.update), finite(view.client.masked)
        if update.size:
            found.append(("update", _picture(update, _signed_limits(update))))
        if masked.size:
            found.append(("masked", _picture(masked, _ring_limits(masked, view))))
    aggregate = finite(view.aggregate)
    if aggregate.size:
        found.append(("aggregate", _picture(aggregate, _signed_limits(aggregate))))
    return found


def finite(values: Sequence[float | None]) -> NDArray[np.float64]:
    """float64[m]: the recorded values; those that were not finite are shown as 0."""
    return np.nan_to_num(np.asarray(values, dtype=np.float64))


def _signed_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    # A few extreme coordinates would make all the others look like zero.
    largest = float(np.quantile(np.abs(values), 0.995)) or float(np.max(np.abs(values))) or 1.0
    return -largest, largest


def _ring_limits(masked: NDArray[np.float64], view: ServerView) -> tuple[float, float]:
    """The limits of the ring; for ciphertext words, whose moduli are smaller, those of the values."""
    if masked.min() < 0:
        return _signed_limits(masked)
    bits = 0 if view.client is None else view.client.modulus_bits
    ring, largest = math.ldexp(1.0, bits), float(masked.max())
    return 0.0, ring if largest > 0.5 * ring else max(largest, 1.0)


def _picture(values: NDArray[np.float64], limits: tuple[float, float]) -> Figure:
    low, high = limits
    side = max(1, math.isqrt(values.size))
    rows = math.ceil(values.size / side)
    # Places beyond the last coordinate stay empty in the picture.
    padded = np.full(rows * side, np.nan)
    padded[: values.size] = (np.clip(values, low, high) - low) / (high - low)
    counts, edges = np.histogram(values, bins=40, range=limits)
    grid = padded.reshape(rows, side)
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "z": [[None if math.isnan(v) else v for v in row] for row in _rounded(grid)],
            "zmin": 0,
            "zmax": 1,
            "colorscale": _DIVERGING,
            "showscale": False,
            "hoverinfo": "skip",
        },
        {
            "type": "bar",
            "x": _rounded((edges[:-1] + edges[1:]) / 2, 6),
            "y": counts.tolist(),
            "width": float(edges[1] - edges[0]),
            "marker": {
                "color": _histogram_colours(len(counts)),
                "line": {"width": 0.5, "color": GREY},
            },
            "xaxis": "x2",
            "yaxis": "y2",
            "hovertemplate": "%{y} coordinates near %{x:.3s}<extra></extra>",
        },
    ]
    hidden = {"visible": False, "fixedrange": True}
    return figure(
        data,
        430,
        hovermode="closest",
        showlegend=False,
        bargap=0,
        margin={"l": 8, "r": 8, "t": 8, "b": 34},
        xaxis=hidden | {"constrain": "domain"},
        yaxis=hidden | {"domain": [0.3, 1], "autorange": "reversed", "scaleanchor": "x"},
        xaxis2={
            "anchor": "y2",
            "range": [low, high],
            "nticks": 5,
            "exponentformat": "power",
            "zeroline": False,
        },
        yaxis2={"anchor": "x2", "domain": [0, 0.25], "visible": False, "rangemode": "tozero"},
    )


def _histogram_colours(bins: int) -> list[str]:
    """The heat map's colours, so that a bar shows which dots it counts."""
    stops = np.array([[0x21, 0x66, 0xAC], [0xF7, 0xF7, 0xF7], [0xB2, 0x18, 0x2B]], dtype=np.float64)
    places = (np.arange(bins) + 0.5) / bins
    channels = [np.interp(places, [0, 0.5, 1], stops[:, k]).astype(int) for k in range(3)]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in zip(*channels, strict=True)]


def _rounded(values: ArrayLike, digits: int = 3) -> list[Any]:
    """Values with enough digits for a picture, so that the page stays small."""
    array = np.asarray(values, dtype=np.float64)
    magnitude = np.floor(
        np.log10(np.maximum(np.abs(array), 1e-300), where=array != 0, out=np.zeros_like(array))
    )
    scale = 10.0 ** np.clip(digits - 1 - np.nan_to_num(magnitude), -300, 300)
    return (np.round(array * scale) / scale).tolist()
