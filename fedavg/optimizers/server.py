"""What the server does with the mean update: plain addition, momentum, or an adaptive step.

Pure functions over float64 vectors: the configuration is frozen, the state is passed in and returned.
A state is a dict of arrays and numbers, so that a checkpoint can hold it as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg import checks
from fedavg.errors import LocalProtocolError, NonFiniteError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from numpy.typing import NDArray

    State: TypeAlias = Mapping[str, NDArray[np.float64] | float | int]

__all__ = [
    "AveragedIterates",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedMomentum",
    "FedYogi",
    "ServerOptimizer",
]


class ServerOptimizer(Protocol):
    """A rule from mean updates to models, whose step is in proportion to its learning rate.

    `Plan.server_schedule` shortens the step, and leaves the state as it is.
    """

    def init(self, size: int) -> State:
        """Return the state before the first round, for `size` parameters."""
        ...

    def step(
        self, vector: NDArray[np.float64], delta: NDArray[np.float64], state: State
    ) -> tuple[NDArray[np.float64], State]:
        """Return the next model and state; the arguments are left as they were."""
        ...


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        checks.config.positive(f"the server's {name}", value)


def _check_decay(**values: float) -> None:
    for name, value in values.items():
        checks.config.fraction_below_one(f"the server's {name}", value)


def _check_step(vector: NDArray[np.float64], delta: NDArray[np.float64]) -> None:
    if vector.shape != delta.shape or vector.ndim != 1:
        raise LocalProtocolError(
            f"a mean update of shape {delta.shape} does not fit a model of shape {vector.shape}"
        )
    if not bool(np.isfinite(delta).all()):
        raise NonFiniteError("the mean update holds NaN or infinity; the model stays as it was")


def _moment(state: State, name: str, size: int) -> NDArray[np.float64]:
    value = state.get(name)
    if not isinstance(value, np.ndarray) or value.shape != (size,):
        raise LocalProtocolError(
            f"the server's state has no {name!r} of {size} parameters: it belongs to another "
            "optimiser or model"
        )
    return value


@register("server_optimizer")
class FedAvg(Part, frozen=True, tag="fedavg"):
    """w ← w + lr·Δ (McMahan et al. 2017, with the server learning rate of Reddi et al. 2021).

    Args:
        lr: server learning rate.

    Example:
        >>> rule = FedAvg()
        >>> rule.step(np.zeros(2), np.ones(2), rule.init(2))[0]
        array([1., 1.])
    """

    lr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr)

    def init(self, size: int) -> State:
        """Return an empty state; `size` fixes nothing here."""
        del size
        return {}

    def step(
        self, vector: NDArray[np.float64], delta: NDArray[np.float64], state: State
    ) -> tuple[NDArray[np.float64], State]:
        """Add the mean update."""
        _check_step(vector, delta)
        return vector + self.lr * delta, state


@register("server_optimizer")
class FedMomentum(Part, frozen=True, tag="momentum"):
    """v ← momentum·v + Δ, w ← w + lr·v (FedAvgM, Hsu et al. 2019, §3).

    Args:
        lr: server learning rate.
        momentum: share of the last velocity that is kept.
    """

    lr: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr)
        _check_decay(momentum=self.momentum)

    def init(self, size: int) -> State:
        """Return zero velocity."""
        return {"velocity": np.zeros(size)}

    def step(
        self, vector: NDArray[np.float64], delta: NDArray[np.float64], state: State
    ) -> tuple[NDArray[np.float64], State]:
        """Move along the velocity."""
        _check_step(vector, delta)
        velocity = self.momentum * _moment(state, "velocity", vector.size) + delta
        return vector + self.lr * velocity, {"velocity": velocity}


def _init_adaptive(size: int, tau: float) -> State:
    # Algorithm 2 asks for v₋₁ ≥ τ²
    return {"first": np.zeros(size), "second": np.full(size, tau * tau)}


def _adaptive_step(
    vector: NDArray[np.float64],
    delta: NDArray[np.float64],
    state: State,
    *,
    rule: FedAdam | FedYogi | FedAdagrad,
    accumulate: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], State]:
    """Algorithm 2 with the second moment's own rule: (v, Δ²) to the next v."""
    _check_step(vector, delta)
    second = accumulate(_moment(state, "second", vector.size), delta**2)
    kept = rule.beta1 * _moment(state, "first", vector.size)
    first = kept + (1 - rule.beta1) * delta
    moved = vector + rule.lr * first / (np.sqrt(second) + rule.tau)
    return moved, {"first": first, "second": second}


