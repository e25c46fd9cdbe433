"""Values for the tables [model] and [personalization]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fedavg.config.builders.parts import part_of
from fedavg.errors import ConfigError
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.schedule import CONSTANT
from fedavg.parts import named

if TYPE_CHECKING:
    from fedavg.algorithms.personal.interface import Personalization
    from fedavg.config.settings import ModelConfig, PersonalizationConfig
    from fedavg.optimizers.local import LocalTraining

__all__ = ["personalization_of", "spec_of"]


def spec_of(
    config: ModelConfig, input_shape: tuple[int, ...], num_classes: int, *, seed: int
) -> ModelSpec:
    """The description of a configuration's model.

    Args:
        config: the table [model].
        input_shape: shape of one example.
        num_classes: number of outputs.
        seed: public seed of the initial weights.
    """
    return ModelSpec(
        config.name,
        input_shape,
        num_classes,
        seed,
        hidden=config.hidden,
        file=config.file,
        digest=config.digest,
        freeze=config.freeze,
        fresh=config.fresh,
    )


def personalization_of(
    config: PersonalizationConfig, local: LocalTraining
) -> Personalization | None:
    """The personalisation of a configuration's table [personalization].

    Args:
        config: the table.
        local: training of the shared model, whose settings apply where the table has none.

    Raises:
        ConfigError: a value is out of range, or belongs to another kind.
    """
    if config.kind == "none":
        if config.head:
            raise ConfigError("personalization.head needs kind = 'fedrep', and kind is 'none'")
        return None
    training = msgspec.structs.replace(local, schedule=CONSTANT, proximal=0.0)
    if config.epochs:
        training = msgspec.structs.replace(training, epochs=config.epochs, steps=None)
    if config.lr:
        training = msgspec.structs.replace(training, lr=config.lr)
    fields = named("personalization", config.kind).__struct_fields__
    if config.head and "head" not in fields:
        raise ConfigError(
            f"personalization.head goes with kind 'fedrep', and {config.kind!r} leaves no parameter at the "
            "clients"
        )
    settings = {
        "training": training,
        "strength": config.strength,
        "head": config.head,
        "test_fraction": config.test_fraction,
    }
    return part_of("personalization", config.kind, settings, config.options)
