"""Pictures of statistics as Plotly figures: bars of counts, missing cells, tables and correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedavg.reports.figures import BLUE, GREY, ORANGE, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.statistics.summary import ColumnSummary, Correlation, CrossTable, Figure, Summary

__all__ = ["column_figure", "correlation_figure", "cross_figure", "missing_figure"]

_LONGEST = 18
_DAY = 86_400_000  # Plotly's axes of dates count milliseconds since 1970-01-01
_DIVERGING = [[0.0, "#2166AC"], [0.5, "#F7F7F7"], [1.0, "#B2182B"]]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _named(names: Sequence[str]) -> list[str]:
    """Short names, kept different: equal names would share one place on an axis."""
    short = [_short(name) for name in names]
    if len(set(short)) == len(short):
        return short
    return [f"{name} ({place})" for place, name in enumerate(short, 1)]


def _height(value: Figure) -> float | None:
    return None if value.value is None else round(max(value.value, 0.0), 2)


def _doubt(figures: Sequence[Figure], along: str = "error_y", scale: float = 1.0) -> dict[str, Any]:
    """Error bars along an axis, in units of 1/scale, where the figures have intervals."""
    if not any(value.high is not None for value in figures):
        return {}
    tops = [max(value.value or 0.0, 0.0) for value in figures]
    above = [
        round(scale * max((value.high or 0.0) - top, 0.0), 2)
        for value, top in zip(figures, tops, strict=True)
    ]
    below = [
        round(scale * max(top - (value.low or 0.0), 0.0), 2)
        for value, top in zip(figures, tops, strict=True)
    ]
    return {
        along: {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": GREY,
            "thickness": 1.2,
            "width": 2,
        }
    }


def column_figure(column: ColumnSummary) -> dict[str, Any] | None:
    """The histogram of a column of numbers, or the rows of each word; None without cells."""
    cells = [cell for cell in column.cells if cell.edges is None or None not in cell.edges]
    if not cells:
        return None
    rows = [cell.rows for cell in cells]
    bars: dict[str, Any] = {
        "type": "bar",
        "name": "rows",
        "y": [_height(value) for value in rows],
        "marker": {"color": BLUE},
        "customdata": [cell.label for cell in cells],
        "hovertemplate": "%{customdata}: %{y:,.0f} rows<extra></extra>",
    } | _doubt(rows)
    edges = [cell.edges for cell in cells if cell.edges is not None]
    if edges:
        unit = _DAY if column.days else 1
        places: list[Any] = [unit * ((low or 0.0) + (high or 0.0)) / 2 for low, high in edges]
        bars["width"] = [unit * ((high or 0.0) - (low or 0.0)) for low, high in edges]
        axis: dict[str, Any] = {"zeroline": False, "nticks": 6}
        axis |= {"type": "date"} if column.days else {}
    else:
        places = _named([cell.label for cell in cells])
        axis = {"type": "category", "nticks": 12}
    bars["x"] = places
    traces = [bars]
    hidden = [place for place, value in zip(places, rows, strict=True) if value.value is None]
    if hidden:
        # A mark, and not an empty place, shows that a count exists and is withheld.
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "withheld",
                "x": hidden,
                "y": [0] * len(hidden),
                "marker": {"color": ORANGE, "symbol": "x-thin-open", "size": 7},
                "hovertemplate": "withheld<extra></extra>",
            }
        )
    return figure(
        traces,
        230,
        xaxis=axis,
        yaxis={"title": {"text": "Rows"}, "rangemode": "tozero", "zeroline": False, "nticks": 5},
        showlegend=False,
        hovermode="closest",
        bargap=0.04 if edges else 0.25,
    )


def missing_figure(summary: Summary) -> dict[str, Any]:
    """The share of missing cells of each column, the largest at the top."""
    rows = summary.rows.value or 1.0
    known = [column for column in summary.columns if column.missing.value is not None]
    ordered = sorted(known, key=lambda column: column.missing.value or 0.0)
    shares = [100 * max(column.missing.value or 0.0, 0.0) / rows for column in ordered]
    figures = [column.missing for column in ordered]
    # Under noise an estimate of 0 has no bar, and its interval is all there is to see.
    tops = [100 * (value.high or 0.0) / rows for value in figures]
    bars: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": [round(share, 3) for share in shares],
        "y": _named([column.name for column in ordered]),
        "marker": {"color": ORANGE},
        "hovertemplate": "%{y}: %{x:.2f} % missing<extra></extra>",
    } | _doubt(figures, "error_x", 100 / rows)
    return figure(
        [bars],
        120 + 20 * len(ordered),
        xaxis={
            "title": {"text": "Missing cells, % of rows"},
            "rangemode": "tozero",
            "range": [0, max([*shares, *tops, 1.0]) * 1.05],
        },
        yaxis={"type": "category", "title": {"text": ""}, "dtick": 1},
        showlegend=False,
        hovermode="closest",
    )


def cross_figure(table: CrossTable) -> dict[str, Any]:
    """A contingency table in colours, as shares of each row.

    Withheld cells have none, and neither has a row of counts that noise alone may have made.
    """
    shares: list[list[float | None]] = []
    for row in table.rows:
        if all(value.low is not None and value.low <= 0 for value in row):
            shares.append([None] * len(row))
            continue
        total = sum(max(value.value or 0.0, 0.0) for value in row)
        shares.append(
            [
                None if value.value is None else round(max(value.value, 0.0) / (total or 1.0), 4)
                for value in row
            ]
        )
    counts = [[_height(value) for value in row] for row in table.rows]
    trace = {
        "type": "heatmap",
        "x": _named(table.second_words),
        "y": _named(table.first_words),
        "z": shares,
        "customdata": counts,
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Viridis",
        "colorbar": {"thickness": 10, "tickformat": ".0%"},
        "hovertemplate": "%{y}, %{x}: %{customdata:,.0f} rows, %{z:.1%} of those shown<extra></extra>",
    }
    axis = {"type": "category", "title": {"text": table.first}, "autorange": "reversed"}
    across = {"type": "category", "title": {"text": table.second}}
    height = 160 + min(max(24 * len(table.first_words), 100), 600)
    return figure([trace], height, xaxis=across, yaxis=axis, showlegend=False, hovermode="closest")


def correlation_figure(pairs: Sequence[Correlation]) -> dict[str, Any]:
    """All correlations in colours from −1 to 1; withheld ones have none."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    found: list[list[float | None]] = [[None] * len(names) for _ in names]
    for pair in pairs:
        if pair.figure.value is not None:
            one, two = names.index(pair.first), names.index(pair.second)
            found[one][two] = found[two][one] = round(pair.figure.value, 3)
    shown = _named(names)
    trace = {
        "type": "heatmap",
        "x": shown,
        "y": shown,
        "z": found,
        "zmin": -1,
        "zmax": 1,
        "colorscale": _DIVERGING,
        "colorbar": {"thickness": 10},
        "hovertemplate": "%{y}, %{x}: %{z:.3f}<extra></extra>",
    }
    axis = {"type": "category", "title": {"text": ""}, "autorange": "reversed"}
    return figure(
        [trace],
        140 + min(max(26 * len(names), 120), 600),
        xaxis={"type": "category", "title": {"text": ""}},
        yaxis=axis,
        showlegend=False,
        hovermode="closest",
    )
