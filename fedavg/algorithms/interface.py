"""The interface of an update stage: a step with a client half and a server half, applied before the sum.

A plan lists its stages in order.  A client applies them to its update one after the other and encodes the
result.  The server decodes the mean and undoes the stages in reverse order.  The members of a stage state how
it changes the length of the vector, the client's state and the client's training, and the plan derives its
numbers from them.  SCAFFOLD, error feedback and random-k are stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.algorithms.state import ClientState
    from fedavg.optimizers.local import LocalTraining

    Vector: TypeAlias = NDArray[np.float64]

__all__ = ["ClientHalf", "PlainHalf", "RoundFacts", "UpdateStage", "named_state"]


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """The facts of a round that a stage may know.

    Args:
        round_index: index of the round, from 0.
        num_rounds: number of rounds in the run.
        num_clients: size of the population.
        vector_length: d, number of parameters of the model.
        training: training at the clients.
        keeps_residual: whether a stage of the plan keeps what was not sent, and sends it later.
        examples: number of the client's examples; 0 at the server, which does not know it.
    """

    round_index: int
    num_rounds: int
    num_clients: int
    vector_length: int
    training: LocalTraining
    keeps_residual: bool = False
    examples: int = 0


class ClientHalf(Protocol):
    """A stage at one client in one round."""

    @property
    def correction(self) -> Vector | None:
        """float64[d] to add to the gradient of each of the client's steps, or None."""
        ...

    def sent(self, update: Vector) -> Vector:
        """The vector for the next stage, or for the encoding, in place of `update`."""
        ...

    def arrived(self, sent: Vector) -> Vector:
        """The vector that the server's half makes of `sent`, in the space of the stage's input."""
        ...

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """The state that the client keeps for later rounds, once its upload was sent.

        Args:
            sent: vector that `sent` returned.
            arrived: vector that the server can decode, after rounding and clipping and without noise.
        """
        ...


class PlainHalf:
    """A client half that changes nothing; a stage overrides the methods that it needs.

    Example:
        >>> PlainHalf().sent(3), PlainHalf().keep(3, 3)
        (3, {})
    """

    @property
    def correction(self) -> Vector | None:
        """None: no correction."""
        return None

    def sent(self, update: Vector) -> Vector:
        """The update itself."""
        return update

    def arrived(self, sent: Vector) -> Vector:
        """The vector that was sent, unchanged."""
        return sent

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """An empty state."""
        del sent, arrived
        return {}


class UpdateStage(Protocol):
    """A change to updates, with one half at the client and one at the server.

    The server's state is one float64 vector, or None for a stage that keeps none there.

    Example:
        >>> import numpy as np
        >>> from fedavg import LocalTraining, RandomK
        >>> def roundtrip(stage: UpdateStage, update: Vector) -> tuple[int, float]:
        ...     facts = RoundFacts(0, 5, 20, update.size, LocalTraining())
        ...     sent = stage.client(facts, None, {}).sent(update)
        ...     return sent.size, float(stage.received(facts, sent, 1.0, None)[0].sum())
        >>> roundtrip(RandomK(0.25), np.ones(8))  # a quarter is sent, and enlarged fourfold
        (2, 8.0)
    """

    kind: ClassVar[str]
    """Name of the stage's state in checkpoints, and of its broadcast data."""

    remembers: ClassVar[bool]
    """Whether a client keeps a state from one round to the next."""

    corrects: ClassVar[bool]
    """Whether `ClientHalf.correction` is not None, so that the client's steps need this stage."""

    def sent_length(self, length: int, training: LocalTraining) -> int:
        """Length of the vector that is sent for a vector of `length` coordinates."""
        ...

    def client(self, facts: RoundFacts, extra: bytes | None, kept: ClientState) -> ClientHalf:
        """The client's half of one round.

        Args:
            facts: facts of the round; `facts.examples` is the client's own number.
            extra: data from `broadcast`, as the server sent it; None when it sent none.
            kept: state that `ClientHalf.keep` returned in the client's last round; {} before the first.

        Raises:
            LocalProtocolError: `extra` is missing, has another length, or is not finite.
        """
        ...

    def init(self, length: int) -> Vector | None:
        """The server's state before the first round, for a model of `length` parameters."""
        ...

    def broadcast(self, state: Vector | None) -> bytes | None:
        """The data for clients beside the model; the digest of the round covers it."""
        ...

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The server's half: the mean of the stage's inputs from the decoded mean, and the next state.

        Args:
            facts: facts of the round.
            mean: float64, the decoded sum divided by `divisor`; noisy under differential privacy.
            divisor: number of clients in the sum, or their weights; under differential privacy the public
                expected number.
            state: the server's state.
        """
        ...


def named_state(stage: UpdateStage, kept: ClientState) -> ClientState:
    """A stage's part of a client's state, under the stage's own names."""
    prefix = f"{stage.kind}."
    return {
        name.removeprefix(prefix): array for name, array in kept.items() if name.startswith(prefix)
    }
