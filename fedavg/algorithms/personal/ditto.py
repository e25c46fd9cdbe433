"""Ditto: a personal model beside the shared one, pulled towards it (Li et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fedavg import checks
from fedavg.algorithms.personal.interface import OwnFigures, check_fraction
from fedavg.errors import ConfigError
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import Part, Trait, register, traits_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.algorithms.personal.interface import PersonalClient
    from fedavg.algorithms.state import ClientState

__all__ = ["Ditto"]

T = TypeVar("T")

_MODEL = "personal.model"  # name in a client's state; float32[d]


@register("personalization")
class Ditto(Part, frozen=True, tag="ditto"):
    """A personal model beside the shared one, pulled towards it (Li et al. 2021, Algorithm 1).

    It starts as the first model that the client is sent, and is trained each time that the client takes part.
    The proximal term strength/2·‖v − w‖² is applied as its exact step, which is stable for every strength.

    Args:
        training: training of the personal model.
        strength: λ ≥ 0. With 0 the personal model is independent; a larger λ keeps it nearer to the shared
            one.
        test_fraction: see `FineTune`.

    Raises:
        ConfigError: the strength is negative or no number, the fraction is outside (0, 1), or the training
            has a loop of the user's own, to which the proximal term cannot be added.

    Example:
        >>> import fedavg, torch
        >>> left = fedavg.Dataset(np.ones((20, 1)), np.zeros(20, dtype=int))
        >>> right = fedavg.Dataset(np.ones((20, 1)), np.ones(20, dtype=int))  # the opposite labels
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.Quantised(4.0, 16), None, fedavg.InsecurePlain()
        >>> own = {"personalization": Ditto(LocalTraining(epochs=20, lr=1.0))}
        >>> plan = fedavg.Plan(*parts, LocalTraining(), fedavg.FedAvg(), **own)
        >>> federation = fedavg.Federation(torch.nn.Linear(1, 2), [left, right], plan)
        >>> _ = list(federation.run(1))
        >>> [score.personal for score in federation.scores], sum(score.shared for score in federation.scores)
        ([1.0, 1.0], 1.0)
    """

    training: LocalTraining
    strength: float = 0.1
    test_fraction: float = 0.2

    @property
    def traits(self) -> frozenset[Trait]:
        """States that it trains a model of the client's own beside the shared one."""
        return frozenset({Trait.OWN_MODEL})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.test_fraction)
        checks.config.at_least("personalization.strength", self.strength, 0)
        # Without a pull the personal model takes plain steps, which a loop of the user's own can take too.
        if self.strength and Trait.OWN_LOOP in traits_of(self.training):
            raise ConfigError(
                "Ditto pulls the personal model towards the shared one in each step, but your own client "
                "loop takes its steps itself: train the personal model without the loop, fine-tune after "
                "the last round, or train it independently (strength 0)"
            )

    @property
    def kind(self) -> str:
        """Name of the method in configurations."""
        return "ditto"

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of the parameters that stay at the client: none of the shared model."""
        return ()

    @property
    def in_rounds(self) -> bool:
        """True: the personal model is trained each time that the client takes part."""
        return True

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """See `Personalization.in_round`: the personal model is trained after the shared one."""
        shared = share()
        own = client.kept.get(_MODEL, client.sent)
        # The pull is towards the model that was sent, as in Algorithm 1, and not towards the one just
        # trained.
        trained = client.trained(self.training, own, (client.sent, self.strength))
        return shared, {_MODEL: trained.astype(np.float32)}

    def scored(self, client: PersonalClient) -> OwnFigures:
        """See `Personalization.scored`: a client without any round has the released model."""
        own = client.kept.get(_MODEL, client.sent)
        shared = client.figure(client.sent)
        return OwnFigures(shared, client.figure(own), trained=_MODEL in client.kept)
