"""Local training of the user's own: a step that computes the loss of a batch, or a whole client loop.

Both are parts of a plan, so that they have a name, a digest, and a form that worker processes can read:
derive from `fedavg.parts.Part` and register in the family "training_step" or "client_loop", or give the
import path of a function.  The client measures how far the parameters moved, and clips,
encodes, noises and masks that like any other update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from fedavg.errors import ConfigError, PlanError
from fedavg.parts import (
    Part,
    check_registered,
    named,
    register,
)
from fedavg.parts.imports import called, check_path, function_path
from fedavg.parts.tables import part_of_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from fedavg.losses.interface import Loss
    from fedavg.optimizers.schedule import Schedule

__all__ = [
    "Batch",
    "ClientLoop",
    "Examples",
    "ImportedLoop",
    "ImportedStep",
    "LoopContext",
    "Settings",
    "TrainingStep",
    "loop_of",
    "step_of",
]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The examples of one step, on the device of the model.

    Args:
        features: float32[n, ...].
        labels: int64[n] of classes, float32[n, k] of numbers, or int8[n, k] of several labels.
        weights: float32[n], or None for equal weights.
        loss: the plan's loss, or the one that fits the kind of the labels.
    """

    features: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor | None
    loss: Loss

    def mean(self, each: torch.Tensor) -> torch.Tensor:
        """The weighted mean Σ wᵢ·ℓᵢ ÷ n of the examples' losses, float[n], as a scalar."""
        return each.mean() if self.weights is None else (each * self.weights).mean()


class TrainingStep(Protocol):
    """Computes the loss of one batch; the client's optimiser follows its gradient."""

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return a scalar that depends on the model's parameters.

        Args:
            model: the model, in training mode.
            batch: see `Batch`.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """A client's whole data set, for a client loop.

    Args:
        features: float32[n, ...].
        labels: see `Batch`.
        weights: float32[n], or None.
        loss: see `Batch`.
    """

    features: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor | None
    loss: Loss

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: torch.Tensor | slice) -> Batch:
        """The examples at some rows.

        Args:
            rows: int64[m], or a slice.
        """
        weights = None if self.weights is None else self.weights[rows]
        return Batch(self.features[rows], self.labels[rows], weights, self.loss)


class Settings(Protocol):
    """The settings of `LocalTraining` that a client loop may follow; the plan's value has all fields."""

    @property
    def epochs(self) -> int:
        """Number of passes over the examples."""
        ...

    @property
    def batch_size(self) -> int | None:
        """Number of examples in a step; None for all of them."""
        ...

    @property
    def lr(self) -> float:
        """Learning rate, before its schedule; `LoopContext.lr` includes the schedule."""
        ...

    @property
    def schedule(self) -> Schedule:
        """Schedule of the learning rate over server rounds."""
        ...

    @property
    def momentum(self) -> float:
        """Momentum, for optimizer "momentum"."""
        ...

    @property
    def steps(self) -> int | None:
        """Exact number of steps, in place of epochs."""
        ...

    @property
    def max_steps(self) -> int | None:
        """Largest number of steps."""
        ...


@dataclass(frozen=True, slots=True)
class LoopContext:
    """The facts of the round that a client loop may use.

    Args:
        training: the plan's settings; a loop uses those that it needs.
        lr: the learning rate of this round, by the schedule.
        round_index: index of the round, from 0.
        num_rounds: number of rounds in the run.
        seed: public seed of this client in this round; torch's global generator has been seeded with it.
        device: device of the model and the examples.
    """

    training: Settings
    lr: float
    round_index: int
    num_rounds: int
    seed: int
    device: torch.device


class ClientLoop(Protocol):
    """Trains a model on one client's examples, with its own optimiser, loss and batches."""

    def __call__(self, model: nn.Module, examples: Examples, context: LoopContext) -> None:
        """Change the model's parameters in place.

        Args:
            model: the model with the broadcast parameters, in training mode.
            examples: the client's own examples.
            context: see `LoopContext`.
        """
        ...


class _Imported(Part, frozen=True):
    """A function named by its import path; the family of the part defines what it does."""

    path: str

    what: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path(self.path, type(self).__name__)

    @property
    def imports(self) -> tuple[str, ...]:
        """See `Part.imports`: the module of the function."""
        return (self.path.partition(":")[0],)

    @property
    def _function(self) -> Callable[..., Any]:
        return called(self.path, self.what)

    def check_here(self) -> None:
        """See `Part.check_here`: the function must exist."""
        _ = self._function


@register("training_step")
class ImportedStep(_Imported, frozen=True, tag="imported"):
    """A training step named by its import path: function(model, batch) returns the scalar to minimise.

    Args:
        path: "package.module:function"; importing it runs that module's code.

    Raises:
        ConfigError: the text is no such path; on use, the module or the name does not exist.

    Example:
        >>> ImportedStep("my_project.training:mixup").path
        'my_project.training:mixup'
    """

    what: ClassVar[str] = "the training step"

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """See `TrainingStep`."""
        return self._function(model, batch)


@register("client_loop")
class ImportedLoop(_Imported, frozen=True, tag="imported"):
    """A client loop named by its import path: function(model, examples, context) trains the model in place.

    Args:
        path: "package.module:function"; importing it runs that module's code.

    Raises:
        ConfigError: the text is no such path; on use, the module or the name does not exist.

    Example:
        >>> ImportedLoop("my_project.training:epoch").path
        'my_project.training:epoch'
    """

    what: ClassVar[str] = "the client loop"

    def __call__(self, model: nn.Module, examples: Examples, context: LoopContext) -> None:
        """See `ClientLoop`."""
        self._function(model, examples, context)


def step_of(given: object) -> Any:  # noqa: ANN401 - a `TrainingStep`, whose class the registry knows
    """Convert an argument to a training step: a registered value, an import path, or a function.

    Raises:
        ConfigError: a function has no import path, or the kind is unknown.
    """
    return _door("training_step", given, ImportedStep)


def loop_of(given: object) -> Any:  # noqa: ANN401 - a `ClientLoop`, whose class the registry knows
    """Convert an argument to a client loop: a registered value, an import path, or a function.

    Raises:
        ConfigError: a function has no import path, or the kind is unknown.
    """
    return _door("client_loop", given, ImportedLoop)


def _door(
    family: Literal["training_step", "client_loop"], given: object, of_path: type[_Imported]
) -> Part | None:
    if given is None:
        return None
    what = family.replace("_", " ")
    if isinstance(given, str):
        return of_path(given) if ":" in given else _by_name(family, given)
    if isinstance(given, Mapping):
        return part_of_table(family, given, what)
    if isinstance(given, Part):
        check_registered(given)
        # A part can be registered in the family and yet not be a function.
        if not callable(given):
            raise PlanError(f"{type(given).__name__} is no {what}: it cannot be called")
        return given
    return of_path(function_path(given, what))


def _by_name(family: Literal["training_step", "client_loop"], name: str) -> Part:
    try:
        return named(family, name)()
    except TypeError as error:
        raise ConfigError(
            f"{family.replace('_', ' ')} {name!r} needs its fields: {error}"
        ) from error
