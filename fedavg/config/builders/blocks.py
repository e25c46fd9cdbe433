"""Blocks of one model, from the table [blocks] of a configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from fedavg.algorithms.blocks.interface import Cuts
from fedavg.errors import ConfigError
from fedavg.models.layout import Layout
from fedavg.optimizers.local import kept_per_parameter
from fedavg.parts import named

if TYPE_CHECKING:
    from torch import nn

    from fedavg.algorithms.blocks.interface import Blocks, NamedBlocks
    from fedavg.config.settings import BlocksConfig, LocalConfig

__all__ = ["blocks_of", "parse_bytes"]

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_FLOAT32 = 4


def parse_bytes(text: str) -> int:
    """Number of bytes of a size such as "2MB", "512 KiB" or "1.5 GB".

    Raises:
        ConfigError: the text is no such size.

    Example:
        >>> parse_bytes("2MB"), parse_bytes("1.5 KiB")
        (2000000, 1536)
    """
    found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None:
        raise ConfigError(f"blocks.memory: {text!r} is no size such as '2MB' or '512KiB'")
    return int(float(found[1]) * unit)


def blocks_of(config: BlocksConfig, local: LocalConfig, model: nn.Module) -> Blocks | None:
    """Cut a model as a configuration says; None if it has no blocks.

    Args:
        config: the table [blocks].
        local: settings of local training, which decide what a memory budget has to hold.
        model: model to cut.

    Raises:
        ConfigError: keys do not go together.
        PlanError: the model cannot be cut in this way.
    """
    ways = [bool(config.count), bool(config.memory), bool(config.patterns)]
    if not any(ways):
        if config.share is not None:
            raise ConfigError(
                "blocks.share needs blocks.count, the number of windows in a round: give both, or leave out "
                "blocks.share"
            )
        return None
    # Two of them would each fix the number of blocks, and only one could be followed.
    if sum(ways) > 1:
        raise ConfigError(
            "blocks.count, blocks.memory and blocks.patterns are three ways to cut a model: give one of them"
        )
    kind = named("blocks", config.kind)
    if not hasattr(kind, "cut"):
        raise ConfigError(
            f"blocks.kind {config.kind!r} has no classmethod cut(layout, cuts): make these blocks in Python, "
            "for Plan(blocks=…)"
        )
    cuts = Cuts(
        count=config.count,
        share=config.share,
        memory=parse_bytes(config.memory) if config.memory else 0,
        patterns=config.patterns,
        bytes_per_parameter=_FLOAT32 * (1 + kept_per_parameter(local.optimizer)),
        seed=config.seed,
    )
    blocks = cast("type[NamedBlocks]", kind).cut(Layout.of(model), cuts)
    # The module is checked here, because the layout alone does not show whether a client can train a part.
    blocks.check_model(model)
    return blocks
