"""FedRep: some layers stay at each client, the others are averaged (Collins et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from fedavg.algorithms.personal.interface import OwnFigures, check_fraction
from fedavg.errors import ConfigError
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import Part, Trait, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.algorithms.personal.interface import PersonalClient
    from fedavg.algorithms.state import ClientState

__all__ = ["FedRep"]

T = TypeVar("T")

_HEAD = "personal.head"  # float32, in a client's state


@register("personalization")
class FedRep(Part, frozen=True, tag="fedrep"):
    """Some layers stay at each client, the others are averaged (Collins et al. 2021, Algorithm 1).

    In a round, a client trains its head under the body that it was sent, then the body under that head, and
    sends the change of the body.  There is no shared head, and so no shared model to score.

    Args:
        training: of the head.
        head: patterns of the parameters that stay, such as ("layers.1.*",).
        test_fraction: see `FineTune`.

    Raises:
        ConfigError: no pattern, or a fraction outside (0, 1).
    """

    training: LocalTraining
    head: tuple[str, ...]
    test_fraction: float = 0.2

    @property
    def traits(self) -> frozenset[Trait]:
        """It keeps a head at each client from round to round."""
        return frozenset({Trait.OWN_MODEL, Trait.REMEMBERS_ROUNDS})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.test_fraction)
        if isinstance(self.head, str) or not self.head:
            raise ConfigError(
                "personalization.head must list patterns of the parameters that stay at the clients, "
                "such as ['layers.1.*']"
            )
        msgspec.structs.force_setattr(
            self, "head", tuple(self.head)
        )  # plans come back from bytes with lists

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "fedrep"

    @property
    def in_rounds(self) -> bool:
        """Yes: the head is trained each time that the client takes part."""
        return True

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """See `Personalization.in_round`: first the head is trained, under the body."""
        head = client.trained_part(self.training, self.head, client.kept.get(_HEAD))
        with client.standing(self.head, head):
            shared = share()
        return shared, {_HEAD: head.astype(np.float32)}

    def scored(self, client: PersonalClient) -> OwnFigures:
        """See `Personalization.scored`: the head is trained under the released body, alone."""
        head = client.trained_part(self.training, self.head, client.kept.get(_HEAD))
        with client.standing(self.head, head):
            return OwnFigures(None, client.figure(client.sent), trained=True)
