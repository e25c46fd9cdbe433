"""Turns a run directory of records into one offline page: the result, three epsilons, and their cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fedavg.errors import ReportError
from fedavg.files import replace_file
from fedavg.reports.epsilons import epsilon_text
from fedavg.reports.page import payload, render_page
from fedavg.reports.records.data import read_records_run
from fedavg.reports.records.figures import outcome_figure, time_figure
from fedavg.reports.scores.evaluation import figure_rows

if TYPE_CHECKING:
    from pathlib import Path

    from fedavg.reports.records.data import RecordsRun, RecordsSummary

__all__ = ["write_records_report"]

_UNITS = {"person": "people", "record": "records"}


def write_records_report(run_dir: Path) -> Path:
    """Write `report.html` into a run directory of `fedavg records`.

    The page holds nothing of a single silo, and nothing that is not covered by epsilon but the figures on
    held-out rows; so there is one page, and no second one for the operator.

    Args:
        run_dir: the folder.

    Returns:
        The file written.

    Raises:
        ReportError: the folder is no such run directory, is damaged, or cannot be written to.

    Example:
        >>> from pathlib import Path
        >>> write_records_report(Path("no-such-run"))
        Traceback (most recent call last):
            ...
        fedavg.errors.ReportError: no-such-run is no run directory of records: it holds no summary.json. ...
    """
    page = render_page("records.html.j2", **_content(read_records_run(run_dir)))
    path = run_dir / "report.html"
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error
    return path


def _content(run: RecordsRun) -> dict[str, Any]:
    summary = run.summary
    outcome, times = outcome_figure(run.rows, summary), time_figure(summary.stages, summary.steps)
    return {
        "title": summary.task[:1].upper() + summary.task[1:],
        "summary": summary,
        "units": _UNITS[summary.unit],
        "state": _state(summary),
        "tiles": _tiles(summary),
        "outcome": None if outcome is None else payload(outcome),
        "times": None if times is None else payload(times),
        "rows": [(row, figure_rows(row.figures)) for row in run.rows],
        "observers": _observers(summary),
        "facts": _facts(summary),
        "limits": _limits(summary),
        "stages": [(name, seconds / summary.steps) for name, seconds in _shown(summary)],
        "sum_share": _sum_share(summary),
        "config": run.config,
    }


def _shown(summary: RecordsSummary) -> list[tuple[str, float]]:
    return list(summary.stages.items()) if summary.steps else []


def _state(summary: RecordsSummary) -> str | None:
    done = f"{summary.steps} of {summary.steps_planned} steps"
    if summary.stopped == "finished":
        return None
    if summary.stopped == "budget":
        return f"Stopped after {done}: a silo's budget has no room for another."
    return f"Interrupted: {done} are done. Everything below counts these only."


def _silos(count: int) -> str:
    return f"{count} silo{'' if count == 1 else 's'}"


def _tiles(summary: RecordsSummary) -> list[tuple[str, str, str]]:
    three = summary.epsilon
    found: list[tuple[str, str, str]] = []
    if summary.figures:
        first = summary.figures[0]
        bar = first.baseline
        note = "On held-out rows, after the last step."
        if bar.value is not None:
            note = f"Always predicting the {bar.rule} gives {first.text(bar.value)}"
            note += ": the model is no better." if first.beats_baseline is False else "."
        note = f"{note} {first.without}".strip()
        mark = "" if summary.covered else " *"
        found.append((first.name.replace("_", " ") + mark, first.text(first.value), note))
    against = (
        f"Of one {summary.unit} of one silo in this run, against the server with "
        f"{_silos(three.colluders)}. This is what the budget bounds."
    )
    return [
        *found,
        (
            "Epsilon, with colluding silos",
            epsilon_text(three.colluding),
            against,
        ),
        (
            "Epsilon, released models",
            epsilon_text(three.release),
            "Against anyone who sees the models alone.",
        ),
        (
            "Delta",
            f"{three.delta:g}",
            f"The probability with which an epsilon may fail. It should be below 1 ÷ {_UNITS[summary.unit]}.",
        ),
    ]


def _observers(summary: RecordsSummary) -> list[tuple[str, str, str, str]]:
    # With groups, a unit is protected by the noise of its own group, of which the largest is the weakest.
    n, d, c = max(summary.groups, default=summary.silos), summary.missing, summary.epsilon.colluders
    three = summary.epsilon
    alone = summary.noise == "own"
    return [
        (
            "an observer",
            "the released models",
            "each" if alone else f"{n - d} of {n}",
            epsilon_text(three.release),
        ),
        (
            "the server",
            "every sum",
            "each" if alone else f"{n - d} of {n}",
            epsilon_text(three.server),
        ),
        (
            f"the server with {_silos(c)}",
            f"every sum, and all that {_silos(c)} know{'s' if c == 1 else ''}",
            "the silo's own" if alone else f"{n - d - c} of {n}",
            epsilon_text(three.colluding),
        ),
    ]


def _clip(summary: RecordsSummary) -> list[tuple[str, str]]:
    """Where a clip that follows the median has come to, and what it costs."""
    if summary.clip is None:
        return []
    if not summary.clip_told:
        return [
            ("Clip", f"{summary.clip:.3g}, constant: the longest gradient of one {summary.unit}")
        ]
    told = summary.clip_told[:1].upper() + summary.clip_told[1:]
    return [("Clip", f"{summary.clip:.3g} after the last step. {told}.")]


def _facts(summary: RecordsSummary) -> list[tuple[str, str]]:
    n = summary.silos
    own = math.sqrt(n)
    bytes_up = summary.bytes_up / max(summary.steps, 1) / n
    missing = "none" if not summary.missing else f"{summary.missing}"
    return [
        ("Protected unit", f"one {summary.unit} of one silo"),
        ("Silos", f"{n}, of which {missing} may be missing from a sum"),
        ("Parameters", f"{summary.parameters:,}"),
        *_draws(summary),
        ("Noise", f"multiplier {summary.noise_multiplier:.3f}, {summary.noise}"),
        (
            "Against one trusted party",
            f"{summary.noise_overhead:.2f} times its noise; {own:.2f} times if each silo added its own",
        ),
        ("Secure sum", summary.secure_sum),
        *_groups(summary),
        *_reach(summary),
        ("Sent by a silo in a step", _size(bytes_up)),
        *_clip(summary),
        ("Work of a silo in a draw", f"padded to {summary.slots:,} {_UNITS[summary.unit]}"),
        (
            "Epsilon in the silos' ledgers",
            f"at most {epsilon_text(summary.ledgers)}, earlier runs included",
        ),
        (
            "Attempts that gave no sum",
            f"{summary.voided}, each of them charged" if summary.voided else "none",
        ),
    ]


def _draws(summary: RecordsSummary) -> list[tuple[str, str]]:
    """What enters a step, by public constants."""
    if summary.rate is None or summary.divisor is None:
        return []
    found = [
        ("Drawn in a step", f"each {summary.unit} with probability {summary.rate:g}"),
        ("A step's sum is divided by", f"{summary.divisor:g}"),
    ]
    if summary.unit == "person":
        said = f"at most {summary.rows}; further ones are left out, by chance, for the whole run"
        found.insert(1, ("Rows of one person", said))
    return found


def _groups(summary: RecordsSummary) -> list[tuple[str, str]]:
    if not summary.groups:
        return []
    sizes = " or ".join(str(size) for size in sorted(set(summary.groups)))
    said = f"{len(summary.groups)} of {sizes} silos, each with a secure sum of its own, dealt anew each step"
    return [("Groups", said), ("Rule over the groups' means", str(summary.robust))]


def _reach(summary: RecordsSummary) -> list[tuple[str, str]]:
    """How far one silo moves the mean gradient of a step, as rows of a table."""
    reach = summary.reach
    if reach is None:
        return []
    found = [
        (
            "One silo that follows the protocol moves the mean gradient of a step by",
            f"at most {reach.honest:.3g} in length, with any number of rows",
        ),
        (
            "One silo that sends anything",
            f"moves it by at most {2 * reach.step:.3g} in length"
            if not reach.withstood
            else f"spoils one group; the rule withstands {reach.withstood}",
        ),
    ]
    if summary.shortened:
        found.append(
            (
                "Sums that no honest silos make",
                f"{summary.shortened}: a silo did not follow the protocol. They were shortened",
            )
        )
    return found


def _size(count: float) -> str:
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"


def _sum_share(summary: RecordsSummary) -> str | None:
    """The share of the secure sum in the time of a step, scoring left out."""
    whole = sum(seconds for name, seconds in _shown(summary) if name != "score")
    gradients = summary.stages.get("gradients", 0.0)
    return None if whole <= 0 else f"{(whole - gradients) / whole:.0%}"


def _two_silos(summary: RecordsSummary) -> str:
    """The ε of such a person, where it is known and bounded."""
    two = summary.epsilon_two_silos
    return (
        "no bound is stated" if two is None else f"an epsilon of {epsilon_text(two)} at the budget"
    )


def _limits(summary: RecordsSummary) -> list[str]:
    unit, c = summary.unit, summary.epsilon.colluders
    found = [
        f"Epsilon speaks of one {unit} of one silo. It hides no property of a silo as a whole.",
        f"A person with rows in two silos loses more: {_two_silos(summary)}.",
        f"At most {_silos(c)} may collude with the server; all others draw fair coins and add their noise.",
        "Tuning, stopping and restarting by looking at figures are not counted.",
        *summary.assumptions,
    ]
    if unit == "record":
        found.insert(
            1,
            "The run states that every row is another person; with several rows, a person loses more.",
        )
    return found
