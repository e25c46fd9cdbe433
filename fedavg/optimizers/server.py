"""Server optimisers, which apply the mean update: plain addition, momentum, or an adaptive step.

They are pure functions over float64 vectors: the configuration is frozen, the state is passed in and
returned. A state is a dict of arrays and numbers, so that a checkpoint can store it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from fedavg import checks
from fedavg.errors import LocalProtocolError, NonFiniteError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from numpy.typing import NDArray

    State: TypeAlias = Mapping[str, NDArray[np.float64] | float | int]

__all__ = [
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedMomentum",
    "FedYogi",
    "Progress",
    "ServerOptimizer",
    "ServerRule",
    "State",
    "state_vector",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """The position in a run.

    Args:
        round_index: index of the round, from 0.
        num_rounds: number of rounds in the run.

    Example:
        >>> class Slower(ServerRule, frozen=True, tag="slower-example"):
        ...     def step(self, vector, delta, state, progress: Progress):
        ...         return vector + delta * (1 - progress.round_index / progress.num_rounds), state
        >>> Slower().step(np.zeros(1), np.ones(1), {}, Progress(round_index=8, num_rounds=10))[0].round(6)
        array([0.2])
    """

    round_index: int
    num_rounds: int


class ServerOptimizer(Protocol):
    """A rule that computes the next model from a mean update, and the released model from the models.

    Example:
        >>> model, update = np.zeros(2), np.array([1.0, -0.01])
        >>> def after(rule: ServerOptimizer, rounds: int) -> list[float]:
        ...     vector, state = model, rule.init(model.size)
        ...     for index in range(rounds):
        ...         vector, state = rule.step(vector, update, state, Progress(index, rounds))
        ...     return rule.release(vector, state, Progress(rounds - 1, rounds))[0].round(2).tolist()
        >>> after(FedAvg(), 2), after(FedAdam(lr=0.1), 2)  # Adam enlarges small updates
        ([2.0, -0.02], [0.23, -0.11])
    """

    def init(self, size: int) -> State:
        """Return the state before the first round, for `size` parameters."""
        ...

    def step(
        self,
        vector: NDArray[np.float64],
        delta: NDArray[np.float64],
        state: State,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], State]:
        """Return the next model and state; the arguments are not modified.

        Args:
            vector: float64[d], the model.
            delta: float64[d], the mean update.
            state: state from `init`, or after the previous round.
            progress: position in the run.
        """
        ...

    def release(
        self, vector: NDArray[np.float64], state: State, progress: Progress
    ) -> tuple[NDArray[np.float64], State]:
        """Return the model to release after a step, and the next state.

        A round without a sum takes no step and releases nothing new.
        """
        ...


class ServerRule(Part, frozen=True, tag=False):
    """A server optimiser that releases the model itself; derive your own from it and define `step`.

    Example:
        >>> class Half(ServerRule, frozen=True, tag="half-example"):
        ...     def step(self, vector, delta, state, progress):
        ...         return vector + delta / 2, state
        >>> Half().step(np.zeros(1), np.ones(1), Half().init(1), Progress(0, 1))[0]
        array([0.5])
    """

    adaptive: ClassVar[bool] = False
    """Whether a step has about the size of the learning rate, for updates of any scale."""

    def init(self, size: int) -> State:
        """Return an empty state: see `ServerOptimizer.init`."""
        del size
        return {}

    def release(
        self, vector: NDArray[np.float64], state: State, progress: Progress
    ) -> tuple[NDArray[np.float64], State]:
        """Release the model itself."""
        del progress
        return vector, state


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
    # One NaN would stay in the model for the rest of the run.
    if not bool(np.isfinite(delta).all()):
        raise NonFiniteError("the mean update holds NaN or infinity; the model stays as it was")


def state_vector(state: State, name: str, size: int) -> NDArray[np.float64]:
    """A vector of a server optimiser's state.

    Raises:
        LocalProtocolError: the state has no vector of this name and size.
    """
    value = state.get(name)
    if not isinstance(value, np.ndarray) or value.shape != (size,):
        raise LocalProtocolError(
            f"the server's state has no {name!r} of {size} parameters: it belongs to another "
            "optimiser or model"
        )
    return value


@register("server_optimizer")
class FedAvg(ServerRule, frozen=True, tag="fedavg"):
    """w ← w + lr·Δ (McMahan et al. 2017, with the server learning rate of Reddi et al. 2021).

    Args:
        lr: server learning rate.

    Example:
        >>> rule = FedAvg()
        >>> rule.step(np.zeros(2), np.ones(2), rule.init(2), Progress(0, 1))[0]
        array([1., 1.])
    """

    lr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr)

    def step(
        self,
        vector: NDArray[np.float64],
        delta: NDArray[np.float64],
        state: State,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], State]:
        """Add the mean update."""
        del progress
        _check_step(vector, delta)
        return vector + self.lr * delta, state


@register("server_optimizer")
class FedMomentum(ServerRule, frozen=True, tag="momentum"):
    """v ← momentum·v + Δ, w ← w + lr·v (FedAvgM, Hsu et al. 2019, §3).

    Args:
        lr: server learning rate.
        momentum: share of the last velocity that is kept.

    Example:
        >>> rule, vector, update = FedMomentum(momentum=0.5), np.zeros(1), np.ones(1)
        >>> state = rule.init(1)
        >>> for index in range(3):  # steps of 1, 1.5 and 1.75
        ...     vector, state = rule.step(vector, update, state, Progress(index, 3))
        >>> vector
        array([4.25])
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
        self,
        vector: NDArray[np.float64],
        delta: NDArray[np.float64],
        state: State,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], State]:
        """Move along the velocity."""
        del progress
        _check_step(vector, delta)
        velocity = self.momentum * state_vector(state, "velocity", vector.size) + delta
        return vector + self.lr * velocity, {"velocity": velocity}


