"""Error feedback: a client keeps what its encoding and later stages left out, and adds it to its next update.

Seide et al. 2014; Karimireddy et al. 2019, Algorithm 1.  The residual is what the client meant to send less
what the server can decode of it.  It is for runs without noise: under differential privacy the residual would
gather what clipping cuts off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.algorithms.interface import PlainHalf
from fedavg.parts import Part, Trait, register

if TYPE_CHECKING:
    from fedavg.algorithms.interface import RoundFacts, Vector
    from fedavg.algorithms.state import ClientState
    from fedavg.optimizers.local import LocalTraining

__all__ = ["ErrorFeedback"]

_RESIDUAL = "residual"  # float32[d] of a client's state


class _Residual(PlainHalf):
    """One client's residual in one round."""

    def __init__(self, kept: ClientState) -> None:
        self._kept = kept

    def sent(self, update: Vector) -> Vector:
        """The update and what earlier rounds left out."""
        return update + self._kept[_RESIDUAL] if _RESIDUAL in self._kept else update

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """What was meant and did not arrive, float32[d]."""
        return {_RESIDUAL: (sent - arrived).astype(np.float32)}


@register("stage")
class ErrorFeedback(Part, frozen=True, tag="error-feedback"):
    """A client adds to its update what earlier rounds left out of theirs.

    It stands before the stages that leave something out, such as `RandomK`.

    Example:
        >>> ErrorFeedback().sent_length(10, None)
        10
    """

    kind: ClassVar[str] = "error-feedback"
    remembers: ClassVar[bool] = True
    corrects: ClassVar[bool] = False

    @property
    def traits(self) -> frozenset[Trait]:
        """It keeps a residual."""
        return frozenset({Trait.RESIDUAL})

    def sent_length(self, length: int, training: LocalTraining) -> int:
        """Unchanged."""
        del training
        return length

    def client(self, facts: RoundFacts, extra: bytes | None, kept: ClientState) -> _Residual:
        """See `UpdateStage.client`; nothing is broadcast."""
        del facts, extra
        return _Residual(kept)

    def init(self, length: int) -> None:
        """The server keeps nothing."""

    def broadcast(self, state: Vector | None) -> None:
        """Nothing is broadcast."""

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The mean as it is: what is missing comes in later rounds."""
        del facts, divisor
        return mean, state
