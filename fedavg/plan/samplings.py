"""The ways of choosing a round's clients that a question about a budget may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dp import FixedSizeSampling, NoSampling, PoissonSampling
from fedavg.privacy.sampling import FixedCohort, PoissonCohort

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.privacy.noise import Sampling
    from fedavg.privacy.sampling import Cohort

__all__ = ["WAYS", "Way"]


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
        lambda _rate, size, clients: FixedSizeSampling(size, clients),
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
