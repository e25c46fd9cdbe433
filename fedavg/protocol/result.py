"""The result of one round: figures that may be published, and figures for the server's operator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fedavg.metrics.interface import Baseline, Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NOTHING_LEARNT", "RoundResult", "figure_of_row", "figure_row", "result_of_row"]

NOTHING_LEARNT = "nothing-learnt"
"""How a run ended in which no client contributed an update in any round: its model is the initial one."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The result of one round.

    `accuracy`, `loss`, `figures`, `epsilon_release`, `clip` and `accuracy_as_sent` depend on released models.
    They may be published as far as the held-out rows may (`Figure.covered_by_epsilon`).  All other fields are
    for the server's operator only, since `epsilon_release` does not hold once cohort sizes are published.

    Args:
        round: number of the round, from 1.
        accuracy, loss: figures of the released model; None without an evaluation set.
        epsilon_release: epsilon so far, for an observer of the released models; None without DP.
        epsilon_server: epsilon so far, for the server; None when it sees more than noisy sums.
        cohort: number of clients drawn.
        survivors: number of clients in the sum.
        skipped: why the round has no sum, or None; the model stays, or, under DP, moves by noise alone.
        bytes_up, bytes_down: bytes of all messages of the round.
        seconds: wall time by stage.
        clip: clip norm of the round, when it adapts: computed from earlier releases alone.
        skipped_blocks: blocks without a sum, with the reason, when the model is cut into blocks.
        failures: clients that contributed nothing, with the reason: the refusal of their message, or, in a
            simulation, the cause of their drop-out; a real server would only see that they dropped out.
        accuracy_as_sent: accuracy of the released model in the broadcast's format, when that is not float32.
        figures: figures of the released model on the held-out rows, the headline first, each beside its
            baseline; () without an evaluation set.
        contributors: number of survivors whose training gave an update, which only a simulation knows: under
            noise a client that cannot train sends zeros.  None where it was not counted.
        convicted: clients that were shown to cheat in this round, with the reason; they are not asked again.
        aborted: why earlier attempts at this round failed; () for a round that was not tried again.

    Example:
        >>> bar = Baseline("majority class", 0.5)
        >>> figures = (Figure("accuracy", 0.75, bar, True, False), Figure("loss", 0.4, bar, False, False))
        >>> result = RoundResult(1, 0.75, 0.4, None, None, 10, 9, None, 700, 900, {}, figures=figures)
        >>> result.headline.value > result.headline.baseline.value, result.figure("loss").value
        (True, 0.4)
        >>> result.cohort - result.survivors  # clients that dropped out
        1
    """

    round: int
    accuracy: float | None
    loss: float | None
    epsilon_release: float | None
    epsilon_server: float | None
    cohort: int
    survivors: int
    skipped: str | None
    bytes_up: int
    bytes_down: int
    seconds: Mapping[str, float]
    clip: float | None = None
    skipped_blocks: Sequence[str] = ()
    failures: Mapping[int, str] = field(default_factory=dict[int, str])
    accuracy_as_sent: float | None = None
    aborted: Sequence[str] = ()
    convicted: Mapping[int, str] = field(default_factory=dict[int, str])
    figures: Sequence[Figure] = ()
    contributors: int | None = None

    @property
    def headline(self) -> Figure | None:
        """The figure that says most about the task; None without an evaluation set."""
        return self.figures[0] if self.figures else None

    def figure(self, name: str) -> Figure | None:
        """The figure of a metric; None where it was not asked for."""
        return next((figure for figure in self.figures if figure.name == name), None)


def figure_row(figure: Figure) -> dict[str, Any]:
    """A figure as a JSON object, for `result_of_row` and for logs."""
    return asdict(figure)


def result_of_row(row: Mapping[str, Any]) -> RoundResult:
    """Rebuild a result from the row that `dataclasses.asdict` and JSON made of it.

    JSON turns numbers of clients into strings, and tuples into lists.

    Args:
        row: fields by name.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or has another form.

    Example:
        >>> import json
        >>> bar = Baseline("majority class", 0.5)
        >>> figures = (Figure("accuracy", 0.75, bar, True, False),)
        >>> result = RoundResult(1, 0.75, 0.4, None, None, 3, 3, None, 9, 9, {}, figures=figures)
        >>> result_of_row(json.loads(json.dumps(asdict(result)))).headline == result.headline
        True
    """
    parts: dict[str, Any] = dict(row)
    for name in ("failures", "convicted"):
        # JSON turned the ids into strings.
        parts[name] = {int(client): str(why) for client, why in row.get(name, {}).items()}
    for name in ("skipped_blocks", "aborted"):
        parts[name] = tuple(row.get(name, ()))
    parts["figures"] = tuple(figure_of_row(figure) for figure in row.get("figures", ()))
    return RoundResult(**parts)


def figure_of_row(row: Mapping[str, Any]) -> Figure:
    """Rebuild a figure from the row that `figure_row` and JSON made of it.

    Raises:
        KeyError, TypeError: a field is missing or has another form.
    """
    parts: dict[str, Any] = dict(row)
    parts["baseline"] = Baseline(**row["baseline"])
    return Figure(**parts)
