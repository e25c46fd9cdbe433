"""Feature skew: each client's features are shifted, rotated or made noisy, by a public seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import rotate

from fedavg import checks
from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset

__all__ = ["SkewName", "skew_features"]

SkewName = Literal["none", "affine", "rotation", "noise"]

_QUARTER_TURN = 90.0


def skew_features(
    clients: Mapping[int, Dataset], kind: SkewName, *, strength: float, seed: int
) -> dict[int, Dataset]:
    """Change the features of every client differently; the labels stay the same.

    Args:
        clients: the clients' model inputs, of about unit scale.
        kind: "affine" computes x ← (1 + a)·x + b, with a and b from N(0, strength²) for each client; a gain
            is at least a tenth. "rotation" turns square images by an angle from ±strength · 90°. "noise" adds
            N(0, (strength·k/(n − 1))²) to the features of the k-th of n clients (Li et al. 2022, §4.2).
        strength: zero or positive; at most 1 for "rotation".
        seed: public seed.

    Raises:
        DataError: the strength is out of range, or "rotation" is used on examples that are no square images.

    Example:
        >>> from fedavg.data.dataset import Dataset
        >>> one = Dataset(np.ones((1, 2)), np.array([0]))
        >>> skewed = skew_features({0: one, 1: one}, "noise", strength=1.0, seed=0)
        >>> skewed[0].features.tolist(), bool((skewed[1].features == 1).any())
        ([[1.0, 1.0]], False)
    """
    strength = checks.data.at_least("the strength of a feature skew", strength, 0)
    if kind == "rotation" and strength > 1:
        raise DataError(f"a rotation's strength is a share of 90°, at most 1, not {strength}")
    if kind == "none" or not strength:
        return dict(clients)
    # Ranks and not ids decide, so gaps between ids do not matter.
    last = max(len(clients) - 1, 1)
    return {
        client: data.with_features(_skewed(data, kind, strength, rank / last, [seed, rank]))
        for rank, (client, data) in enumerate(sorted(clients.items()))
    }


def _skewed(
    data: Dataset, kind: SkewName, strength: float, position: float, seed: list[int]
) -> NDArray[np.floating]:
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    if kind == "affine":
        gain, offset = rng.normal(0.0, strength, 2)
        # A gain near zero would erase the features.
        return data.features * max(1 + gain, 0.1) + offset
    if kind == "noise":
        return data.features + rng.normal(0.0, strength * position, data.features.shape)
    images = _as_images(data.features)
    angle = rng.uniform(-strength, strength) * _QUARTER_TURN
    # Interpolation of order 1 keeps values within their range.
    turned = rotate(images, angle, axes=(-2, -1), reshape=False, order=1)
    return turned.reshape(data.features.shape)


def _as_images(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """View features as [..., side, side]."""
    shape: list[int] = list(features.shape)
    if len(shape) > 2 and shape[-1] == shape[-2]:
        return features
    side = math.isqrt(shape[-1])
    if len(shape) != 2 or side < 2 or side * side != shape[-1]:
        raise DataError(
            f"examples of shape {shape[1:]} are no square images and cannot be rotated; choose "
            "feature_skew = 'affine' or 'noise'"
        )
    return features.reshape(len(features), side, side)
