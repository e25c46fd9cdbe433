"""Scattering coefficients in torch: two orders of wavelets, moduli and averages; nothing is learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from fedavg.models.features.wavelets import band_pass, low_pass

if TYPE_CHECKING:
    from fedavg.models.features.wavelets import Frame

__all__ = ["ScatteringTransform"]


class ScatteringTransform(nn.Module):
    """Images to normalised scattering coefficients (Bruna and Mallat 2013), flat.

    The coefficients of order 0 are averages of the image; of order 1, averages of |x ⋆ ψ₁|; of order 2,
    averages of ||x ⋆ ψ₁| ⋆ ψ₂|, for wavelets ψ₂ of larger scale than ψ₁. Groups of coefficients are brought
    to mean 0 and variance 1 within each image; no image is compared with another.

    Args:
        channels: number of colours.
        rows: the frame of the images' rows.
        columns: the frame of their columns.
        angles: L.
        groups: number of groups, a divisor of the number of maps.
    """

    def __init__(
        self, channels: int, rows: Frame, columns: Frame, *, angles: int, groups: int
    ) -> None:
        super().__init__()
        self._channels, self._rows, self._columns, self._groups = channels, rows, columns, groups
        scales = rows.scales
        # Keyed by the wavelet's scale and log2 of the distance of the pixels that it is applied to.
        self._wavelets = {
            (j, start): torch.from_numpy(band_pass(rows, columns, j, angles, start))
            for j in range(scales)
            for start in range(j + 1)
        }
        self._averages = [
            tuple(torch.from_numpy(low_pass(axis, start)) for axis in (rows, columns))
            for start in range(scales)
        ]

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32[n, maps·places] of float32[n, ...], images with so many pixels."""
        rows, columns = self._rows, self._columns
        count = len(images)
        each = images.reshape(count * self._channels, 1, rows.size, columns.size)
        margins = (columns.before, columns.after, rows.before, rows.after)
        padded = functional.pad(each, margins, mode="reflect")
        maps = self._maps(padded).reshape(count, -1, rows.kept, columns.kept)
        return functional.group_norm(maps, self._groups).flatten(1)

    def _maps(self, padded: torch.Tensor) -> torch.Tensor:
        """The averages of all orders, float32[images, maps, places, places]."""
        coefficients = torch.fft.fft2(padded)
        first, second = [self._averaged(padded, 0)], list[torch.Tensor]()
        scales = range(self._rows.scales)
        for j in scales:
            moduli = self._moduli(coefficients, j, 0)
            first.append(self._averaged(moduli, j))
            larger = [k for k in scales if k > j]
            if not larger:
                continue
            again = torch.fft.fft2(moduli)[:, :, None]
            found = [self._averaged(self._moduli(again, k, j), k) for k in larger]
            second.append(torch.cat(found, dim=2).flatten(1, 2))
        return torch.cat([*first, *second], dim=1)

    def _moduli(self, coefficients: torch.Tensor, scale: int, start: int) -> torch.Tensor:
        """|x ⋆ ψ| for all angles, on every 2^scale-th pixel; x is given on every 2^start-th."""
        product = coefficients * self._wavelets[scale, start]
        step = 1 << (scale - start)
        if step > 1:
            # Taking every step-th pixel is a mean over the bands of its coefficients.
            high, wide = product.shape[-2] // step, product.shape[-1] // step
            product = product.unflatten(-1, (step, wide)).mean(-2)
            product = product.unflatten(-2, (step, high)).mean(-3)
        return torch.fft.ifft2(product).abs()

    def _averaged(self, maps: torch.Tensor, start: int) -> torch.Tensor:
        down, across = self._averages[start]
        return down @ maps @ across.T
