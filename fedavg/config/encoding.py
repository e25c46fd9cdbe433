"""From a configuration's tables about traffic to an encoding and the places that are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.encoding.quantised import Quantised
from fedavg.encoding.random_k import RandomK
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from fedavg.config.settings import Config
    from fedavg.encoding.fixed_point import Encoding

__all__ = ["build_compression", "build_encoding"]


def build_compression(config: Config) -> RandomK | None:
    """The places that are sent, from `[compression]`; None for all."""
    if config.compression.kind == "none":
        return None
    return RandomK(config.compression.fraction, config.seed)


def build_encoding(config: Config, parameters: int) -> Encoding:
    """The encoding that noise, rounding and rotation ask for.

    Args:
        config: the configuration.
        parameters: d, of its model.

    Raises:
        ConfigError: a rounding that does not go with the noise or the bits.
        PlanError: bits or a range that no encoding takes.
    """
    encoding = config.encoding
    if config.privacy.noise != "none":
        if encoding.rounding == "nearest":
            raise ConfigError(
                "encoding.rounding = 'nearest' does not go with noise: its bound is on the norm of a "
                "stochastically rounded vector; leave it at 'auto'"
            )
        sent = build_compression(config)
        joined = config.local.scaffold and not config.local.steps  # see fedavg.algorithms.scaffold
        length = parameters * (2 if joined else 1) if sent is None else sent.length(parameters)
        bits = encoding.bits or bits_for(length)
        return FixedPoint(config.privacy.clip, bits, encoding.rotate, rotation_seed=config.seed)
    if encoding.rounding == "nearest" and (encoding.rotate or encoding.bits == 1):
        raise ConfigError(
            "encoding.rounding = 'nearest' goes neither with rotate = true nor with bits = 1: "
            "choose 'stochastic'"
        )
    stochastic = encoding.rounding == "stochastic" or encoding.rotate or encoding.bits == 1
    if stochastic:
        return Quantised(encoding.range, encoding.bits or 16, encoding.rotate, config.seed)
    return FixedPoint(encoding.range, encoding.bits or 20, rounding="nearest")
