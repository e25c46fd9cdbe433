"""The ways of choosing a round's clients that a question about a budget may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dp import (
    Accountant,
    NoSampling,
    PoissonSampling,
    UnsupportedEventError,
)
from fedavg.errors import PlanError
from fedavg.privacy.noise import Sensitivity, Shares
from fedavg.privacy.sampling import FixedCohort, PoissonCohort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedavg.privacy.noise import Noise, Sampling
    from fedavg.privacy.sampling import Cohort

__all__ = ["WAYS", "Way", "check_covered"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of choosing a round's clients.

    Args:
        sampler: makes the sampler from the rate and the size of a cohort.
        scheme: makes the accountant's scheme from the rate, the size and the number of clients.
        size, words: templates of the cohort's size, and of what happens to a client in a round.
        everybody: whether all clients take part in every round.
    """

    sampler: Callable[[float, int], Cohort]
    scheme: Callable[[float, int, int], Sampling]
    size: str
    words: str
    everybody: bool = False


WAYS = {
    "poisson": Way(
        lambda rate, _size: PoissonCohort(rate),
        lambda rate, _size, _clients: PoissonSampling(rate),
        "about {size:,} a round",
        "each client joins a round by its own coin, with probability {rate:g}",
    ),
    "fixed": Way(
        lambda _rate, size: FixedCohort(size),
        lambda _rate, size, clients: FixedCohort(size).scheme(clients),
        "exactly {size:,} a round",
        "exactly {size:,} of {clients:,} clients join a round",
    ),
    "none": Way(
        lambda rate, _size: PoissonCohort(rate),
        lambda _rate, _size, _clients: NoSampling(),
        "all of them in every round",
        "every client joins every round",
        everybody=True,
    ),
}
"""By name, as `fedavg budget --sampling` takes them."""


def check_covered(
    noise: Noise, scheme: Sampling, sampling: str, others: Mapping[str, Noise]
) -> None:
    """Refuse a noise for which no theorem covers the sampling, on any grid.

    Args:
        noise: the noise.
        scheme: the accountant's scheme.
        sampling: the name of the sampling, for the message.
        others: all noises by name, of which the message states those that are covered.

    Raises:
        PlanError: no theorem covers the two.
    """

    def covered(one: Noise) -> bool:
        # Sizes do not matter for the question whether a theorem exists, so any will do.
        event = one.event(Sensitivity(1e6, 1e6, 1), Shares(1.0, 1), scheme)
        try:
            Accountant().check(event)
        except UnsupportedEventError:
            return False
        return True

    if not covered(noise):
        kinds = ", ".join(repr(name) for name, other in others.items() if covered(other))
        raise PlanError(
            f"no theorem bounds {noise.kind} noise with sampling {sampling!r}: choose the mechanism among "
            f"{kinds}, or sampling 'poisson' or 'none'"
        )
