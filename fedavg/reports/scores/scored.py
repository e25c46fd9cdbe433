"""The headline as text: its tile, its comparison, and whether epsilon covers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedavg.reports.reading.data import Summary

__all__ = ["covered", "tile", "unprotected"]

_NO_VALUE = "–"


def covered(summary: Summary) -> bool:
    """Whether the held-out rows are public, so that figures on them cost nothing beyond epsilon."""
    return bool(summary.figures) and all(found.covered_by_epsilon for found in summary.figures)


def unprotected(summary: Summary) -> float | None:
    """The headline of the same training without protection."""
    return summary.baseline_accuracy if summary.unprotected is None else summary.unprotected


def tile(summary: Summary, *, public: bool) -> tuple[str, str, str]:
    """The headline's name, its value, and its comparison.

    Args:
        summary: summary of the run.
        public: whether the page may be published.
    """
    if not summary.figures:
        value = _NO_VALUE if summary.accuracy is None else f"{summary.accuracy:.1%}"
        return "accuracy", value, _note(summary, public=public)
    first = summary.figures[0]
    name = first.name.replace("_", " ")
    mark = "" if not summary.private or first.covered_by_epsilon else " *"
    return (
        f"{name}{mark}",
        first.text(first.value),
        _note(summary, public=public),
    )


def _note(summary: Summary, *, public: bool) -> str:
    if not summary.figures and summary.accuracy is None:
        if summary.personalization is not None and summary.rounds:
            return "The classifying layers stayed at the clients, so there is no shared model to score."
        return "No round was scored."
    if summary.best_round is not None:
        when = f"On held-out examples, after round {summary.best_round}, the best one."
    else:
        when = "On held-out examples, after the last round."
    parts = [_trivial(summary) or when]
    if summary.figures and summary.figures[0].without:
        parts.append(summary.figures[0].without)
    if not public and unprotected(summary) is not None:
        parts.append(_cost(summary))
    return " ".join(parts)


def _trivial(summary: Summary) -> str:
    """The constant prediction beside the headline."""
    if not summary.figures or summary.figures[0].baseline.value is None:
        return ""
    first = summary.figures[0]
    bar = f"Always predicting the {first.baseline.rule} gives {first.text(first.baseline.value)}"
    if first.beats_baseline is False:
        return f"{bar}: the model is no better."
    return f"{bar}."


def _cost(summary: Summary) -> str:
    """The cost of protection: in points for shares, else in the headline's own unit."""
    without, first = unprotected(summary), next(iter(summary.figures), None)
    reached = summary.accuracy if first is None else first.value
    if without is None or reached is None:
        return ""
    better = first is None or first.greater_is_better
    gap = without - reached if better else reached - without
    if first is None or first.share:
        # A gap that rounds to nothing is said in words.
        cost = f"{100 * gap:.1f} points" if 100 * gap >= 0.05 else ""
        shown = f"{without:.1%}"
    else:
        cost = f"{gap:.3g}" if gap > 1e-9 + 0.005 * abs(without) else ""
        shown = first.text(without)
    verdict = f"protection costs {cost}" if cost else "protection costs nothing here"
    return f"{shown} without clipping, noise and masks: {verdict}."
