"""The text that a run prints while it proceeds: a bar, and a line for every deviation from the plan."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fedavg.reports.epsilons import epsilon_text

if TYPE_CHECKING:
    from rich.console import Console

    from fedavg.protocol.result import RoundResult

__all__ = ["Failures", "bars", "status_of", "tell"]

_NAMED = 3  # largest number of failing clients in one round that are listed one by one


def bars(console: Console) -> Progress:
    """A bar for rounds, with a status."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def status_of(result: RoundResult) -> str:
    """A round in a few words."""
    parts: list[str] = []
    if result.headline is not None:
        parts.append(f"{result.headline.name} {result.headline.text(result.headline.value)}")
    if result.epsilon_release is not None:
        parts.append(f"epsilon {epsilon_text(result.epsilon_release)}")
    return "  ".join(parts)


def tell(result: RoundResult, console: Console) -> None:
    """Print the deviations of a round from the plan; many clients with one fault share a line."""
    number = result.round
    if len(result.failures) <= _NAMED:
        for client, reason in result.failures.items():
            _say(console, f"round {number}: client {client}: {reason}")
    else:
        first = min(result.failures)
        _say(
            console,
            f"round {number}: {len(result.failures):,} clients failed, such as client {first}: "
            f"{result.failures[first]}",
        )
    for reason in result.convicted.values():
        _say(console, f"round {number}: {reason}; it is not asked again")
    for reason in result.skipped_blocks:
        _say(console, f"round {number} left out {reason}")
    for reason in result.aborted:
        _say(console, f"round {number} was tried again: {reason}")
    if result.skipped is not None:
        gave = "gave no model" if result.epsilon_release is None else "released noise alone"
        _say(console, f"round {number} {gave}: {result.skipped}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class Failures:
    """Reasons why clients contributed nothing over a run; only a simulation knows them."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()

    def add(self, result: RoundResult) -> None:
        """Count the reasons of one round."""
        self._reasons.update(
            # Without the client's number, equal reasons of different clients are counted together.
            reason.replace(f"client {client}", "a client")
            for client, reason in result.failures.items()
        )
        if result.skipped is not None:
            self._skipped[result.skipped] += 1

    def why(self) -> str:
        """The reasons why a run learnt nothing, in one or two sentences."""
        told = "No client contributed an update in any round: the model is the one that the run began with."
        for reasons, words in ((self._reasons, "Most often"), (self._skipped, "No sum came about")):
            if reasons:
                return f"{told} {words}: {reasons.most_common(1)[0][0]}."
        return told
