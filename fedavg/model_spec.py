"""How every process of a simulation builds the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ModelSpec"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How every process builds the same model.

    Args:
        name: a built-in name or an import path "package.module:factory".
        input_shape: shape of one example.
        num_classes: outputs.
        seed: public seed of the initial weights.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    seed: int = 0

    def build(self) -> nn.Module:
        """Build the module."""
        from fedavg.models import build_model  # noqa: PLC0415 - loads torch

        return build_model(self.name, self.input_shape, self.num_classes, seed=self.seed)
