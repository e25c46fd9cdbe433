"""Error feedback: a client keeps what encoding and later stages left out, and adds it to its next update.

See Seide et al. 2014 and Karimireddy et al. 2019, Algorithm 1.  The residual is the vector that the client
meant to send minus the vector that the server can decode.  Error feedback is for runs without noise: under
differential privacy the residual would collect what clipping cuts off.
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

_RESIDUAL = "residual"  # name in a client's state; float32[d]


class _Residual(PlainHalf):
    """One client's residual in one round."""

    def __init__(self, kept: ClientState) -> None:
        self._kept = kept

    def sent(self, update: Vector) -> Vector:
        """The update plus the residual of earlier rounds."""
        return update + self._kept[_RESIDUAL] if _RESIDUAL in self._kept else update

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """The difference between the vector that was meant and the one that arrived, float32[d]."""
        # Single precision halves what each client keeps.
        return {_RESIDUAL: (sent - arrived).astype(np.float32)}


@register("stage")
class ErrorFeedback(Part, frozen=True, tag="error-feedback"):
    """A client adds to its update what was left out of its earlier updates.

    Place it before the stages that leave something out, such as `RandomK`.

    Example:
        >>> ErrorFeedback().sent_length(10, None)
        10
    """

    kind: ClassVar[str] = "error-feedback"
    remembers: ClassVar[bool] = True
    corrects: ClassVar[bool] = False

    @property
    def traits(self) -> frozenset[Trait]:
        """States that each client keeps a residual."""
        return frozenset({Trait.RESIDUAL})

    def sent_length(self, length: int, training: LocalTraining) -> int:
        """The length itself."""
        del training
        return length

    def client(self, facts: RoundFacts, extra: bytes | None, kept: ClientState) -> _Residual:
        """See `UpdateStage.client`; nothing is broadcast."""
        del facts, extra
        return _Residual(kept)

    def init(self, length: int) -> None:
        """None: the server keeps no state."""

    def broadcast(self, state: Vector | None) -> None:
        """None: nothing is broadcast."""

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The mean itself; the missing part arrives in later rounds."""
        del facts, divisor
        return mean, state
