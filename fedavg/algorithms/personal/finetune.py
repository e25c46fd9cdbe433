"""Fine-tuning: after the last round, each client trains the released model further."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fedavg.algorithms.personal.interface import OwnFigures, check_fraction
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.algorithms.personal.interface import PersonalClient
    from fedavg.algorithms.state import ClientState

__all__ = ["FineTune"]

T = TypeVar("T")


@register("personalization")
class FineTune(Part, frozen=True, tag="finetune"):
    """After the last round, each client trains the released model on its own examples.

    Args:
        training: training of each client's model.
        test_fraction: share of the client's own examples that it never trains on and is scored on.

    Raises:
        ConfigError: the fraction is outside (0, 1).

    Example:
        >>> import fedavg, numpy, torch
        >>> left = fedavg.Dataset(numpy.ones((20, 1)), numpy.zeros(20, dtype=int))
        >>> right = fedavg.Dataset(numpy.ones((20, 1)), numpy.ones(20, dtype=int))  # the opposite labels
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.Quantised(4.0, 16), None, fedavg.InsecurePlain()
        >>> own = {"personalization": FineTune(LocalTraining(epochs=20, lr=1.0))}
        >>> plan = fedavg.Plan(*parts, LocalTraining(), fedavg.FedAvg(), **own)
        >>> federation = fedavg.Federation(torch.nn.Linear(1, 2), [left, right], plan)
        >>> _ = list(federation.run(1))
        >>> [score.personal for score in federation.scores]  # no shared model is right for both
        [1.0, 1.0]
    """

    training: LocalTraining
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.test_fraction)

    @property
    def kind(self) -> str:
        """Name of the method in configurations."""
        return "finetune"

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of the parameters that stay at the client: none."""
        return ()

    @property
    def in_rounds(self) -> bool:
        """False: rounds train only the shared model."""
        return False

    def in_round(self, client: PersonalClient, share: Callable[[], T]) -> tuple[T, ClientState]:
        """See `Personalization.in_round`: only the shared model is trained."""
        del client
        return share(), {}

    def scored(self, client: PersonalClient) -> OwnFigures:
        """See `Personalization.scored`: the released model is trained further first."""
        shared = client.figure(client.sent)
        own = client.figure(client.trained(self.training, client.sent))
        return OwnFigures(shared, own, trained=True)
