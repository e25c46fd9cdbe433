"""Morlet wavelets of several scales and angles as multipliers of Fourier coefficients; numpy only.

The family is that of Kymatio (Andreux et al. 2020) and of Oyallon and Mallat 2015: Gabor functions of width
0.8·2^j and frequency (3/4)·π/2^j, less a multiple of their envelope that makes their sum zero. The low-pass
filter is a Gaussian of width 0.8·2^(J−1). All of it follows from the numbers of scales and angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Frame", "band_pass", "low_pass"]

_WIDTH, _FREQUENCY = 0.8, 0.75 * math.pi
_COPIES = range(-2, 3)  # periods on each side whose tails reach into the frame


@dataclass(frozen=True, slots=True)
class Frame:
    """The padded frame of an image, along one axis.

    Args:
        size: number of pixels.
        scales: J. The frame is a multiple of 2^J, at least 2^J larger than the image.

    Example:
        >>> frame = Frame(28, 2)
        >>> frame.padded, frame.before, frame.after, frame.kept
        (36, 4, 4, 7)
    """

    size: int
    scales: int

    @property
    def padded(self) -> int:
        """The size of the frame."""
        return ((self.size >> self.scales) + 2) << self.scales

    @property
    def before(self) -> int:
        """Number of mirrored pixels before the image."""
        return (self.padded - self.size) // 2

    @property
    def after(self) -> int:
        """Number of mirrored pixels behind the image."""
        return self.padded - self.size - self.before

    @property
    def kept(self) -> int:
        """Number of places of the averages: one in 2^J pixels, without the margins."""
        return self.size >> self.scales

    @property
    def fits(self) -> bool:
        """Whether the image is large enough to be mirrored at its borders."""
        return self.kept >= 1 and max(self.before, self.after) < self.size


def band_pass(
    rows: Frame, columns: Frame, scale: int, angles: int, start: int = 0
) -> NDArray[np.float32]:
    """The multipliers of one scale's wavelets, float32[angles, m, n], for images on every 2^start-th pixel.

    Args:
        rows: the frame's rows.
        columns: the frame's columns.
        scale: j, from 0.
        angles: L.
        start: log2 of the distance of the pixels.
    """
    found = [
        _folded(_wavelet(rows.padded, columns.padded, scale, angles, angle), start)
        for angle in range(angles)
    ]
    return np.stack(found).astype(np.float32)


def low_pass(frame: Frame, start: int) -> NDArray[np.float32]:
    """The averages along one axis as a matrix, float32[kept, m].

    The Gaussian has the same width in all directions, so that it is a product of one for rows and one for
    columns: two small products of matrices replace a Fourier transform.

    Args:
        frame: the axis.
        start: log2 of the distance of the pixels that are averaged.
    """
    size = frame.padded
    width = _WIDTH * 2 ** (frame.scales - 1)
    places = np.arange(size)[:, None] + size * np.array(_COPIES)
    bell = np.exp(-((places / width) ** 2) / 2).sum(1) / (math.sqrt(2 * math.pi) * width)
    multipliers = _folded(np.fft.fft(bell).real[:, None], start, axes=(0,))[:, 0]
    impulses = np.eye(size >> start)
    averaged = np.fft.ifft(np.fft.fft(impulses, axis=0) * multipliers[:, None], axis=0).real
    chosen = averaged[:: 1 << (frame.scales - start)]
    return chosen[1:-1].astype(np.float32)  # the first and the last average lie in the margins


def _wavelet(rows: int, columns: int, scale: int, angles: int, angle: int) -> NDArray[np.float64]:
    """One Morlet wavelet's Fourier coefficients, which are real, float64[rows, columns]."""
    width, frequency, slant = _WIDTH * 2**scale, _FREQUENCY / 2**scale, 4.0 / angles
    turn = ((angles - 2) // 2 - angle) * math.pi / angles
    total = np.zeros((2, rows, columns), complex)
    for down in _COPIES:
        for right in _COPIES:
            y, x = np.mgrid[:rows, :columns]
            y, x = y + down * rows, x + right * columns
            along = y * math.cos(turn) + x * math.sin(turn)
            across = -y * math.sin(turn) + x * math.cos(turn)
            envelope = np.exp(-(along**2 + (slant * across) ** 2) / (2 * width**2))
            total += envelope * np.stack([np.exp(1j * frequency * along), np.ones_like(along)])
    wave, envelope = total
    zero_sum = wave - wave.sum() / envelope.sum() * envelope
    return np.fft.fft2(zero_sum).real * slant / (2 * math.pi * width**2)


def _folded(
    coefficients: NDArray[np.float64], start: int, axes: tuple[int, ...] = (0, 1)
) -> NDArray[np.float64]:
    """The coefficients of a filter on every 2^start-th pixel: those of high frequencies are left out."""
    found = coefficients
    for axis in axes:
        size = found.shape[axis]
        kept, half = size >> start, size >> (start + 1)
        moved = np.moveaxis(found, axis, 0).copy()
        moved[half : half + size - kept] = 0.0
        found = np.moveaxis(moved.reshape(1 << start, kept, *moved.shape[1:]).sum(0), 0, axis)
    return found
