"""The page of a privacy budget: one offline page with ε against noise, and ε along the rounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.errors import ReportError
from fedavg.files import replace_file
from fedavg.plan.budget.unbounded import why_no_bound
from fedavg.reports.page import payload, render_page
from fedavg.reports.scores.curve import curve_figure, tradeoff_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dp import PrivacyCurve
    from fedavg.plan.budget.planner import BudgetAnswer

__all__ = ["write_budget_page"]

_RED, _PINK, _GREY = (
    "#D55E00",
    "#CC79A7",
    "#8A8F98",
)  # the same colours as in the report for these two figures
_TICKS = (1, 2, 5)


def write_budget_page(
    path: Path,
    found: BudgetAnswer,
    by_noise: Sequence[BudgetAnswer],
    by_round: Sequence[BudgetAnswer],
    curve: PrivacyCurve | None = None,
    *,
    group: int = 1,
) -> None:
    """Write the page: the answer, both curves, and their numbers as tables.

    Args:
        path: path of the HTML file, which is replaced if it exists.
        found: the answer in the middle.
        by_noise: answers for several noise multipliers.
        by_round: answers for several numbers of rounds.
        curve: δ at every ε, for an observer of the released models; None leaves its pictures out.
        group: number of clients whose joint presence the curve is about.

    Raises:
        ReportError: the file cannot be written.
    """
    page = render_page(
        "budget.html.j2",
        found=found,
        setting=found.setting,
        facts=_facts(found),
        unbounded=why_no_bound(found),
        by_noise=by_noise,
        by_round=by_round,
        noise_figure=payload(_noise_figure(found, by_noise)),
        round_figure=payload(_round_figure(by_round)),
        curve_figure=None if curve is None else payload(_at_delta(curve, found.setting.delta_used)),
        tradeoff_figure=None if curve is None else payload(tradeoff_figure(curve)),
        curve_rows=[] if curve is None else _curve_rows(curve),
        group=group,
    )
    # The page is replaced as a whole, so that a reader never sees half of it.
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def _facts(found: BudgetAnswer) -> list[tuple[str, str]]:
    setting = found.setting
    return [
        ("Clients", f"{setting.clients:,}, about {setting.cohort:,} a round"),
        ("Sampling", setting.sampling_words),
        ("Rounds", f"{setting.rounds:,}"),
        ("Mechanism", setting.mechanism),
        ("Delta", f"{setting.delta_used:g}"),
        ("One client takes part in", f"at most {found.participations:,} rounds"),
    ]


def _at_delta(curve: PrivacyCurve, delta: float) -> dict[str, Any]:
    return curve_figure(curve, curve.epsilon(delta).high, delta)


def _curve_rows(curve: PrivacyCurve) -> list[tuple[float, float, float, float]]:
    """Some 25 points as a table: epsilon and delta, and the level of a test with its least type II error."""
    every = max(1, len(curve.epsilons) // 24)
    levels = np.linspace(0.0, 1.0, len(curve.epsilons[::every]))
    errors = curve.tradeoff(levels)[0]
    points = zip(curve.epsilons[::every], curve.high[::every], strict=True)
    return [
        (float(epsilon), float(delta), float(level), float(error))
        for (epsilon, delta), level, error in zip(points, levels, errors, strict=True)
    ]


def _line(
    name: str, x: Sequence[float], y: Sequence[float | None], colour: str, dash: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [float(f"{value:.4g}") for value in x],
        "y": [
            # JSON has no infinity, and a gap in the line shows that there is no bound.
            None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
            for value in y
        ],
        "line": {"color": colour, "width": 2.5, "dash": dash},
        "marker": {"size": 6},
        "hovertemplate": "%{y:.3g}",
    }


def _curves(
    answers: Sequence[BudgetAnswer], x: Sequence[float], *, title: str, logarithmic: bool
) -> dict[str, Any]:
    release = [answer.release.high for answer in answers]
    server = [answer.server for answer in answers]
    data = [_line("observer of the released models", x, release, _RED, "solid")]
    if any(value is not None for value in server):
        data.append(_line("the server", x, server, _PINK, "dot"))
    values = [value for value in [*release, *server] if value is not None and math.isfinite(value)]
    axis: dict[str, Any] = {"title": {"text": "Epsilon"}, "zeroline": False}
    axis |= _logarithmic(values) if logarithmic else {"rangemode": "tozero"}
    layout = {
        "height": 400,
        "margin": {"l": 62, "r": 16, "t": 30, "b": 48},
        "dragmode": False,
        "hovermode": "x unified",
        "showlegend": len(data) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": title}, "zeroline": False}
        | (_logarithmic(x) if logarithmic else {"rangemode": "tozero"}),
        "yaxis": axis,
        "shapes": [],
    }
    return {"data": data, "layout": layout}


def _logarithmic(values: Sequence[float]) -> dict[str, Any]:
    """An axis with ticks at 1, 2 and 5 of every visible decade."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [tick * 10.0**decade for decade in decades for tick in _TICKS]
    return {
        "type": "log",
        "range": [math.log10(low) - 0.06, math.log10(high) + 0.06],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def _noise_figure(found: BudgetAnswer, answers: Sequence[BudgetAnswer]) -> dict[str, Any]:
    x = [answer.noise_multiplier for answer in answers]
    figure = _curves(answers, x, title="Noise multiplier: noise ÷ clip norm", logarithmic=True)
    figure["layout"]["shapes"].append(
        {
            "type": "line",
            "xref": "x",
            "x0": found.noise_multiplier,
            "x1": found.noise_multiplier,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": _GREY, "width": 1.5, "dash": "dash"},
            "label": {
                "text": f"{found.noise_multiplier:.3g}",
                "textposition": "end",
                "textangle": 0,
                "xanchor": "left",
                "padding": 4,
            },
        }
    )
    return figure


def _round_figure(answers: Sequence[BudgetAnswer]) -> dict[str, Any]:
    x = [float(answer.setting.rounds) for answer in answers]
    return _curves(answers, x, title="Rounds released", logarithmic=False)
