"""Random-k: each round all clients send the same few places of their updates, so that sums stay aligned.

The places follow from a public seed and the round's index (Konečný et al. 2016, §2.1, "random mask").
Places chosen by a client's own values (top-k) are refused by configurations: which of its parameters moved
most tells about its data, and places that differ from client to client do not add up under a sum.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg import checks
from fedavg.algorithms.interface import PlainHalf
from fedavg.parts import Part, Trait, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.algorithms.interface import RoundFacts, Vector
    from fedavg.algorithms.state import ClientState
    from fedavg.optimizers.local import LocalTraining

__all__ = ["TOP_K_REFUSED", "RandomK"]

TOP_K_REFUSED = (
    "top-k is refused: its indices tell which parameters a client's data moved most, outside of what the "
    "sum hides, and indices that differ by client do not add up; take 'random-k', whose places are public "
    "and the same for all, without noise with error_feedback = true"
)


class _Places(PlainHalf):
    """One client's choice of places in one round: that of all clients."""

    def __init__(self, rule: RandomK, facts: RoundFacts) -> None:
        self._rule, self._facts = rule, facts
        self._length = facts.vector_length

    def sent(self, update: Vector) -> Vector:
        """float64[k]: the round's places."""
        self._length = update.size
        return self._rule.select(update, self._facts.round_index)

    def arrived(self, sent: Vector) -> Vector:
        """float64[d]: zero where nothing was sent."""
        return self._rule.scatter(sent, self._length, self._facts.round_index, unbiased=False)


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

    kind: ClassVar[str] = "random-k"
    remembers: ClassVar[bool] = False
    corrects: ClassVar[bool] = False

    @property
    def traits(self) -> frozenset[Trait]:
        """It sends a part of the vector."""
        return frozenset({Trait.PARTIAL_VECTOR})

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.positive_fraction("random-k: fraction", self.fraction)
        checks.plan.whole("random-k: seed", self.seed, 0)

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

    def sent_length(self, length: int, training: LocalTraining) -> int:
        """k: see `length`."""
        del training
        return self.length(length)

    def client(self, facts: RoundFacts, extra: bytes | None, kept: ClientState) -> _Places:
        """See `UpdateStage.client`; nothing is broadcast and nothing kept."""
        del extra, kept
        return _Places(self, facts)

    def init(self, length: int) -> None:
        """The server keeps nothing: the places follow from the seed."""

    def broadcast(self, state: Vector | None) -> None:
        """Nothing is broadcast."""

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The places filled, and scaled by d/k unless a residual will bring the others later."""
        del divisor
        unbiased = not facts.keeps_residual
        return self.scatter(mean, facts.vector_length, facts.round_index, unbiased=unbiased), state


@functools.lru_cache(maxsize=4)  # the clients of one process ask for the same places
def _places(seed: int, round_index: int, vector_length: int, count: int) -> NDArray[np.int64]:
    public = np.random.default_rng((seed, round_index))  # noqa: TID251 - public seed
    chosen = np.sort(public.choice(vector_length, count, replace=False))
    chosen.flags.writeable = False
    return chosen
