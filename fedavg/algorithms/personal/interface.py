"""What a plan needs of a personalisation, and what a client offers to it.

What is personal is trained at the client, kept by the client, and never part of what it sends; so it costs
no privacy, and no budget counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from fedavg import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.algorithms.state import ClientState
    from fedavg.metrics.interface import Figure
    from fedavg.optimizers.local import LocalTraining

__all__ = ["OwnFigures", "PersonalClient", "Personalization", "check_fraction"]

T = TypeVar("T")


def check_fraction(fraction: float) -> None:
    """Raise ConfigError unless a share of examples to score on lies in (0, 1)."""
    checks.config.proper_fraction("personalization.test_fraction", fraction)


class PersonalClient(Protocol):
    """One client at one time, as its personalisation sees it."""

    @property
    def sent(self) -> NDArray[np.floating]:
        """[d]: the parameters that the server sent, or released."""
        ...

    @property
    def kept(self) -> ClientState:
        """What this client kept from the last round that it took part in; {} at first."""
        ...

    def trained(
        self,
        training: LocalTraining,
        start: NDArray[np.floating],
        towards: tuple[NDArray[np.floating], float] | None = None,
    ) -> NDArray[np.float64]:
        """Train the model on the client's own examples.

        Args:
            training: how.
            start: [d], parameters to begin with.
            towards: [d] and a strength λ: a proximal term λ/2·‖v − w‖².

        Returns:
            float64[d], the parameters afterwards.
        """
        ...

    def trained_part(
        self, training: LocalTraining, names: Sequence[str], start: NDArray[np.floating] | None
    ) -> NDArray[np.float64]:
        """Train some parameters that are never sent, under the others as the server sent them.

        Args:
            training: how.
            names: patterns of the parameters.
            start: of their vector; None for the values that the module was built with.

        Returns:
            float64, their vector afterwards.
        """
        ...

    def standing(
        self, names: Sequence[str], vector: NDArray[np.floating]
    ) -> AbstractContextManager[None]:
        """Let the module hold these values in the parameters that match; afterwards it is as it was."""
        ...

    def figure(self, vector: NDArray[np.floating]) -> Figure:
        """The figure by which clients are compared, of parameters [d], on the held-out examples."""
        ...


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """How a client's own model does, beside the released one.

    Args:
        shared: of the released model; None where there is no such model.
        own: of its own model.
        trained: whether that model is its own: not where the client never took part in a round.
    """

    shared: Figure | None
    own: Figure
    trained: bool


class Personalization(Protocol):
    """Gives each client a model of its own."""

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        ...

    @property
    def training(self) -> LocalTraining:
        """How the personal parameters are trained."""
        ...

    @property
    def test_fraction(self) -> float:
        """Share of its own examples that a client never trains on, and is scored on."""
        ...

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of the parameters that stay at the clients and are no part of the shared vector."""
        ...

    @property
    def in_rounds(self) -> bool:
        """Whether a client does something for its own model in a round, and not only after the last one."""
        ...

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """Train what is personal, before or after what is shared.

        Args:
            client: the client in this round.
            share: trains the shared model and prepares what is sent; call it once.

        Returns:
            What `share` returned, and what the client keeps if its update arrives.
        """
        ...

    def scored(self, client: PersonalClient) -> OwnFigures:
        """Score both models after the last round."""
        ...
