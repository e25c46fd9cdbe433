"""The part `Scattering`: wavelet coefficients of images as fixed features; its values need no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from fedavg import checks
from fedavg.errors import PlanError
from fedavg.models.features.wavelets import Frame
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Scattering"]

_COLOURS = 4  # a first axis of at most so many counts colours


@register("features")
class Scattering(Part, frozen=True, tag="scattering"):
    """Normalised scattering coefficients of images, in front of a small model.

    Two orders of Morlet wavelets, moduli and averages give (1 + L·J + L²·J·(J−1)/2) maps of a colour, one
    place in 2^J×2^J pixels. Every group of coefficients is brought to mean 0 and variance 1 within its image.
    A linear model on them is the best known classifier of small images under small ε (Tramèr and Boneh 2021,
    arXiv 2011.11660). Nothing is learnt, so nothing is charged.

    Images have the shape [h, w] or [colours, h, w]; a row of numbers is read as a square image.

    Args:
        scales: J, from 1.
        angles: L, from 2. The wavelets are made for 8.
        groups: number of groups that are normalised; it divides the number of maps of all colours.

    Raises:
        PlanError: a value is out of range.

    Example:
        >>> Scattering().shape((28, 28)), Scattering().shape((3, 32, 32))
        ((3969,), (15552,))
        >>> Scattering().shape((30,))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fedavg.errors.PlanError: scattering is of images, and an example of shape 30 is none: ...
    """

    scales: int = 2
    angles: int = 8
    groups: int = 27
    kind: ClassVar[str] = "scattering"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, floor in (("scales", 1), ("angles", 2), ("groups", 1)):
            checks.plan.whole(name, getattr(self, name), floor)

    @property
    def maps(self) -> int:
        """Number of maps of one colour."""
        scales, angles = self.scales, self.angles
        return 1 + angles * scales + angles**2 * scales * (scales - 1) // 2

    def shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `FixedFeatures.shape`."""
        colours, rows, columns = self._frames(input_shape)
        return (colours * self.maps * rows.kept * columns.kept,)

    def module(self, input_shape: tuple[int, ...]) -> nn.Module:
        """See `FixedFeatures.module`."""
        from fedavg.models.features.transform import ScatteringTransform  # noqa: PLC0415 - loads torch

        colours, rows, columns = self._frames(input_shape)
        return ScatteringTransform(colours, rows, columns, angles=self.angles, groups=self.groups)

    def _frames(self, shape: tuple[int, ...]) -> tuple[int, Frame, Frame]:
        """Number of colours, and the frame's two axes."""
        words = "×".join(map(str, shape))
        colours, *sides = shape if len(shape) == 3 else (1, *shape)
        if len(sides) == 1:
            side = math.isqrt(sides[0])
            sides = [side, side] if side**2 == sides[0] else []
        if len(sides) != 2 or colours > _COLOURS:
            raise PlanError(
                f"scattering is of images, and an example of shape {words} is none: give images as "
                "[height, width] or [colours, height, width], a square one also as a row of its pixels, or "
                "leave features out"
            )
        rows, columns = (Frame(side, self.scales) for side in sides)
        if not (rows.fits and columns.fits):
            raise PlanError(
                f"scattering over {self.scales} scales needs images of more than {2**self.scales}×"
                f"{2**self.scales} pixels, and an example has the shape {words}: take fewer scales, or leave "
                "features out"
            )
        if colours * self.maps % self.groups:
            raise PlanError(
                f"groups={self.groups} does not divide the {colours * self.maps} maps of an example of shape "
                f"{words}: take {' or '.join(map(str, _divisors(colours * self.maps)))}"
            )
        return colours, rows, columns


def _divisors(number: int) -> list[int]:
    return [part for part in range(1, number + 1) if number % part == 0]
