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

_HEAD = "personal.head"  # name in a client's state; float32


@register("personalization")
class FedRep(Part, frozen=True, tag="fedrep"):
    """Some layers stay at each client, the others are averaged (Collins et al. 2021, Algorithm 1).

    In a round, a client first trains its head on top of the body that it was sent, and then the body under
    that head. It sends the change of the body.  There is no shared head, and so no shared model to score.

    Args:
        training: training of the head.
        head: patterns of the parameters that stay at the client, such as ("layers.1.*",).
        test_fraction: see `FineTune`.

    Raises:
        ConfigError: there is no pattern, or the fraction is outside (0, 1).

    Example:
        >>> import fedavg, torch
        >>> data = fedavg.Dataset(np.eye(2), np.array([0, 1]))
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.Quantised(4.0, 16), None, fedavg.InsecurePlain()
        >>> own = {"personalization": FedRep(LocalTraining(), head=("1.*",))}
        >>> plan = fedavg.Plan(*parts, LocalTraining(), fedavg.FedAvg(), **own)
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
        >>> fedavg.Federation(model, [data] * 3, plan).released.size  # 2·3 + 3; the other 8 never leave
        9
    """

    training: LocalTraining
    head: tuple[str, ...]
    test_fraction: float = 0.2

    @property
    def traits(self) -> frozenset[Trait]:
        """States that it keeps a head at each client from round to round."""
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
        )  # decoded plans have lists here

    @property
    def kind(self) -> str:
        """Name of the method in configurations."""
        return "fedrep"

    @property
    def in_rounds(self) -> bool:
        """True: the head is trained each time that the client takes part."""
        return True

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """See `Personalization.in_round`: the head is trained first, on top of the body that was sent."""
        head = client.trained_part(self.training, self.head, client.kept.get(_HEAD))
        # The body is trained under the client's own head, which the shared module then loses again.
        with client.standing(self.head, head):
            shared = share()
        return shared, {_HEAD: head.astype(np.float32)}

    def scored(self, client: PersonalClient) -> OwnFigures:
        """See `Personalization.scored`: only the head is trained, on top of the released body."""
        head = client.trained_part(self.training, self.head, client.kept.get(_HEAD))
        with client.standing(self.head, head):
            return OwnFigures(None, client.figure(client.sent), trained=True)
