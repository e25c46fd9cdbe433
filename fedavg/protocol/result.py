"""What one round gave: figures that may be published, and figures for the server's operator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["RoundResult"]


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What one round gave.

    `accuracy`, `loss`, `epsilon_release`, `clip` and `accuracy_as_sent` may be published; all else is for the
    server's operator only, since published cohort sizes void `epsilon_release`.

    Args:
        round: counts from 1.
        accuracy, loss: of the released model; None without an evaluation set.
        epsilon_release: spent so far, for whoever sees the models; None without DP.
        epsilon_server: spent so far, for the server; None when it sees more than noisy sums.
        cohort: clients drawn.
        survivors: clients in the sum.
        skipped: why there is no new model this round, or None.
        bytes_up, bytes_down: all messages of the round.
        seconds: wall time by stage.
        clip: the round's clip norm, when it adapts: computed from earlier releases alone.
        skipped_blocks: of a model cut into blocks, those that kept their parameters, with the reason.
        failures: clients that gave nothing, with the reason: what the server refused of them, or, in a
            simulation, why they fell silent; a real server would only see the silence.
        accuracy_as_sent: of the released model in the format of the broadcast, when that is no float32.
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
