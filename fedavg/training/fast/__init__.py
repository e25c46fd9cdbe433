"""Fast paths: hand-written gradients for the most common models, tried in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.training.fast.convolutional import ConvolutionalPath
from fedavg.training.fast.dense import DensePath
from fedavg.training.fast.stacked import StackedPath

if TYPE_CHECKING:
    from fedavg.training.fast.interface import FastPath

__all__ = ["FAST_PATHS", "STACKED"]

STACKED = StackedPath()
FAST_PATHS: list[FastPath] = [STACKED, DensePath(), ConvolutionalPath()]
