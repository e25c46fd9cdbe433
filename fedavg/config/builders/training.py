"""Values for the tables [local], [training], [evaluation] and [server]."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fedavg.config.builders.models import personalization_of
from fedavg.config.builders.parts import part_of
from fedavg.errors import ConfigError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import CONSTANT, Schedule
from fedavg.optimizers.wrapped import Averaged, Scheduled
from fedavg.parts import nested
from fedavg.plan.stopping import check_stopping
from fedavg.training.compute import Compute
from fedavg.training.evaluation import Scoring
from fedavg.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from collections.abc import Generator

    from fedavg.config.settings import (
        Config,
        EvaluationConfig,
        LocalConfig,
        ServerConfig,
        TrainingConfig,
    )
    from fedavg.data.task import Task
    from fedavg.optimizers.server import ServerOptimizer

__all__ = [
    "check_by_client",
    "check_training",
    "learning_schedule",
    "local_training",
    "modules_named",
    "scoring_of",
    "server_optimizer",
    "stopping_of",
]


def learning_schedule(config: LocalConfig | ServerConfig) -> Schedule:
    """The learning-rate schedule of the clients or of the server.

    Raises:
        ConfigError: a value is out of range.
    """
    return Schedule(config.schedule or "constant", config.milestones, config.factor, config.warmup)


def local_training(config: LocalConfig, chosen: TrainingConfig) -> LocalTraining:
    """The training at the clients.

    Args:
        config: the table [local].
        chosen: the table [training].

    Raises:
        ConfigError: a value is out of range, settings do not go together, or a loss, a step or a loop does
            not exist.
    """
    return LocalTraining(
        epochs=4 if config.epochs is None else config.epochs,
        batch_size=config.batch_size or None,
        optimizer=config.optimizer,
        # A rate that is still open gets one that passes the checks; the default replaces it later.
        lr=1.0 if config.lr is None else config.lr,
        schedule=learning_schedule(config),
        l1=config.l1,
        l2=config.l2,
        proximal=config.proximal,
        momentum=config.momentum,
        steps=config.steps or None,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        clip_gradient=config.clip_gradient or None,
        beta1=config.beta1,
        beta2=config.beta2,
        step_decay=config.step_decay,
        loss=chosen.loss,
        step=chosen.step,
        loop=chosen.loop,
    )


def scoring_of(config: EvaluationConfig, task: Task | None = None) -> Scoring:
    """The scoring of released models.

    Args:
        config: the table [evaluation].
        task: task whose labels may have been scaled; None if that is not known yet.

    Raises:
        ConfigError: a metric does not exist.
    """
    return Scoring(
        tuple(config.metrics),
        config.headline,
        config.public,
        () if task is None else task.label_centre,
        () if task is None else task.label_scale,
        label_names=() if task is None else task.label_names,
    )


def check_training(config: Config) -> None:
    """Refuse settings that training or scoring cannot use, before any data is read.

    Raises:
        ConfigError: a loss, step, loop, metric or device is unknown, the user's own code cannot be imported,
            or settings do not go together; the message begins with the table.
    """
    check_by_client(config.evaluation, private=config.privacy.private)
    with _in_table("training"):
        # Device, functions and metrics are tried before the data is read, which may take long.
        Compute(config.training.device, config.training.precision)
        training = local_training(config.local, config.training)
        for part in nested(training):
            part.check_here()
    with _in_table("evaluation"):
        scoring = scoring_of(config.evaluation)
        for part in nested((*scoring.metrics, scoring.headline)):
            part.check_here()
        stopping = stopping_of(config.evaluation)
    if stopping is not None:
        personal = personalization_of(config.personalization, training)
        check_stopping(personal, private=config.privacy.private, best=stopping.best)


def check_by_client(config: EvaluationConfig, *, private: bool) -> None:
    """Refuse figures of single clients in a run that adds noise.

    Args:
        config: the table [evaluation].
        private: whether the run adds noise.

    Raises:
        ConfigError: they are asked for under noise.
    """
    if config.by_client and private:
        raise ConfigError(
            "evaluation.by_client scores each client or silo on its own rows, and such a figure is a release "
            "about that client alone, which no noise protects and no budget counts. Leave it out, or run "
            "without noise"
        )


def modules_named(config: Config) -> tuple[str, ...]:
    """Modules of losses, steps, loops and metrics that a configuration names by an import path."""
    training, scoring = (
        local_training(config.local, config.training),
        scoring_of(config.evaluation),
    )
    parts = nested((training, *scoring.metrics, scoring.headline))
    return tuple(name for part in parts for name in part.imports)


def stopping_of(config: EvaluationConfig) -> EarlyStopping | None:
    """The rule for early stopping and the best round; None to run to the end and keep the last model.

    Raises:
        ConfigError: a value is out of range.
    """
    if not config.patience and not config.best:
        return None
    return EarlyStopping(config.patience or None, config.min_delta, best=config.best)


@contextlib.contextmanager
def _in_table(name: str) -> Generator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"[{name}]: {error}") from error


def server_optimizer(config: ServerConfig) -> ServerOptimizer:
    """The server's optimiser, with its schedule and the averaging of released models.

    Raises:
        ConfigError: a value is out of range.
    """
    names = ("lr", "momentum", "beta1", "beta2", "tau")
    settings = {name: getattr(config, name) for name in names}
    # A rate that is still open gets one that passes the checks.
    settings["lr"] = 3.0 if config.lr is None else config.lr
    kind = config.optimizer or "momentum"
    rule: ServerOptimizer = part_of("server_optimizer", kind, settings, config.options)
    schedule = learning_schedule(config)
    if schedule != CONSTANT:
        rule = Scheduled(rule, schedule)
    return Averaged(rule, config.average_tail) if config.average_tail else rule
