"""The table [blocks] of a configuration, made real for one model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.errors import ConfigError
from fedavg.models.layout import Layout

if TYPE_CHECKING:
    from torch import nn

    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.config.settings import BlocksConfig, LocalConfig

__all__ = ["blocks_of", "parse_bytes"]

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_FLOAT32 = 4
_KEPT = {
    "sgd": 0,
    "momentum": 1,
    "adam": 2,
    "adamw": 2,
}  # numbers that an optimiser keeps of a parameter


def parse_bytes(text: str) -> int:
    """Bytes of a size such as "2MB", "512 KiB" or "1.5 GB".

    Raises:
        ConfigError: no such size.

    Example:
        >>> parse_bytes("2MB"), parse_bytes("1.5 KiB")
        (2000000, 1536)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None:
        raise ConfigError(f"blocks.memory: {text!r} is no size such as '2MB' or '512KiB'")
    return int(float(found[1]) * unit)


def blocks_of(config: BlocksConfig, local: LocalConfig, model: nn.Module) -> Blocks | None:
    """Cut a model as a configuration says; None where it says nothing.

    Args:
        config: the table [blocks].
        local: how clients train, for what a memory budget has to hold.
        model: to be cut.

    Raises:
        ConfigError: keys that do not go together.
        PlanError: a model that cannot be cut so.
    """
    ways = [bool(config.count), bool(config.memory), bool(config.patterns)]
    if not any(ways):
        if config.share is not None:
            raise ConfigError("blocks.share goes with blocks.count: how many windows in a round?")
        return None
    if sum(ways) > 1:
        raise ConfigError("blocks: give one of count, memory and patterns")
    blocks = _rolling(config, model) if config.kind == "rolling" else _layers(config, local, model)
    blocks.check_model(model)
    return blocks


def _rolling(config: BlocksConfig, model: nn.Module) -> RollingBlocks:
    if not config.count:
        raise ConfigError("blocks.kind 'rolling' takes a count and a share, no memory or patterns")
    return RollingBlocks(Layout.of(model).shapes, config.count, config.share, config.seed)


def _layers(config: BlocksConfig, local: LocalConfig, model: nn.Module) -> LayerBlocks:
    if config.share is not None:
        raise ConfigError("blocks.share is of blocks.kind 'rolling': whole tensors have no share")
    layout = Layout.of(model)
    if config.patterns:
        return LayerBlocks.by_patterns(layout, config.patterns, seed=config.seed)
    if config.memory:
        each = _FLOAT32 * (1 + _KEPT[local.optimizer])
        budget = parse_bytes(config.memory)
        return LayerBlocks.by_memory(layout, budget, bytes_per_parameter=each, seed=config.seed)
    return LayerBlocks.by_count(layout, config.count, seed=config.seed)
