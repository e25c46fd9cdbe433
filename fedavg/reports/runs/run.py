"""Turns a run directory into one offline HTML page: the result, its cost, and the server's view."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.errors import ReportError
from fedavg.files import replace_file
from fedavg.reports import figures
from fedavg.reports.epsilons import epsilon_text
from fedavg.reports.page import payload, render_page
from fedavg.reports.reading.data import read_run
from fedavg.reports.runs.ending import lost_rounds
from fedavg.reports.runs.personal import personal_part
from fedavg.reports.scores import scored
from fedavg.reports.scores.evaluation import evaluation_part, figure_rows
from fedavg.reports.scores.fairness import fairness_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedavg.reports.reading.data import Run, ServerRound, ServerView, Summary

__all__ = ["write_report"]

_NO_VALUE = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write_report(run_dir: Path, *, public: bool = False) -> Path:
    """Write a run directory's report: one HTML file that needs no network.

    Args:
        run_dir: a folder written by `fedavg run`, finished or interrupted.
        public: whether to leave out everything that only the server's operator may know (cohorts, bytes,
            seconds, the server's view, its epsilon), and the accuracy without protection, which no epsilon
            covers.

    Returns:
        The file written: `report.html`, or `report-public.html`.

    Raises:
        ReportError: `run_dir` is no run directory, is damaged, or cannot be written to.

    Example:
        >>> from pathlib import Path
        >>> write_report(Path("no-such-run"))
        Traceback (most recent call last):
            ...
        fedavg.errors.ReportError: no-such-run is no run directory: it holds neither summary.json ...
    """
    run = read_run(run_dir)
    page = _render(run, public=public)
    # The two reports have names of their own, so that the operator's is not published by mistake.
    path = run_dir / ("report-public.html" if public else "report.html")
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error
    return path


def _render(run: Run, *, public: bool) -> str:
    return render_page(
        "report.html.j2",
        public=public,
        private=run.summary.private,
        summary=run.summary,
        title=run.summary.task[:1].upper() + run.summary.task[1:],
        states=_states(run, public=public),
        tiles=_tiles(run.summary, public=public),
        setting=_setting(run.summary),
        metrics=run.metrics,
        outcome=_payload(_outcome(run, public=public)),
        config=run.config,
        evaluation=_evaluation(run, public=public),
        covered=scored.covered(run.summary),
        figures=[figure_rows(row.figures) for row in run.metrics],
        operator=None if public else _operator(run),
    )


def _evaluation(run: Run, *, public: bool) -> dict[str, Any] | None:
    """Pictures of held-out rows: for the operator, and for everybody if the rows are public."""
    found = run.evaluation
    if found is None or (public and not found.public):
        return None
    return evaluation_part(found)


def _payload(figure: dict[str, Any] | None) -> str | None:
    return None if figure is None else payload(figure)


def _outcome(run: Run, *, public: bool) -> dict[str, Any] | None:
    # The figure without protection comes from a model that no noise protects (docs/limits.md).
    unprotected = None if public else scored.unprotected(run.summary)
    return figures.privacy_utility(run.metrics, unprotected, run.budget)


def _states(run: Run, *, public: bool) -> list[str]:
    """Why the run is shorter than planned, and what is missing; which rounds failed is not public."""
    summary = run.summary
    lost = lost_rounds(summary.skipped, summary.rounds, private=summary.private)
    unscored = summary.unscored
    told = [
        _state(summary, public=public),
        None if unscored is None else f"{unscored[:1].upper()}{unscored[1:]}.",
        # Which rounds failed says something about cohorts, and epsilon does not cover that.
        None if public and summary.private else lost,
    ]
    return [said for said in told if said]


def _state(summary: Summary, *, public: bool) -> str | None:
    done = f"{summary.rounds} of {summary.rounds_planned or _NO_VALUE} rounds"
    if summary.stopped == "finished":
        return None
    if summary.stopped == "budget":
        return f"Stopped after {done}: the next one would have exceeded the privacy budget."
    if summary.stopped == "early":
        return f"Stopped early after {done}: the headline no longer improved."
    if summary.stopped == "nothing-learnt":
        # The reasons name sizes of cohorts and errors of clients, which only the operator may know.
        why = None if public else summary.why
        return why or "Nothing was learnt: no client contributed an update in any round."
    return f"Interrupted, or still running: {done} are done. Everything below counts these only."


def _tiles(summary: Summary, *, public: bool) -> list[tuple[str, str, str]]:
    """Headline figures: name, value, and one sentence about the meaning."""
    tiles = [
        scored.tile(summary, public=public),
        (
            "Epsilon for an observer of the released models",
            epsilon_text(summary.epsilon_release) if summary.rounds else _NO_VALUE,
            _release_note(summary),
        ),
    ]
    # The server's epsilon follows from participations, which only the operator may know.
    if not public:
        note = _server_note(summary)
        tiles.append(
            (
                "Epsilon for the server",
                epsilon_text(summary.epsilon_server) if summary.rounds else _NO_VALUE,
                note,
            )
        )
    if summary.private:
        delta = _NO_VALUE if summary.delta is None else _scientific(summary.delta)
        note = "The probability with which an epsilon may fail. It should be below 1 ÷ clients."
        tiles.append(("Delta", delta, note))
    return tiles


def _release_note(summary: Summary) -> str:
    if not summary.private:
        return (
            "No noise was added, so the models themselves may give away what they were trained on."
        )
    if summary.rounds == 0:
        return "Nothing was released yet."
    if summary.epsilon_release is None:
        return "The noise is too small for a finite bound."
    return (
        "Compares the run with one in which one enrolled client never answers, for anyone who neither runs "
        "the server nor took part, as long as cohort sizes stay secret. How many clients are enrolled is "
        "public."
    )


def _server_note(summary: Summary) -> str:
    if summary.rounds == 0:
        return "The server saw no update yet."
    if summary.epsilon_server is not None:
        return "The server knows who took part, so sampling does not help. It sees noisy sums only."
    if not summary.hides_updates:
        return f"The server read in the clear: {summary.received[:1].lower()}{summary.received[1:]}"
    if not summary.private:
        return "The server learns each round's exact sum, and no single update."
    return "The server adds the noise itself, so it sees each sum without it."


def _unsent(summary: Summary) -> str:
    if not summary.unsent:
        return ""
    return f"; {summary.unsent:,} more are frozen, or stay at the clients"


def _setting(summary: Summary) -> list[tuple[str, str]]:
    """The settings of training and protection, all of which are fixed before the first round."""
    clients = _NO_VALUE if summary.clients is None else f"{summary.clients:,}"
    rows = [
        ("Task", summary.task),
        ("Model", f"{summary.model}, {_count(summary.parameters)} parameters{_unsent(summary)}"),
        ("Clients", f"{clients}, about {_count(summary.expected_cohort)} asked a round"),
        ("Secure sum", f"{summary.secure_sum} ({summary.threat_model})"),
    ]
    if summary.loss is not None:
        where = f", in {summary.precision}" if summary.precision != "float32" else ""
        rows.append(("Loss", f"{summary.loss}, on {summary.device}{where}"))
    if summary.blocks:
        part = max(summary.blocks) / (summary.parameters or sum(summary.blocks))
        held = f"{len(summary.blocks)} side by side: a client trains and sends at most {part:.1%}"
        rows.append(("Blocks", held))
    if summary.noise_multiplier is not None and summary.noise_multiplier_added is not None:
        added = summary.noise_multiplier_added
        rows += [
            ("Noise", f"{summary.noise}, multiplier {summary.noise_multiplier:.3f} claimed"),
            ("Noise added", f"{added:.3f}: more than claimed, against drop-outs and colluders"),
            ("Clip norm", _NO_VALUE if summary.clip is None else f"{summary.clip:g}"),
        ]
    else:
        rows.append(("Noise", "none"))
    if summary.personalization is not None:
        rows.append(("Personalisation", f"{summary.personalization['kind']}, at the clients"))
    if summary.wrap_probability:
        exponent = math.floor(math.log2(summary.wrap_probability))
        rows.append(
            (
                "Sum wraps with probability",
                f"about {_power(2, exponent)} a round; privacy is unaffected",
            )
        )
    return rows


def _operator(run: Run) -> dict[str, Any]:
    return {
        "facts": _traffic_facts(run),
        "epsilon": _payload(figures.server_epsilon(run.server)),
        "cohorts": _payload(figures.cohorts(run.server)),
        "traffic": _payload(figures.traffic(run.server)),
        "seconds": _payload(figures.seconds_by_stage(run.server)),
        "stages": _stages(run.server),
        "rounds": [
            (row, _bytes(row.bytes_up), _bytes(row.bytes_down), f"{sum(row.seconds.values()):.2f}")
            for row in run.server
        ],
        "view": None if run.view is None else _view(run.view),
        "personal": personal_part(run),
        "fairness": fairness_part(run.fairness),
    }


def _traffic_facts(run: Run) -> list[str]:
    # Rounds without a sum may end before the upload, so they are no part of the mean.
    rows = [row for row in run.server if row.survivors and not row.skipped]
    facts: list[str] = []
    if rows:
        up = sum(row.bytes_up for row in rows) / sum(row.survivors for row in rows)
        text = f"A client uploads {_bytes(up)} a round"
        if run.summary.parameters:
            what = "the whole model" if run.summary.blocks else "its update"
            text += f", {up / (4 * run.summary.parameters):.2f} times {what} as plain float32"
        facts.append(text + ".")
    skipped = sum(row.skipped for row in run.server)
    if skipped:
        facts.append(
            f"{skipped} of {len(run.server)} rounds had no sum, and gave no new model or noise alone."
        )
    if run.summary.seconds:
        facts.append(f"The whole run took {run.summary.seconds:,.0f} s.")
    return facts


def _stages(server: Sequence[ServerRound]) -> list[tuple[str, str, str]]:
    """Stage, mean seconds a round, and share of the whole."""
    names = list(dict.fromkeys(stage for row in server for stage in row.seconds))
    totals = {name: sum(row.seconds.get(name, 0.0) for row in server) for name in names}
    everything = sum(totals.values()) or 1.0
    return [
        (name.replace("_", " "), f"{total / len(server):.3f}", f"{total / everything:.0%}")
        for name, total in totals.items()
    ]


_CAPTIONS = {
    "update": (
        "One client's update",
        "Encoded as integers, before noise. It never leaves the client; only a simulation can show it.",
    ),
    "masked": ("What the server received of it", ""),
    "aggregate": (
        "What the server learns: the mean",
        "Over everybody in the round, after decoding.",
    ),
}


def _view(view: ServerView) -> dict[str, Any]:
    captions = dict(_CAPTIONS)
    captions["masked"] = (captions["masked"][0], view.received)
    return {
        "round": view.round,
        "in_clear": not view.hides_updates,
        "backend": view.backend,
        "messages": [
            (row, _bytes(row.bytes), _bytes(row.bytes / row.count))
            for row in view.messages
            if row.count
        ],
        "pictures": [
            (name, *captions[name], _payload(figure)) for name, figure in figures.views(view)
        ],
        "shown": len(view.aggregate),
        "noise": _noise_length(view),
    }


def _noise_length(view: ServerView) -> str | None:
    """The length of a client's noise share, compared with its update, as a sentence."""
    if view.client is None:
        return None
    update, noised = figures.finite(view.client.update), figures.finite(view.client.noised)
    # With noise of the server's own, both vectors are equal and there is nothing to compare.
    if update.shape != noised.shape or not update.any() or np.array_equal(update, noised):
        return None
    return f"{np.linalg.norm(noised - update) / np.linalg.norm(update):.2g}"


def _power(base: int, exponent: int) -> str:
    return f"{base}{str(exponent).translate(_SUPERSCRIPT)}"


def _scientific(value: float) -> str:
    """1e-05 as 10⁻⁵, 2.5e-06 as 2.5·10⁻⁶, and 0.01 as it is."""
    mantissa, _, exponent = f"{value:g}".partition("e")
    if not exponent:
        return mantissa
    power = _power(10, int(exponent))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _count(value: float | None) -> str:
    return _NO_VALUE if value is None else f"{value:,.0f}"


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"
