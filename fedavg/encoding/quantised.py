"""Few-bit integers for runs without differential privacy: unbiased rounding, down to one bit.

A coordinate within ±range is rounded to one of its two neighbouring grid points, with the probability that
makes the mean correct (Alistarh et al. 2017, §3.1; Suresh et al. 2017, §2 and §3 for one bit and for the
rotation).  Clients send integers, so the sum is exact under every secure sum, and the decoder needs only the
sum. For n_k·x the integers are multiplied by n_k, and the decoder divides by Σ n_k.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from dp import random_uniform
from fedavg.encoding.fixed_point import BAND, decode_grid, rotate_signs, rotated_length
from fedavg.errors import CapacityError, NonFiniteError, PlanError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Quantised"]

_SPREAD = 3.0  # standard deviations of a rotated coordinate that the range covers
_LEAST_CLIP, _LARGEST_CLIP = 1e-100, 1e100


@register("encoding")
class Quantised(Part, frozen=True, tag="quantised"):
    """Stochastic rounding to 2^bits − 1 levels including zero, or to the two levels ±range with one bit.

    The range is ±clip for each coordinate.  With a rotation, clip bounds the Euclidean norm instead: a
    rotated vector of that norm has coordinates of standard deviation clip ÷ √d', and the range is three
    of them (or clip, if that is less).  Coordinates outside are clamped and not refused. The client's error
    feedback, if the plan has it, compensates for that in later rounds.

    A sum over n clients has the same 3n residues for one-bit and for two-bit values, and two bits (three
    levels) have the smaller variance at every x. One bit therefore helps only if the number of sent bits
    is all that matters.

    The norm of a rounded vector has no useful bound, so a plan with noise refuses this encoding;
    `FixedPoint` rounds conditionally.

    Args:
        clip: bound on every coordinate; with `rotate`, on the norm; in [1e-100, 1e100].
        bits: 1 … 32.
        rotate: whether to apply a randomised Hadamard rotation first, which pads to 2^k coordinates.
        rotation_seed: public seed of the rotation's signs; the same for all clients and the server.
        rounding_seed: public seed of the rounding, see `seeded`; None draws from the operating system.

    Example:
        >>> one = Quantised(clip=0.5, bits=1).seeded((7, 0, 3))
        >>> one.encode(np.array([0.5, -0.5, 9.0])).tolist()
        [1, -1, 1]
        >>> one.decode(np.array([3, -1, 1])).tolist()  # of three clients
        [1.5, -0.5, 0.5]
    """

    clip: float
    bits: int
    rotate: bool = False
    rotation_seed: int = 0
    rounding_seed: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.clip) and _LEAST_CLIP <= self.clip <= _LARGEST_CLIP):
            raise PlanError(f"clip must lie in 1e-100 … 1e100, not {self.clip!r}")
        if not 1 <= self.bits <= 32:
            raise PlanError(f"bits must lie in 1 … 32, not {self.bits!r}")

    @property
    def bounded(self) -> bool:
        """Whether encoded vectors have a bound on their norm to which noise can be calibrated."""
        return False

    @property
    def steps(self) -> int:
        """Grid units in the range: 2^(bits−1) − 1, or 1 for one bit."""
        # With one bit the formula gives 0, but the two levels are one unit from zero.
        return max(1, (1 << (self.bits - 1)) - 1)

    def range(self, vector_length: int) -> float:
        """Largest magnitude of a coordinate, after any rotation, that is not clamped."""
        if not self.rotate:
            return self.clip
        # A rotated coordinate cannot be larger than the whole vector, so the range never exceeds the norm.
        return self.clip * min(1.0, _SPREAD / math.sqrt(self.encoded_length(vector_length)))

    def at(self, clip: float) -> Quantised:
        """The same encoding with another clip."""
        return msgspec.structs.replace(self, clip=clip)

    def seeded(self, seed: tuple[int, ...]) -> Quantised:
        """The same encoding with rounding by a public seed; without noise its secrecy protects nothing.

        Two runs, and two secure sums, then agree to the bit.
        """
        return msgspec.structs.replace(self, rounding_seed=seed)

    def encoded_length(self, vector_length: int) -> int:
        """Length of the encoded vector: the same, or the next power of two when rotated."""
        return rotated_length(vector_length, rotate=self.rotate)

    def max_abs(self, vector_length: int) -> int:
        """Bound on the magnitude of any one encoded coordinate, in grid units."""
        del vector_length
        return self.steps

    def l2_sensitivity(self, vector_length: int) -> float:
        """The largest norm that the range allows, √d'·steps: too large for any useful noise."""
        return math.sqrt(self.encoded_length(vector_length)) * self.steps

    def l1_sensitivity(self, vector_length: int) -> float:
        """The largest L1 norm that the range allows, d'·steps."""
        return float(self.encoded_length(vector_length) * self.steps)

    def grid_units(self, vector_length: int) -> float:
        """Grid units in one real unit: steps ÷ range."""
        return self.steps / self.range(vector_length)

    def clamped(self, vector: NDArray[np.float64]) -> int:
        """Number of coordinates outside the range, for the client's own log."""
        turned = rotate_signs(vector, self.rotation_seed) if self.rotate else vector
        return int((np.abs(turned) > self.range(vector.size)).sum())

    def encode(self, vector: NDArray[np.float64]) -> NDArray[np.int64]:
        """Map a real vector to integers; unbiased within the range.  Run by the client.

        Args:
            vector: float64[d].

        Returns:
            int64[d'], within ±`steps`; odd for one bit.

        Raises:
            NonFiniteError: the vector holds NaN or infinity.
            CapacityError: the array is no vector.
        """
        vector = np.asarray(vector, dtype=np.float64)
        if vector.ndim != 1 or vector.size == 0:
            raise CapacityError(f"expected a vector, got an array of shape {vector.shape}")
        if not bool(np.isfinite(vector).all()):
            raise NonFiniteError("the update holds NaN or infinity; lower the learning rate")
        turned = rotate_signs(vector, self.rotation_seed) if self.rotate else vector
        limit, uniform = self.range(vector.size), self._uniform()
        rounded = np.empty(turned.size, np.int64)
        for start in range(0, turned.size, BAND):
            part = turned[start : start + BAND] / limit
            # Values outside are clamped and not refused: without noise no sensitivity depends on them.
            np.clip(part, -1.0, 1.0, out=part)
            rounded[start : start + BAND] = self._rounded(part, uniform)
        return rounded

    def _rounded(
        self, unit: NDArray[np.float64], uniform: Callable[[int], NDArray[np.float64]]
    ) -> NDArray[np.int64]:
        """Values in [−1, 1] on the grid, of 2^bits − 1 levels, or for one bit of two."""
        if self.bits == 1:
            return 2 * _round((unit + 1) / 2, uniform(unit.size)) - 1
        return _round(unit * self.steps, uniform(unit.size))

    def _uniform(self) -> Callable[[int], NDArray[np.float64]]:
        """A source of uniform numbers: bands of any size are consecutive parts of one stream."""
        if self.rounding_seed is None:
            return random_uniform
        return np.random.default_rng(self.rounding_seed).random  # noqa: TID251 - public seed

    def decode(
        self, total: NDArray[np.int64], vector_length: int | None = None
    ) -> NDArray[np.float64]:
        """Map a sum of encoded vectors back to reals.  Run by the server; by a client on its own vector.

        Args:
            total: int64[d'] (a sum, weighted or not) or float64[d'] (a mean) in grid units.
            vector_length: d, to remove a rotation's padding; needed with `rotate` unless d = d'.

        Returns:
            float64[d], or float64[d'] when `vector_length` is not given.
        """
        length = total.size if vector_length is None else vector_length
        real: NDArray[np.float64] = np.true_divide(total, self.grid_units(length))
        return decode_grid(real, vector_length, self.rotation_seed if self.rotate else None)


def _round(grid: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round up with the probability of the fractional part; grid points do not change."""
    low = np.floor(grid)
    return low.astype(np.int64) + (uniform < grid - low)
