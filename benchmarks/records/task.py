"""The task: images of ten silos, and a convolutional network of 26,010 parameters."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

import fedavg
from benchmarks.kit.images import read_images, write_synthetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RECORDS", "SILOS", "Images", "network"]

SILOS, RECORDS = 10, 60_000
_MEAN, _STDDEV = 0.1307, 0.3081  # of MNIST's pixels: public constants of the benchmark


@dataclass(frozen=True)
class Images:
    """Records of ten silos, and public test images.

    Args:
        silos: each silo's records.
        test: the test images.
        real: whether these are images of digits, for which an accuracy means something.
    """

    silos: dict[int, fedavg.Dataset]
    test: fedavg.Dataset
    real: bool

    @classmethod
    def of(cls, path: str | None, *, few: bool, centred: bool = True) -> Images:
        """Read MNIST, or make images up; a tenth of them for a quick run.

        Args:
            path: MNIST as NPZ; None makes images up, for speed alone.
            few: whether a tenth of them is enough.
            centred: whether pixels have mean 0 and variance 1, by published figures, or are in [0, 1].
        """
        with tempfile.TemporaryDirectory() as folder:
            used = path
            if used is None:
                used = str(Path(folder) / "made_up.npz")
                write_synthetic(Path(used))
            train, test = (
                _scaled(*read_images(used, part), centred=centred) for part in ("train", "test")
            )
        order = np.random.default_rng(0).permutation(len(train))
        pieces = np.array_split(order[: len(order) // (10 if few else 1)], SILOS)
        return cls({i: train.subset(rows) for i, rows in enumerate(pieces)}, test, path is not None)

    @property
    def largest(self) -> int:
        """The public bound on a silo's records, which is exact in this benchmark."""
        return max(map(len, self.silos.values()))


def _scaled(
    images: NDArray[np.float32], labels: NDArray[np.int64], *, centred: bool
) -> fedavg.Dataset:
    pixels = ((images - _MEAN) / _STDDEV).astype(np.float32) if centred else images
    return fedavg.Dataset(pixels.reshape(-1, 1, 28, 28), labels)


def network(seed: int) -> nn.Module:
    """Two convolutions with tanh (Papernot et al. 2021; Tramèr and Boneh 2021): 26,010 parameters.

    Weights begin as Glorot and Bengio (2010) chose them for tanh. torch's own begin smaller, and the first
    steps of few are then slow.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 8, 2, 2), nn.Tanh(), nn.MaxPool2d(2, 1)),
            *(nn.Conv2d(16, 32, 4, 2), nn.Tanh(), nn.MaxPool2d(2, 1)),
            *(nn.Flatten(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 10)),
        )
        for part in model.parameters():
            if part.ndim > 1:
                nn.init.xavier_normal_(part)
            else:
                nn.init.zeros_(part)
    return model
