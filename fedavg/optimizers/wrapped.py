"""Server optimisers that wrap another one: a schedule of its learning rate, or an average of its models.

``Averaged(Scheduled(FedAdam(), Schedule("cosine")))`` takes steps at a falling rate and releases an average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from fedavg import checks
from fedavg.errors import LocalProtocolError
from fedavg.optimizers.schedule import CONSTANT, Schedule
from fedavg.optimizers.server import FedAvg, state_vector
from fedavg.parts import Part, check_registered, register
from fedavg.parts.tables import part_of_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.optimizers.server import Progress, ServerOptimizer, State

__all__ = ["Averaged", "Scheduled"]

_MEAN, _WEIGHT, _MODELS = "averaged.mean", "averaged.weight", "averaged.models"


class _Around(Part, frozen=True, tag=False):
    """The common part of both: the wrapped optimiser, of any registered kind."""

    of: Any = FedAvg()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.of, Mapping):  # from a configuration, or decoded from bytes
            table = dict(cast("Mapping[str, object]", self.of))
            what = f"the optimiser within {type(self).__name__}"
            inner = part_of_table("server_optimizer", table, what)
            msgspec.structs.force_setattr(self, "of", inner)
        check_registered(self.of)

    @property
    def _inner(self) -> ServerOptimizer:
        return cast("ServerOptimizer", self.of)


@register("server_optimizer")
class Scheduled(_Around, frozen=True, tag="scheduled"):
    """Another optimiser whose steps are multiplied by a schedule; its moments do not change.

    Args:
        of: an optimiser whose step is proportional to its learning rate, as for all in this package.
        schedule: schedule of the learning rate over the rounds.

    Raises:
        ConfigError: the mapping is no optimiser.

    Example:
        >>> from fedavg.optimizers.server import Progress
        >>> rule = Scheduled(FedAvg(), Schedule("cosine"))
        >>> rule.step(np.zeros(1), np.ones(1), rule.init(1), Progress(2, 4))[0]
        array([0.5])
    """

    schedule: Schedule = CONSTANT

    def init(self, size: int) -> State:
        """See `ServerOptimizer.init`."""
        return self._inner.init(size)

    def step(
        self,
        vector: NDArray[np.float64],
        delta: NDArray[np.float64],
        state: State,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], State]:
        """Take the wrapped optimiser's step, multiplied by the schedule's factor."""
        rate = self.schedule.at(progress.round_index, progress.num_rounds)
        moved, state = self._inner.step(vector, delta, state, progress)
        # The step is multiplied and not the rate, so that any wrapped optimiser can be scheduled.
        return moved if rate == 1.0 else vector + rate * (moved - vector), state

    def release(
        self, vector: NDArray[np.float64], state: State, progress: Progress
    ) -> tuple[NDArray[np.float64], State]:
        """See `ServerOptimizer.release`."""
        return self._inner.release(vector, state, progress)


@register("server_optimizer")
class Averaged(_Around, frozen=True, tag="averaged"):
    """Release an average of another optimiser's models instead of the last one.

    An average is post-processing: it costs no privacy, and it reduces the noise of single rounds.  It is
    Σ decay^(k−i)·wᵢ / Σ decay^(k−i) over the models of the run's tail.  Training continues from the last
    model.

    Args:
        of: the optimiser whose models are averaged.
        tail: share of the rounds, at the end, whose models are averaged, in (0, 1]; before the tail
            begins the last model is released.
        decay: 1 for equal weights; below 1, an exponential moving average.

    Raises:
        ConfigError: a value is out of range, or the mapping is no optimiser.

    Example:
        >>> from fedavg.optimizers.server import Progress
        >>> rule = Averaged(tail=1.0)
        >>> _, state = rule.release(np.array([2.0]), rule.init(1), Progress(0, 2))
        >>> rule.release(np.array([4.0]), state, Progress(1, 2))[0]
        array([3.])
    """

    tail: float = 0.5
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tail", "decay"):
            checks.config.positive_fraction(f"the averaging {name}", getattr(self, name))

    def init(self, size: int) -> State:
        """Return the state of the wrapped optimiser, and an average of no models."""
        return {**self._inner.init(size), _MEAN: np.zeros(size), _WEIGHT: 0.0, _MODELS: 0}

    def step(
        self,
        vector: NDArray[np.float64],
        delta: NDArray[np.float64],
        state: State,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], State]:
        """Take the wrapped optimiser's step; the average does not change."""
        # The wrapped optimiser must not see entries that it does not know.
        vector, inner = self._inner.step(vector, delta, _without(state), progress)
        return vector, {**inner, **_own(state)}

    def release(
        self, vector: NDArray[np.float64], state: State, progress: Progress
    ) -> tuple[NDArray[np.float64], State]:
        """Add the model of a round to the average, and release the average."""
        model, inner = self._inner.release(vector, _without(state), progress)
        mean = state_vector(state, _MEAN, model.size)
        left = progress.num_rounds - progress.round_index
        # Before the tail the average is of one model, so the last one is released.
        own: State = {_MEAN: model.copy(), _WEIGHT: 0.0}
        if left <= math.ceil(self.tail * progress.num_rounds):
            weight = self.decay * float(state[_WEIGHT]) + 1.0
            own = {_MEAN: mean + (model - mean) / weight, _WEIGHT: weight}
        released = {**inner, **own, _MODELS: int(state[_MODELS]) + 1}
        # Later rounds go on with the state, so the released model is a copy.
        return state_vector(own, _MEAN, model.size).copy(), released


def _own(state: State) -> State:
    """The average's own part of the state."""
    try:
        return {name: state[name] for name in (_MEAN, _WEIGHT, _MODELS)}
    except KeyError as error:
        raise LocalProtocolError(
            f"the server's state has no {error}: it belongs to another optimiser"
        ) from error


def _without(state: State) -> State:
    own = _own(state)
    return {name: value for name, value in state.items() if name not in own}