@register("server_optimizer")
class FedAdam(Part, frozen=True, tag="adam"):
    """Adam at the server (Reddi et al. 2021, Algorithm 2; no bias correction, as there).

    Args:
        lr: server learning rate η.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        tau: degree of adaptivity τ.
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr, tau=self.tau)
        _check_decay(beta1=self.beta1, beta2=self.beta2)

    def init(self, size: int) -> State:
        """Return zero first and τ² second moments."""
        return _init_adaptive(size, self.tau)

    def step(
        self, vector: NDArray[np.float64], delta: NDArray[np.float64], state: State
    ) -> tuple[NDArray[np.float64], State]:
        """Take v ← β₂·v + (1−β₂)·Δ²."""

        def decayed(
            second: NDArray[np.float64], square: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            return self.beta2 * second + (1 - self.beta2) * square

        return _adaptive_step(vector, delta, state, rule=self, accumulate=decayed)


@register("server_optimizer")
class FedYogi(Part, frozen=True, tag="yogi"):
    """Yogi at the server: the second moment moves by steps of bounded size (Algorithm 2).

    Args:
        lr: server learning rate η.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        tau: degree of adaptivity τ.
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr, tau=self.tau)
        _check_decay(beta1=self.beta1, beta2=self.beta2)

    def init(self, size: int) -> State:
        """Return zero first and τ² second moments."""
        return _init_adaptive(size, self.tau)

    def step(
        self, vector: NDArray[np.float64], delta: NDArray[np.float64], state: State
    ) -> tuple[NDArray[np.float64], State]:
        """Take v ← v − (1−β₂)·Δ²·sign(v − Δ²)."""

        def nudged(second: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
            return second - (1 - self.beta2) * square * np.sign(second - square)

        return _adaptive_step(vector, delta, state, rule=self, accumulate=nudged)


@register("server_optimizer")
class FedAdagrad(Part, frozen=True, tag="adagrad"):
    """Adagrad at the server: the second moment is the sum of all squares (Algorithm 2).

    Args:
        lr: server learning rate η.
        beta1: decay of the first moment; the paper's experiments have none.
        tau: degree of adaptivity τ.
    """

    lr: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr, tau=self.tau)
        _check_decay(beta1=self.beta1)

    def init(self, size: int) -> State:
        """Return zero first and τ² second moments."""
        return _init_adaptive(size, self.tau)

    def step(
        self, vector: NDArray[np.float64], delta: NDArray[np.float64], state: State
    ) -> tuple[NDArray[np.float64], State]:
        """Take v ← v + Δ²."""
        return _adaptive_step(vector, delta, state, rule=self, accumulate=np.add)


class AveragedIterates(Part, frozen=True, tag=False):
    """Release an average of the models instead of the last one.

    Post-processing: it costs no privacy and evens out the noise of single rounds.  The average is
    Σ decay^(k−i)·wᵢ / Σ decay^(k−i) over the models of the run's tail.

    Args:
        tail: share of the rounds, at the end, whose models are averaged, in (0, 1]; before the tail
            begins the last model is released.
        decay: 1 weighs them equally; below 1, an exponential moving average.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> rule = AveragedIterates(tail=1.0)
        >>> state = rule.update(rule.init(1), np.array([2.0]), 0, 2)
        >>> rule.value(rule.update(state, np.array([4.0]), 1, 2))
        array([3.])
    """

    tail: float = 0.5
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tail", "decay"):
            checks.config.positive_fraction(f"the averaging {name}", getattr(self, name))

    def init(self, size: int) -> State:
        """Return the state before the first model."""
        return {"mean": np.zeros(size), "weight": 0.0, "updates": 0}

    def update(
        self, state: State, vector: NDArray[np.float64], round_index: int, num_rounds: int
    ) -> State:
        """Take in the model after one round; skipped rounds need no call.

        Args:
            state: from `init` or `update`.
            vector: float64[d], the model.
            round_index: counts from 0.
            num_rounds: length of the run.
        """
        mean = _moment(state, "mean", vector.size)
        updates = int(state["updates"]) + 1
        if num_rounds - round_index > math.ceil(self.tail * num_rounds):
            return {"mean": vector.copy(), "weight": 0.0, "updates": updates}
        weight = self.decay * float(state["weight"]) + 1.0
        return {"mean": mean + (vector - mean) / weight, "weight": weight, "updates": updates}

    def value(self, state: State) -> NDArray[np.float64]:
        """Return the model to release.

        Raises:
            LocalProtocolError: no model was taken in yet.
        """
        mean = state["mean"]
        if not isinstance(mean, np.ndarray) or not state["updates"]:
            raise LocalProtocolError("there is no model to release yet: call update first")
        return mean.copy()
