"""Images of MNIST's shape in NPZ files: `x_train`, `y_train`, `x_test` and `y_test`, uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_bytes", "read_images", "scaled", "write_synthetic"]


def read_bytes(path: str, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of one part, "train" or "test", uint8[n, 784], with labels."""
    with np.load(path) as stored:
        images, labels = stored[f"x_{part}"], stored[f"y_{part}"]
    return images.reshape(len(images), -1), labels.astype(np.int64)


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """To [0, 1]."""
    return np.divide(images, np.float32(255), dtype=np.float32)


def read_images(path: str, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images of one part, float32[n, 784] in [0, 1], with labels."""
    images, labels = read_bytes(path, part)
    return scaled(images), labels


def write_synthetic(path: Path, examples: int = 60_000, tests: int = 2_000) -> None:
    """Images of MNIST's shape in ten classes, each around one of its own: for speed, not for accuracy."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (10, 28, 28)) * (rng.random((10, 28, 28)) < 0.2)
    arrays: dict[str, NDArray[np.uint8]] = {}
    for part, count in (("train", examples), ("test", tests)):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        spread = rng.integers(0, 200, (count, 28, 28), dtype=np.uint8)
        images = (centres[labels] // 2).astype(np.uint8) + spread // 2
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez(path, allow_pickle=False, **arrays)
