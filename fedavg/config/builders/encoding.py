"""The encoding and the stages of a plan, from a configuration's tables about traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.algorithms.chain import sent_length
from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.scaffold import Scaffold
from fedavg.config.builders.parts import part_of
from fedavg.config.builders.training import local_training
from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.encoding.quantised import Quantised
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from fedavg.algorithms.interface import UpdateStage
    from fedavg.config.settings import Config
    from fedavg.encoding.fixed_point import Encoding

__all__ = ["build_encoding", "build_stages"]


def build_stages(config: Config) -> tuple[UpdateStage, ...]:
    """The stages that change an update, from `[local] scaffold` and `[compression]`, in order."""
    stages: list[UpdateStage] = []
    if config.local.scaffold:
        stages.append(Scaffold())
    # Error feedback comes before random-k, so that its residual holds what random-k leaves out.
    if config.compression.error_feedback:
        stages.append(ErrorFeedback())
    if config.compression.kind != "none":
        settings = {"fraction": config.compression.fraction, "seed": config.seed}
        stages.append(part_of("stage", config.compression.kind, settings, {}))
    return tuple(stages)


def build_encoding(config: Config, parameters: int, cohort: float = 1) -> Encoding:
    """The encoding that noise, rounding and rotation require.

    Args:
        config: the configuration.
        parameters: d, number of parameters of its model.
        cohort: expected number of clients a round, which add the noise together.

    Raises:
        ConfigError: the rounding does not go with the noise or the bits.
        PlanError: no encoding allows the bits or the range.
    """
    encoding = config.encoding
    if encoding.kind != "auto":
        return _named(config, parameters, cohort)
    if config.privacy.private:
        if encoding.rounding == "nearest":
            raise ConfigError(
                "encoding.rounding = 'nearest' cannot be used under noise, whose sensitivity is proved for "
                "stochastic rounding: leave it at 'auto'"
            )
        bits = encoding.bits or _bits(config, parameters, cohort)
        return FixedPoint(config.privacy.clip, bits, encoding.rotate, rotation_seed=config.seed)
    if encoding.rounding == "nearest" and (encoding.rotate or encoding.bits == 1):
        raise ConfigError(
            "encoding.rounding = 'nearest' cannot be used with rotate = true or with bits = 1: choose "
            "'stochastic'"
        )
    stochastic = encoding.rounding == "stochastic" or encoding.rotate or encoding.bits == 1
    if stochastic:
        return Quantised(encoding.range, encoding.bits or 16, encoding.rotate, config.seed)
    return FixedPoint(encoding.range, encoding.bits or 20, rounding="nearest")


def _bits(config: Config, parameters: int, cohort: float) -> int:
    """The bits that noise asks for; they follow from the length that is sent, which stages may change."""
    training = local_training(config.local, config.training)
    return bits_for(sent_length(build_stages(config), parameters, training), cohort)


def _named(config: Config, parameters: int, cohort: float) -> Encoding:
    """An encoding by its registered name, with the settings of the table that it has fields for."""
    encoding, private = config.encoding, config.privacy.private
    rounding = encoding.rounding
    if rounding == "auto":
        rounding = "stochastic" if private or encoding.rotate else "nearest"
    bits = encoding.bits or (_bits(config, parameters, cohort) if private else 20)
    settings = {
        "clip": config.privacy.clip if private else encoding.range,
        "bits": bits,
        "rotate": encoding.rotate,
        "rounding": rounding,
        "rotation_seed": config.seed,
    }
    return part_of("encoding", encoding.kind, settings, encoding.options)
