"""The interface of a personalisation, and the operations that a client offers to it.

Personal parameters are trained and kept at the client and are never part of what it sends.  They therefore
cost no privacy, and no budget counts them.
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
    """Raise ConfigError unless the share of examples for scoring is in (0, 1)."""
    checks.config.proper_fraction("personalization.test_fraction", fraction)


class PersonalClient(Protocol):
    """One client at one time, as its personalisation sees it."""

    @property
    def sent(self) -> NDArray[np.floating]:
        """[d]: the parameters that the server sent, or released."""
        ...

    @property
    def kept(self) -> ClientState:
        """The state that this client kept from the last round that it took part in; {} at first."""
        ...

    def trained(
        self,
        training: LocalTraining,
        start: NDArray[np.floating],
        towards: tuple[NDArray[np.floating], float] | None = None,
    ) -> NDArray[np.float64]:
        """Train the model on the client's own examples.

        Args:
            training: how to train.
            start: [d], initial parameters.
            towards: [d] and a strength λ, for a proximal term λ/2·‖v − w‖²; None for none.

        Returns:
            float64[d], the trained parameters.
        """
        ...

    def trained_part(
        self, training: LocalTraining, names: Sequence[str], start: NDArray[np.floating] | None
    ) -> NDArray[np.float64]:
        """Train some parameters that are never sent; the others have the values that the server sent.

        Args:
            training: how to train.
            names: patterns of the parameters to train.
            start: their initial values, as a vector; None for the values that the module was built with.

        Returns:
            float64, the vector of their trained values.
        """
        ...

    def standing(
        self, names: Sequence[str], vector: NDArray[np.floating]
    ) -> AbstractContextManager[None]:
        """Temporarily load these values into the matching parameters of the module."""
        ...

    def figure(self, vector: NDArray[np.floating]) -> Figure:
        """The headline figure of parameters [d] on the held-out examples; clients are compared by it."""
        ...


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """Figures of a client's own model and of the released one.

    Args:
        shared: figure of the released model; None where there is no such model.
        own: figure of the client's own model.
        trained: whether that model was trained by the client; false if it never took part in a round.
    """

    shared: Figure | None
    own: Figure
    trained: bool


class Personalization(Protocol):
    """Gives each client a model of its own.

    Example:
        >>> from fedavg import Ditto, FedRep, FineTune, LocalTraining
        >>> def stays(method: Personalization) -> tuple[bool, tuple[str, ...]]:
        ...     return method.in_rounds, method.head
        >>> training = LocalTraining(lr=0.1)
        >>> stays(FineTune(training)), stays(Ditto(training)), stays(FedRep(training, head=("2.*",)))
        ((False, ()), (True, ()), (True, ('2.*',)))
    """

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
        """Share of its own examples that a client never trains on and is scored on."""
        ...

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of the parameters that stay at the clients and are not part of the shared vector."""
        ...

    @property
    def in_rounds(self) -> bool:
        """Whether a client trains personal parameters in rounds, and not only after the last one."""
        ...

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """Train the personal parameters, before or after the shared ones.

        Args:
            client: the client in this round.
            share: trains the shared model and prepares the message; call it once.

        Returns:
            The result of `share`, and the state that the client keeps if its update arrives.
        """
        ...

    def scored(self, client: PersonalClient) -> OwnFigures:
        """Score both models after the last round."""
        ...
