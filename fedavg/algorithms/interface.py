"""The Protocol of what changes an update on its way into the sum: a stage with a client and a server half.

A plan lists its stages in order.  A client applies them to its update one after the other and encodes what
comes out; the server decodes the mean and undoes them in reverse order.  What a stage does to the length of
the vector, to a client's memory and to its training is said by the stage's members, and the plan derives
every number from them.  SCAFFOLD, error feedback and random-k are stages.
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
    """What a stage may know of a round.

    Args:
        round_index: counts from 0.
        num_rounds: length of the run.
        num_clients: size of the population.
        vector_length: d, parameters of the model.
        training: how clients train.
        keeps_residual: whether a stage of the plan keeps what was not sent, and sends it later.
        examples: how many the client holds; 0 at the server, which does not know.
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
        """float64[d] that is added to every gradient of the client's steps, or None."""
        ...

    def sent(self, update: Vector) -> Vector:
        """What the next stage, or the encoding, gets in place of `update`."""
        ...

    def arrived(self, sent: Vector) -> Vector:
        """What the server's half makes of `sent`, in the space of the update that came in."""
        ...

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """What the client keeps for later rounds, once its upload has left.

        Args:
            sent: what `sent` returned.
            arrived: what the server can decode of it, after rounding and clipping and without noise.
        """
        ...


class PlainHalf:
    """A client half that changes nothing: a stage overrides what it does.

    Example:
        >>> PlainHalf().sent(3), PlainHalf().keep(3, 3)
        (3, {})
    """

    @property
    def correction(self) -> Vector | None:
        """No correction."""
        return None

    def sent(self, update: Vector) -> Vector:
        """The update itself."""
        return update

    def arrived(self, sent: Vector) -> Vector:
        """What arrived, as it is."""
        return sent

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """Nothing."""
        del sent, arrived
        return {}


class UpdateStage(Protocol):
    """What changes an update, with a half at the client and a half at the server.

    The server's state is one float64 vector, or None for a stage that keeps none there.
    """

    kind: ClassVar[str]
    """Its name: of its state in checkpoints, and of what it broadcasts."""

    remembers: ClassVar[bool]
    """Whether a client keeps something from one round to the next."""

    corrects: ClassVar[bool]
    """Whether `ClientHalf.correction` is not None, so that the client's steps need this stage."""

    def sent_length(self, length: int, training: LocalTraining) -> int:
        """Length of what is sent for a vector of `length` coordinates."""
        ...

    def client(self, facts: RoundFacts, extra: bytes | None, kept: ClientState) -> ClientHalf:
        """The client's half of one round.

        Args:
            facts: of the round; `facts.examples` is the client's own.
            extra: what `broadcast` gave, as the server sent it; None when it sent nothing.
            kept: what `ClientHalf.keep` returned in the client's last round; {} before the first.

        Raises:
            LocalProtocolError: an `extra` that is missing, of another length or not finite.
        """
        ...

    def init(self, length: int) -> Vector | None:
        """The server's state before the first round, for a model of `length` parameters."""
        ...

    def broadcast(self, state: Vector | None) -> bytes | None:
        """What goes to the clients beside the model; it is bound into the digest of the round."""
        ...

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The server's half: what a decoded mean says of the stage's input, and the next state.

        Args:
            facts: of the round.
            mean: float64, the decoded sum divided by `divisor`; noisy under differential privacy.
            divisor: clients in the sum or their weights; under differential privacy the public expected
                number.
            state: the server's.
        """
        ...


def named_state(stage: UpdateStage, kept: ClientState) -> ClientState:
    """A stage's part of a client's state, under the stage's own names."""
    prefix = f"{stage.kind}."
    return {
        name.removeprefix(prefix): array for name, array in kept.items() if name.startswith(prefix)
    }
