"""Random-k: in each round all clients send the same few coordinates of their updates, so that sums align.

The coordinates follow from a public seed and the index of the round (Konečný et al. 2016, §2.1, "random
mask"). Configurations refuse coordinates chosen by a client's own values (top-k), for two reasons: the choice
reveals which parameters the client's data changed most, and choices that differ between clients do not add
up.
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
    "top-k is refused: its indices reveal which parameters a client's data changed most, outside of what the "
    "sum hides, and indices that differ by client do not add up; use 'random-k', whose indices are public "
    "and the same for all clients, without noise together with error_feedback = true"
)


class _Places(PlainHalf):
    """One client's choice of coordinates in one round, which is the same for all clients."""

    def __init__(self, rule: RandomK, facts: RoundFacts) -> None:
        self._rule, self._facts = rule, facts
        self._length = facts.vector_length

    def sent(self, update: Vector) -> Vector:
        """float64[k]: the update at the round's coordinates."""
        self._length = update.size
        return self._rule.select(update, self._facts.round_index)

    def arrived(self, sent: Vector) -> Vector:
        """float64[d]: zero at coordinates that were not sent."""
        return self._rule.scatter(sent, self._length, self._facts.round_index, unbiased=False)


@register("stage")
class RandomK(Part, frozen=True, tag="random-k"):
    """The same k = fraction·d coordinates for all clients of a round.

    Args:
        fraction: share of the coordinates that is sent each round, in (0, 1].
        seed: public seed of the choice.

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
        """States that only a part of the vector is sent."""
        return frozenset({Trait.PARTIAL_VECTOR})

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.positive_fraction("random-k: fraction", self.fraction)
        checks.plan.whole("random-k: seed", self.seed, 0)

    def length(self, vector_length: int) -> int:
        """k, which is at least 1."""
        return max(1, round(self.fraction * vector_length))

    def places(self, vector_length: int, round_index: int) -> NDArray[np.int64]:
        """int64[k], ascending: a uniformly random subset of 0 … d − 1."""
        return _places(self.seed, round_index, vector_length, self.length(vector_length))

    def select(self, vector: NDArray[np.float64], round_index: int) -> NDArray[np.float64]:
        """float64[k]: the round's coordinates of a float64[d].  Run by the client."""
        return vector[self.places(vector.size, round_index)]

    def scatter(
        self,
        values: NDArray[np.float64],
        vector_length: int,
        round_index: int,
        *,
        unbiased: bool,
    ) -> NDArray[np.float64]:
        """float64[d] with the round's coordinates filled and zeros elsewhere.  Run by the server.

        Args:
            values: float64[k].
            vector_length: d.
            round_index: index of the round, from 0.
            unbiased: whether to multiply by d/k, so that the mean over random choices is correct. With error
                feedback the other coordinates are sent later, and nothing is scaled.
        """
        out = np.zeros(vector_length)
        out[self.places(vector_length, round_index)] = values
        # Each coordinate is sent with probability k/d, so the factor makes the mean correct.
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
        """None: the server keeps no state, since the coordinates follow from the seed."""

    def broadcast(self, state: Vector | None) -> None:
        """None: nothing is broadcast."""

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The filled vector, scaled by d/k unless error feedback sends the other coordinates later."""
        del divisor
        unbiased = not facts.keeps_residual
        return self.scatter(mean, facts.vector_length, facts.round_index, unbiased=unbiased), state


@functools.lru_cache(maxsize=4)  # the clients of one process use the same coordinates
def _places(seed: int, round_index: int, vector_length: int, count: int) -> NDArray[np.int64]:
    public = np.random.default_rng((seed, round_index))  # noqa: TID251 - public seed
    chosen = np.sort(public.choice(vector_length, count, replace=False))
    chosen.flags.writeable = False
    return chosen
