"""Ditto: a personal model beside the shared one, drawn to it (Li et al. 2021)."""

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

_MODEL = "personal.model"  # float32[d], in a client's state


@register("personalization")
class Ditto(Part, frozen=True, tag="ditto"):
    """A personal model beside the shared one, drawn to it (Li et al. 2021, Algorithm 1).

    It begins as the first model that the client is sent, and is trained each time that the client takes part.
    The proximal term strength/2·‖v − w‖² is taken as its exact step, which is stable for every strength.

    Args:
        training: of the personal model.
        strength: λ ≥ 0; 0 trains alone, and the larger it is, the nearer the personal model stays.
        test_fraction: see `FineTune`.

    Raises:
        ConfigError: a strength that is negative or no number, a fraction outside (0, 1), or a training by a
            loop of its own, which no pull reaches.
    """

    training: LocalTraining
    strength: float = 0.1
    test_fraction: float = 0.2

    @property
    def traits(self) -> frozenset[Trait]:
        """It trains a model of the client's own beside the shared one."""
        return frozenset({Trait.OWN_MODEL})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.test_fraction)
        checks.config.at_least("personalization.strength", self.strength, 0)
        if self.strength and Trait.OWN_LOOP in traits_of(self.training):
            raise ConfigError(
                "Ditto draws the personal model to the shared one in each step, and a client loop of your "
                "own takes its steps itself: train the personal model without the loop, fine-tune after the "
                "last round, or train it alone (strength 0)"
            )

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "ditto"

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of what stays at the client: no part of the shared model."""
        return ()

    @property
    def in_rounds(self) -> bool:
        """Yes: the personal model is trained each time that the client takes part."""
        return True

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """See `Personalization.in_round`: the personal model is trained after the shared one."""
        shared = share()
        own = client.kept.get(_MODEL, client.sent)
        trained = client.trained(self.training, own, (client.sent, self.strength))
        return shared, {_MODEL: trained.astype(np.float32)}

    def scored(self, client: PersonalClient) -> OwnFigures:
        """See `Personalization.scored`: a client that was in no round has the released model."""
        own = client.kept.get(_MODEL, client.sent)
        shared = client.figure(client.sent)
        return OwnFigures(shared, client.figure(own), trained=_MODEL in client.kept)
