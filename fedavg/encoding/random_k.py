"""Random-k: each round all clients send the same few places of their updates, so that sums stay aligned.

The places follow from a public seed and the round's index (Konečný et al. 2016, §2.1, "random mask").
Places chosen by a client's own values (top-k) are refused by configurations: which of its parameters moved
most tells about its data, and places that differ from client to client do not add up under a sum.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from fedavg.encoding.broadcast import FORMATS
from fedavg.errors import PlanError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.plan.plan import Plan

__all__ = ["TOP_K_REFUSED", "RandomK", "check_traffic"]

TOP_K_REFUSED = (
    "top-k is refused: its indices tell which parameters a client's data moved most, outside of what the "
    "sum hides, and indices that differ by client do not add up; take 'random-k', whose places are public "
    "and the same for all, without noise with error_feedback = true"
)


@register("stage")
class RandomK(Part, frozen=True, tag="random-k"):
    """The same k = fraction·d places for all clients of a round.

    Args:
        fraction: share of the places that is sent each round, in (0, 1].
        seed: public seed of the places.

    Example:
        >>> chosen = RandomK(fraction=0.5, seed=1)
        >>> places = chosen.places(6, round_index=0)
        >>> places.size, np.array_equal(places, chosen.places(6, round_index=0))
        (3, True)
        >>> chosen.scatter(np.ones(3), 6, round_index=0, unbiased=True).tolist().count(2.0)
        3
    """

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.fraction) and 0 < self.fraction <= 1):
            raise PlanError(f"random-k: fraction must lie in (0, 1], not {self.fraction!r}")
        if self.seed < 0:
            raise PlanError(f"random-k: a seed counts from 0, not {self.seed!r}")

    def length(self, vector_length: int) -> int:
        """k: at least one place."""
        return max(1, round(self.fraction * vector_length))

    def places(self, vector_length: int, round_index: int) -> NDArray[np.int64]:
        """int64[k], ascending: a uniformly random subset of 0 … d − 1."""
        return _places(self.seed, round_index, vector_length, self.length(vector_length))

    def select(self, vector: NDArray[np.float64], round_index: int) -> NDArray[np.float64]:
        """float64[k]: the round's places of float64[d].  Run by the client."""
        return vector[self.places(vector.size, round_index)]

    def scatter(
        self,
        values: NDArray[np.float64],
        vector_length: int,
        round_index: int,
        *,
        unbiased: bool,
    ) -> NDArray[np.float64]:
        """float64[d] with the round's places filled and zeros elsewhere.  Run by the server.

        Args:
            values: float64[k].
            vector_length: d.
            round_index: counts from 0.
            unbiased: times d/k, which makes the mean over the choice of places right; with error
                feedback the places that wait are sent later, and nothing is scaled.
        """
        out = np.zeros(vector_length)
        out[self.places(vector_length, round_index)] = values
        return out * (vector_length / values.size) if unbiased else out


@functools.lru_cache(maxsize=4)  # the clients of one process ask for the same places
def _places(seed: int, round_index: int, vector_length: int, count: int) -> NDArray[np.int64]:
    public = np.random.default_rng((seed, round_index))  # noqa: TID251 - public seed
    chosen = np.sort(public.choice(vector_length, count, replace=False))
    chosen.flags.writeable = False
    return chosen


def check_traffic(plan: Plan) -> None:
    """Refuse a choice of places, a feedback or a download that does not go with the rest of a plan.

    Raises:
        PlanError: the reason.
    """
    if plan.download not in FORMATS:
        raise PlanError(f"a download is one of {', '.join(FORMATS)}, not {plan.download!r}")
    if plan.error_feedback and plan.noise is not None:
        raise PlanError(
            "under differential privacy error feedback gathers what clipping cuts off and sends stale "
            "directions in its place: measured, it costs accuracy (docs/algorithms.md); leave it out"
        )
    if plan.compression is not None and plan.secure_sum.kind.startswith("selective"):
        raise PlanError(
            "the map of a selective sum names parameters, and random-k sends other ones each round: "
            "send all, or encrypt everything"
        )
    if plan.scaffold and (plan.compression is not None or plan.error_feedback):
        raise PlanError(
            "SCAFFOLD reads each client's mean gradient off all of its newest update, which random-k and "
            "error feedback do not send: leave them out, or SCAFFOLD (few-bit encodings go with it)"
        )
