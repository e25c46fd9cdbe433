"""What one round gave: figures that may be published, and figures for the server's operator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fedavg.metrics.interface import Baseline, Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NOTHING_LEARNT", "RoundResult", "figure_of_row", "figure_row", "result_of_row"]

NOTHING_LEARNT = "nothing-learnt"
"""How a run ended to which no client contributed an update in any round: its model is the initial one."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What one round gave.

    `accuracy`, `loss`, `figures`, `epsilon_release`, `clip` and `accuracy_as_sent` are of released models:
    they may be published as far as the held-out rows may (`Figure.covered_by_epsilon`).  All else is for the
    server's operator only, since published cohort sizes void `epsilon_release`.

    Args:
        round: counts from 1.
        accuracy, loss: of the released model; None without an evaluation set.
        epsilon_release: spent so far, for an observer of the released models; None without DP.
        epsilon_server: spent so far, for the server; None when it sees more than noisy sums.
        cohort: clients drawn.
        survivors: clients in the sum.
        skipped: why the round has no sum, or None; the model stays, or, under DP, moves by noise alone.
        bytes_up, bytes_down: all messages of the round.
        seconds: wall time by stage.
        clip: the round's clip norm, when it adapts: computed from earlier releases alone.
        skipped_blocks: of a model cut into blocks, those without a sum, with the reason.
        failures: clients that gave nothing, with the reason: what the server refused of them, or, in a
            simulation, why they fell silent; a real server would only see the silence.
        accuracy_as_sent: of the released model in the format of the broadcast, when that is no float32.
        figures: of the released model on the held-out rows, the headline first, each beside its baseline; ()
            without an evaluation set.
        contributors: survivors whose training gave an update, which only a simulation knows: under noise a
            client that cannot train sends zeros.  None where nobody looked.
        convicted: clients that were shown to cheat in this round, with the reason; they are asked no more.
        aborted: why earlier attempts at this round gave no sum; one that was not tried again has none.
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


def figure_row(figure: Figure) -> dict[str, Any]:
    """A figure as JSON has it, for `result_of_row` and for logs."""
    return asdict(figure)


def result_of_row(row: Mapping[str, Any]) -> RoundResult:
    """A result again, from what `dataclasses.asdict` and JSON made of it.

    JSON makes words of the clients' numbers and lists of tuples.

    Args:
        row: fields by name.

    Raises:
        KeyError, TypeError, ValueError: fields of another form.

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
        parts[name] = {int(client): str(why) for client, why in row.get(name, {}).items()}
    for name in ("skipped_blocks", "aborted"):
        parts[name] = tuple(row.get(name, ()))
    parts["figures"] = tuple(figure_of_row(figure) for figure in row.get("figures", ()))
    return RoundResult(**parts)


def figure_of_row(row: Mapping[str, Any]) -> Figure:
    """A figure again, from what `figure_row` and JSON made of it.

    Raises:
        KeyError, TypeError: fields of another form.
    """
    parts: dict[str, Any] = dict(row)
    parts["baseline"] = Baseline(**row["baseline"])
    return Figure(**parts)
