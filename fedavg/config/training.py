"""The tables [local] and [server] of a configuration, made into what a plan holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.config.parts import part_of
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import Schedule

if TYPE_CHECKING:
    from fedavg.config.settings import LocalConfig, ServerConfig
    from fedavg.optimizers.server import ServerOptimizer

__all__ = ["learning_schedule", "local_training", "server_optimizer"]


def learning_schedule(config: LocalConfig | ServerConfig) -> Schedule:
    """Of the clients or of the server.

    Raises:
        ConfigError: a value outside its range.
    """
    return Schedule(config.schedule or "constant", config.milestones, config.factor, config.warmup)


def local_training(config: LocalConfig) -> LocalTraining:
    """How clients train.

    Raises:
        ConfigError: a value outside its range, or settings that do not go together.
    """
    return LocalTraining(
        epochs=config.epochs,
        batch_size=config.batch_size or None,
        optimizer=config.optimizer,
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
    )


def server_optimizer(config: ServerConfig) -> ServerOptimizer:
    """What the server does with a mean update.

    Raises:
        ConfigError: a value outside its range.
    """
    names = ("lr", "momentum", "beta1", "beta2", "tau")
    settings = {name: getattr(config, name) for name in names}
    settings["lr"] = 3.0 if config.lr is None else config.lr
    return part_of("server_optimizer", config.optimizer or "momentum", settings, config.options)