class _Moments(Protocol):
    """What an adaptive rule is made of: η, β₁, τ, and its second moment."""

    @property
    def lr(self) -> float: ...
    @property
    def beta1(self) -> float: ...
    @property
    def tau(self) -> float: ...

    def spread(
        self, second: NDArray[np.float64], square: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The next second moment, from the last one and Δ²."""
        ...


class _Adaptive(ServerRule, frozen=True, tag=False):
    """Algorithm 2 of Reddi et al. 2021, without bias correction as in the paper, for any second moment."""

    adaptive: ClassVar[bool] = True

    def init(self: _Moments, size: int) -> State:
        """Return zero first and τ² second moments: Algorithm 2 asks for v₋₁ ≥ τ²."""
        return {"first": np.zeros(size), "second": np.full(size, self.tau * self.tau)}

    def step(
        self: _Moments,
        vector: NDArray[np.float64],
        delta: NDArray[np.float64],
        state: State,
        progress: Progress,
    ) -> tuple[NDArray[np.float64], State]:
        """Move along the first moment, divided in each coordinate by the root of the second moment."""
        del progress
        _check_step(vector, delta)
        second = self.spread(state_vector(state, "second", vector.size), delta**2)
        first = self.beta1 * state_vector(state, "first", vector.size) + (1 - self.beta1) * delta
        # `tau` keeps steps bounded where the second moment is small.
        moved = vector + self.lr * first / (np.sqrt(second) + self.tau)
        return moved, {"first": first, "second": second}


@register("server_optimizer")
class FedAdam(_Adaptive, frozen=True, tag="adam"):
    """Adam at the server (Reddi et al. 2021, Algorithm 2): v ← β₂·v + (1−β₂)·Δ².

    Args:
        lr: server learning rate η.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        tau: degree of adaptivity τ.

    Example:
        >>> rule, update = FedAdam(lr=0.1, beta1=0.0, tau=1e-9), np.array([5.0, -0.02])
        >>> vector, state = rule.step(np.zeros(2), update, rule.init(2), Progress(0, 1))
        >>> vector.round(6).tolist()  # lr ÷ √(1 − β₂), for updates of any size
        [1.0, -1.0]
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr, tau=self.tau)
        _check_decay(beta1=self.beta1, beta2=self.beta2)

    def spread(
        self, second: NDArray[np.float64], square: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The next second moment, from the last one and Δ²."""
        return self.beta2 * second + (1 - self.beta2) * square


@register("server_optimizer")
class FedYogi(FedAdam, frozen=True, tag="yogi"):
    """Yogi at the server (Algorithm 2): v ← v − (1−β₂)·Δ²·sign(v − Δ²), steps of bounded size.

    All arguments are those of `FedAdam`.

    Example:
        >>> def spread(rule: FedAdam) -> list[float]:
        ...     state = rule.init(1)
        ...     for index, update in enumerate((1.0, 0.1)):
        ...         _, state = rule.step(np.zeros(1), np.array([update]), state, Progress(index, 2))
        ...     return state["second"].round(4).tolist()
        >>> spread(FedYogi(beta2=0.75)), spread(FedAdam(beta2=0.75))  # Yogi forgets the large update slowly
        ([0.2475], [0.19])
    """

    def spread(
        self, second: NDArray[np.float64], square: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `FedAdam.spread`."""
        return second - (1 - self.beta2) * square * np.sign(second - square)


@register("server_optimizer")
class FedAdagrad(_Adaptive, frozen=True, tag="adagrad"):
    """Adagrad at the server (Algorithm 2): v ← v + Δ², the sum of all squares.

    Args:
        lr: server learning rate η.
        beta1: decay of the first moment; the paper's experiments have none.
        tau: degree of adaptivity τ.

    Example:
        >>> rule, update = FedAdagrad(lr=1.0, tau=1e-9), np.array([3.0])
        >>> vector, state = np.zeros(1), rule.init(1)
        >>> for index in range(4):  # steps of 1, 1/√2, 1/√3, 1/√4
        ...     vector, state = rule.step(vector, update, state, Progress(index, 4))
        >>> vector.round(4).tolist()
        [2.7845]
    """

    lr: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(lr=self.lr, tau=self.tau)
        _check_decay(beta1=self.beta1)

    def spread(
        self, second: NDArray[np.float64], square: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `FedAdam.spread`."""
        return second + square
