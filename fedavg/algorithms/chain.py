"""The stages of a plan as one chain: applied in order at a client, undone in reverse at the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.algorithms.interface import named_state
from fedavg.errors import LocalProtocolError
from fedavg.parts.imports import blamed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.algorithms.interface import ClientHalf, RoundFacts, UpdateStage, Vector
    from fedavg.algorithms.state import ClientState
    from fedavg.optimizers.local import LocalTraining

__all__ = ["ClientChain", "ServerChain", "sent_length"]


def sent_length(stages: Sequence[UpdateStage], length: int, training: LocalTraining) -> int:
    """Length of the vector that all stages make of a vector of `length` coordinates."""
    for stage in stages:
        length = stage.sent_length(length, training)
    return length


def _of(stage: UpdateStage) -> AbstractContextManager[None]:
    """A context in which errors name the stage; a stage may be the user's own."""
    return blamed(lambda: f"the stage {stage.kind!r}")


class ClientChain:
    """All stages at one client in one round.

    Args:
        stages: stages of the plan, in order.
        facts: facts of the round and the client.
        extras: data that the server sent beside the model, by kind of stage.
        kept: state that the client kept from an earlier round.

    Raises:
        LocalProtocolError: the server sent data for a stage that the plan does not have, or data that a stage
            cannot read.
    """

    def __init__(
        self,
        stages: Sequence[UpdateStage],
        facts: RoundFacts,
        extras: Mapping[str, bytes],
        kept: ClientState,
    ) -> None:
        # Data that is silently ignored could mean that server and client train by different plans.
        unknown = extras.keys() - {stage.kind for stage in stages}
        if unknown:
            raise LocalProtocolError(
                f"the server sent data for {', '.join(sorted(unknown))}, which this client's plan does "
                "not have: server and client disagree about the plan"
            )
        self.facts = facts
        self._stages = stages
        self._halves: list[ClientHalf] = []
        for stage in stages:
            with _of(stage):
                half = stage.client(facts, extras.get(stage.kind), named_state(stage, kept))
            self._halves.append(half)
        self._sent: list[Vector] = []

    @property
    def remembers(self) -> bool:
        """Whether any stage keeps a state at the client."""
        return any(stage.remembers for stage in self._stages)

    @property
    def correction(self) -> Vector | None:
        """float64[d], the sum of all corrections; None when there is none."""
        total: Vector | None = None
        for stage, half in zip(self._stages, self._halves, strict=True):
            with _of(stage):
                one = half.correction
            if one is not None:
                total = one if total is None else total + one
        return total

    def sent(self, update: Vector) -> Vector:
        """The vector that is encoded."""
        self._sent = []
        for stage, half in zip(self._stages, self._halves, strict=True):
            with _of(stage):
                update = half.sent(update)
            self._sent.append(update)
        return update

    def keep(self, arrived: Vector) -> ClientState:
        """The state of all stages that the client keeps.

        Args:
            arrived: vector that the server can decode from the client's contribution.
        """
        kept: dict[str, NDArray[np.float32] | NDArray[np.float64]] = {}
        # Stages are undone from the last to the first, so each gets what arrived in its own space.
        for stage, half, sent in zip(
            reversed(self._stages), reversed(self._halves), reversed(self._sent), strict=True
        ):
            with _of(stage):
                own = half.keep(sent, arrived)
                kept |= {f"{stage.kind}.{name}": array for name, array in own.items()}
                arrived = half.arrived(arrived)
        return kept


class ServerChain:
    """All stages at the server, with their states.

    Args:
        stages: stages of the plan, in order.
        length: d, number of parameters of the model.
    """

    def __init__(self, stages: Sequence[UpdateStage], length: int) -> None:
        self._stages = stages
        self._states: dict[str, Vector | None] = {
            stage.kind: stage.init(length) for stage in stages
        }

    @property
    def arrays(self) -> dict[str, Vector]:
        """The states, for a checkpoint: float64 vectors by kind of stage."""
        return {kind: state for kind, state in self._states.items() if state is not None}

    def restore(self, arrays: Mapping[str, Vector]) -> None:
        """Continue with the states of a checkpoint."""
        self._states |= {kind: arrays[kind].copy() for kind in self.arrays}

    @property
    def extras(self) -> dict[str, bytes]:
        """The data for the clients beside the model, by kind of stage."""
        sent = {stage.kind: stage.broadcast(self._states[stage.kind]) for stage in self._stages}
        return {kind: data for kind, data in sent.items() if data is not None}

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float
    ) -> tuple[Vector, dict[str, Vector | None]]:
        """The mean update of the model, and the states to commit once the step is taken.

        Args:
            facts: facts of the round.
            mean: float64, the decoded mean.
            divisor: see `UpdateStage.received`.
        """
        # The states are only returned: if the server's step fails, they must not have changed.
        states: dict[str, Vector | None] = {}
        for stage in reversed(self._stages):
            with _of(stage):
                mean, states[stage.kind] = stage.received(
                    facts, mean, divisor, self._states[stage.kind]
                )
        return mean, states

    def commit(self, states: Mapping[str, Vector | None]) -> None:
        """Take over the states that `received` returned."""
        self._states |= states
