"""The settings of local training, without torch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fedavg import checks
from fedavg.errors import ConfigError
from fedavg.losses.choice import loss_of
from fedavg.optimizers.custom import loop_of, step_of
from fedavg.optimizers.schedule import CONSTANT, Schedule
from fedavg.parts import Part, Trait
from fedavg.parts.nearest import offered

__all__ = ["ADAPTIVE", "LocalTraining", "kept_per_parameter"]

ADAPTIVE = ("adam", "adamw")
"""Optimisers whose step has about the size of the learning rate, for gradients of any size."""

_KEPT = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}

_ADAMW_DECAY = 0.01  # the default of torch's AdamW


class LocalTraining(Part, frozen=True, tag=False):
    """The settings of a client's training.

    A step consists of: the gradient of the mean loss, plus that of the penalties; its clipping; weight decay;
    and the optimiser's step. The optimiser's state starts anew in every round.

    Args:
        epochs: number of passes over the client's examples.
        batch_size: number of examples in a step; None takes all of them.  A single left-over example joins
            the last batch.
        optimizer: plain SGD, SGD with momentum, Adam, or AdamW (Loshchilov and Hutter 2019, Algorithm 2).
        lr: learning rate, before its schedule.
        schedule: schedule of the learning rate over server rounds.
        l1, l2: penalties l1·‖w‖₁ and l2/2·‖w‖₂², in the gradient.
        proximal: FedProx's μ, for the penalty μ/2·‖w − w₀‖₂² (Li et al. 2020, eq. 2).
        momentum: momentum, for optimizer "momentum".
        max_steps: largest number of steps a round, for any number of examples.
        steps: exact number of steps a round for every client, in place of epochs.
        nesterov: for optimizer "momentum": whether to use Nesterov momentum, as torch does.
        weight_decay: decoupled weight decay, w ← (1 − lr·weight_decay)·w before each step, which is never
            part of a gradient or of a moment.  None is 0.01 for AdamW and 0 for the others. Adam accepts
            none: use l2, or AdamW.
        clip_gradient: largest Euclidean norm of a step's whole gradient, penalties included.
        beta1, beta2: decay of Adam's moments.
        step_decay: factor of the learning rate after each step; the rate is reset every round.
        loss: loss to minimise (`fedavg.losses`): a value, a name such as "mse", an import path
            "package.module:function", or such a function.  None takes cross-entropy for classes, the mean
            squared error for numbers, and binary cross-entropy for several labels.
        step: your own computation of a batch's loss (`fedavg.optimizers.custom.TrainingStep`); all other
            settings apply.
        loop: your own training of a client (`fedavg.optimizers.custom.ClientLoop`).  It uses the other
            settings as it wishes; this package's penalties, clipping and decay do not apply and are
            refused.

    Raises:
        ConfigError: a value is out of range; the message names it.

    Example:
        >>> LocalTraining(lr=0.1, schedule=Schedule("step")).lr_at(50, 100)
        0.010000000000000002
    """

    epochs: int = 1
    batch_size: int | None = None
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "sgd"
    lr: float = 0.1
    schedule: Schedule = CONSTANT
    l1: float = 0.0
    l2: float = 0.0
    proximal: float = 0.0
    momentum: float = 0.9
    max_steps: int | None = None
    steps: int | None = None
    nesterov: bool = False
    weight_decay: float | None = None
    clip_gradient: float | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    step_decay: float = 1.0
    loss: Any = None
    step: Any = None
    loop: Any = None

    @property
    def traits(self) -> frozenset[Trait]:
        """States steps with a memory, the user's own steps, and the proximal term."""
        return frozenset(
            trait
            for trait, holds in (
                (Trait.STATEFUL_STEPS, self.optimizer != "sgd" or self.loop is not None),
                (Trait.PROXIMAL, bool(self.proximal)),
                (Trait.OWN_LOOP, self.loop is not None),
            )
            if holds
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "batch_size", "max_steps", "steps"):
            count: int | None = getattr(self, name)
            if count is not None or name == "epochs":
                checks.config.whole(name, count)
        for name, door in (("loss", loss_of), ("step", step_of), ("loop", loop_of)):
            # Names, paths and functions become parts here, so that equal settings give equal plans.
            msgspec.structs.force_setattr(self, name, door(getattr(self, name)))
        self._check_numbers()
        if not isinstance(self.schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise ConfigError(f"schedule must be a Schedule(…), not {self.schedule!r}")
        self._check_optimizer()

    def _check_numbers(self) -> None:
        for name in ("l1", "l2", "proximal", "weight_decay"):
            penalty: float | None = getattr(self, name)
            if penalty is not None:
                checks.config.at_least(name, penalty, 0)
        for name in ("lr", "clip_gradient"):
            size: float | None = getattr(self, name)
            if size is not None:
                checks.config.positive(name, size)
        for name in ("momentum", "beta1", "beta2"):
            checks.config.fraction_below_one(name, getattr(self, name))
        checks.config.positive_fraction("step_decay", self.step_decay)

    def _check_optimizer(self) -> None:
        if self.optimizer not in _KEPT:
            raise ConfigError(
                f"there is no optimizer {self.optimizer!r}; {offered(self.optimizer, _KEPT)}"
            )
        if self.nesterov and self.optimizer != "momentum":
            raise ConfigError("nesterov goes with optimizer 'momentum'")
        if self.optimizer == "adam" and self.weight_decay:
            raise ConfigError(
                "weight_decay with optimizer 'adam': use 'adamw' (decoupled), or l2 (in the gradient)"
            )
        if self.steps is not None and self.max_steps is not None:
            raise ConfigError("steps sets the exact number of steps: leave max_steps out")
        if self.loop is not None:
            self._check_loop()

    def _check_loop(self) -> None:
        # A setting without effect is refused, because its value would be believed.
        ours = {
            "step": self.step is not None,
            "l1, l2, proximal": self.penalised,
            "weight_decay": bool(self.weight_decay),
            "clip_gradient": self.clip_gradient is not None,
            "step_decay": self.step_decay != 1.0,
        }
        given = [name for name, is_given in ours.items() if is_given]
        if given:
            raise ConfigError(
                f"your own client loop takes its steps itself, so {', '.join(given)} would have no effect: "
                "leave them out, and do in the loop what they would do"
            )

    @property
    def decay(self) -> float:
        """The weight decay that applies."""
        if self.weight_decay is not None:
            return self.weight_decay
        return _ADAMW_DECAY if self.optimizer == "adamw" else 0.0

    @property
    def penalised(self) -> bool:
        """Whether any penalty applies."""
        return bool(self.l1 or self.l2 or self.proximal)

    @property
    def plain(self) -> bool:
        """Whether a step is w ← w − lr·∇loss and nothing more."""
        free = not self.penalised and not self.decay and self.clip_gradient is None
        return free and self.optimizer == "sgd" and not self.custom

    @property
    def custom(self) -> bool:
        """Whether a step or a loop of the user's own replaces this package's."""
        return self.step is not None or self.loop is not None

    def lr_at(self, round_index: int, num_rounds: int) -> float:
        """Learning rate of a round's first step.

        Args:
            round_index: index of the round, from 0.
            num_rounds: number of rounds in the run.
        """
        return self.lr * self.schedule.at(round_index, num_rounds)

    def batch_sizes(self, count: int) -> list[int]:
        """Sizes of an epoch's batches for a client with this number of examples.

        A single left-over example joins the last batch: a batch of one has no statistics, and its step would
        be as large as those of all others.

        Example:
            >>> LocalTraining(batch_size=8).batch_sizes(20), LocalTraining(batch_size=8).batch_sizes(17)
            ([8, 8, 4], [8, 9])
        """
        size = self.batch_size or count
        if size >= count:
            return [count]
        full, left = divmod(count, size)
        sizes = [size] * full
        if left == 1:
            sizes[-1] += 1
        elif left:
            sizes.append(left)
        return sizes

    def steps_for(self, count: int) -> int:
        """Number of steps a round for a client with this number of examples.

        Example:
            >>> LocalTraining(epochs=2, batch_size=5).steps_for(12)
            6
        """
        if self.steps is not None:
            return self.steps
        steps = self.epochs * len(self.batch_sizes(count))
        return steps if self.max_steps is None else min(steps, self.max_steps)


def kept_per_parameter(optimizer: str) -> int:
    """Numbers that a client's optimiser keeps for each parameter, beside its gradient.

    Args:
        optimizer: as in `LocalTraining`.

    Example:
        >>> kept_per_parameter("sgd"), kept_per_parameter("adam")
        (0, 2)
    """
    return _KEPT[optimizer]
