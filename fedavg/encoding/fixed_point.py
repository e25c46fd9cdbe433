"""Conversion of real vectors to integers on a public grid and back, with a bound on the rounded norm.

The pipeline adds integers exactly. A real update is (optionally) rotated, multiplied by a public scale and
rounded; the sum of such vectors is decoded by the same steps in reverse. Stochastic rounding is *conditional*
(Kairouz, Liu, Steinke 2021, Section 4.2): it is repeated until the rounded norm is within a bound. Every
client's vector is always within that bound, which is the sensitivity that the noise is calibrated to.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Literal, Protocol, Self

import msgspec
import numpy as np

from dp import random_uniform
from fedavg import checks
from fedavg.errors import CapacityError, NonFiniteError, PlanError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BAND",
    "Encoding",
    "FixedPoint",
    "bits_for",
    "decode_grid",
    "hadamard",
    "rotate_signs",
    "rotated_length",
]

BAND = 1 << 15
"""Number of coordinates that are rounded at a time, so that they stay in the cache."""

_TRIES = 64  # each succeeds with probability ≥ 1 − e^(−1/2); all fail with probability < 1e-13
_LOG_INVERSE_BETA = 0.5  # β = e^(−1/2), the paper's choice
_ROUNDING_SLACK = 1 + 1e-9  # float64 arithmetic on norms stays far inside this


def hadamard(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the orthonormal Walsh–Hadamard transform of a vector of length 2^k.

    Args:
        vector: float64[2^k].

    Returns:
        float64[2^k] of the same Euclidean norm; the transform is its own inverse.

    Raises:
        PlanError: the length is not a power of two.

    Example:
        >>> hadamard(np.array([1.0, 1.0])).round(6).tolist()
        [1.414214, 0.0]
    """
    length = vector.size
    if length == 0 or length & (length - 1):
        raise PlanError(f"a Walsh–Hadamard transform needs a length 2^k, not {length}")
    out, room, half = np.array(vector, dtype=np.float64), np.empty(length), length // 2
    for _ in range(length.bit_length() - 1):
        # Neighbours are combined, and the lowest bit of an index moves to the top; in the end all are back.
        np.add(out[::2], out[1::2], out=room[:half])
        np.subtract(out[::2], out[1::2], out=room[half:])
        out, room = room, out
    # The factor makes the transform orthonormal, so a rotation does not change the norm that was clipped.
    return np.divide(out, math.sqrt(length), out=out)


def bits_for(vector_length: int, cohort: float = 1) -> int:
    """Return the smallest bit width at which stochastic rounding costs about 1 % of the norm.

    The width satisfies clip·scale ≥ 3.5·√d, where clip·scale = 2^(bits−1) − 1.  For n clients that add shares
    of noise, clip·scale is also at least 8·√n. Then each share spans two units of the grid
    (`dp.RoundedGaussianSumEvent`), if the total noise is a third of the clip or more.

    Args:
        vector_length: d, number of parameters.
        cohort: n, expected number of clients a round.

    Example:
        >>> bits_for(1970), bits_for(6, 90)
        (9, 8)
    """
    fineness = max(3.5 * math.sqrt(max(vector_length, 1)), 8 * math.sqrt(cohort))
    return 1 + math.ceil(math.log2(fineness + 1))


class Encoding(Protocol):
    """A conversion of real vectors to integers and back: `FixedPoint`, or without noise `Quantised`.

    Example:
        >>> from fedavg import Quantised
        >>> update = np.array([0.5, -0.25, 0.7])
        >>> def error(encoding: Encoding) -> float:
        ...     return float(abs(encoding.decode(encoding.encode(update), 3) - update).max())
        >>> error(FixedPoint(1.0, 16, rounding="nearest")) < 1e-4, error(Quantised(1.0, 8)) < 0.01
        (True, True)
    """

    @property
    def clip(self) -> float:
        """Public bound on the input."""
        ...

    @property
    def bits(self) -> int:
        """Width of one encoded coordinate."""
        ...

    @property
    def rotate(self) -> bool:
        """Whether the vector is rotated first."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether encoded vectors have a bound on their norm to which noise can be calibrated."""
        ...

    def at(self, clip: float) -> Self:
        """The same encoding with another clip."""
        ...

    def seeded(self, seed: tuple[int, ...]) -> Self:
        """The same encoding with rounding by a public seed, if its secrecy protects nothing."""
        ...

    def encoded_length(self, vector_length: int) -> int:
        """d', the length of an encoded vector."""
        ...

    def max_abs(self, vector_length: int) -> int:
        """Bound on the magnitude of any one encoded coordinate, in grid units."""
        ...

    def l2_sensitivity(self, vector_length: int) -> float:
        """Bound on the Euclidean norm of an encoded vector, in grid units."""
        ...

    def l1_sensitivity(self, vector_length: int) -> float:
        """Bound on the L1 norm of an encoded vector, in grid units."""
        ...

    def grid_units(self, vector_length: int) -> float:
        """Grid units in one real unit."""
        ...

    def clamped(self, vector: NDArray[np.float64]) -> int:
        """Number of coordinates outside the range."""
        ...

    def encode(self, vector: NDArray[np.float64]) -> NDArray[np.int64]:
        """Map float64[d] to int64[d'].  Run by the client."""
        ...

    def decode(
        self, total: NDArray[np.int64], vector_length: int | None = None
    ) -> NDArray[np.float64]:
        """Map a sum of encoded vectors back to float64[d].  Run by the server."""
        ...


def rotated_length(vector_length: int, *, rotate: bool) -> int:
    """Length of an encoded vector: the same, or the next power of two when rotated.

    Raises:
        PlanError: the vector has no coordinate.
    """
    vector_length = checks.plan.whole("vector_length", vector_length)
    return 1 << (vector_length - 1).bit_length() if rotate else vector_length


def rotate_signs(vector: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The randomised Hadamard rotation of float64[d], padded to float64[2^k].

    Args:
        vector: float64[d].
        seed: public seed of the random signs.
    """
    padded = np.zeros(rotated_length(vector.size, rotate=True))
    padded[: vector.size] = vector
    return hadamard(padded * _signs(padded.size, seed))


def decode_grid(
    real: NDArray[np.float64], vector_length: int | None, rotation_seed: int | None
) -> NDArray[np.float64]:
    """Undo a rotation, if there was one, and remove its padding."""
    if rotation_seed is not None:
        real = hadamard(real) * _signs(real.size, rotation_seed)
    return real if vector_length is None else real[:vector_length]


@functools.lru_cache(maxsize=2)  # the clients of one process, and its server, use the same signs
def _signs(length: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)  # noqa: TID251 - public seed
    signs = generator.integers(0, 2, length).astype(np.float64) * 2 - 1
    # The signs are shared through the cache, so nobody may write into them.
    signs.flags.writeable = False
    return signs


@register("encoding")
class FixedPoint(Part, frozen=True, tag="fixed-point"):
    """Fixed-point encoding with scale (2^(bits−1) − 1) ÷ clip.

    With ``rounding="stochastic"`` (needed under differential privacy), `clip` bounds the Euclidean norm of
    the input, and rounding is unbiased and conditional.  With ``rounding="nearest"`` (for exact averaging
    without privacy noise), `clip` bounds every coordinate, and rounding is deterministic, so that runs under
    different secure sums agree to the bit.

    Args:
        clip: bound on the input, > 0.
        bits: signed bits of one encoded coordinate, 2 … 40.
        rotate: whether to apply a randomised Hadamard rotation first, which pads to 2^k coordinates.
        rounding: "stochastic" or "nearest".
        rotation_seed: public seed of the rotation's signs; the same for all clients and the server.

    Example:
        >>> encoding = FixedPoint(clip=1.0, bits=8, rounding="nearest")
        >>> encoding.encode(np.array([0.5, -1.0])).tolist()
        [64, -127]
        >>> encoding.decode(np.array([127, -127])).tolist()
        [1.0, -1.0]
    """

    clip: float
    bits: int
    rotate: bool = False
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    rotation_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.positive("clip", self.clip)
        if not 2 <= self.bits <= 40:
            raise PlanError(
                f"bits must lie in 2 … 40, not {self.bits!r}; without noise, Quantised takes 1 as well"
            )
        if self.rounding not in ("stochastic", "nearest"):
            raise PlanError(f"rounding must be 'stochastic' or 'nearest', not {self.rounding!r}")
        if self.rotate and self.rounding == "nearest":
            raise PlanError(
                "a rotated vector has no coordinate bound: use rounding='stochastic' with rotate=True, "
                "or without noise Quantised, which clamps"
            )

    @property
    def steps(self) -> int:
        """Grid units in `clip`: 2^(bits−1) − 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def scale(self) -> float:
        """Grid units in one real unit."""
        return self.steps / self.clip

    @property
    def bounded(self) -> bool:
        """Whether encoded vectors have a bound on their norm to which noise can be calibrated."""
        return self.rounding == "stochastic"

    def at(self, clip: float) -> FixedPoint:
        """The same encoding with another clip."""
        return msgspec.structs.replace(self, clip=clip)

    def seeded(self, seed: tuple[int, ...]) -> FixedPoint:
        """The encoding itself: "nearest" needs no seed, and under noise the rounding stays secret."""
        del seed
        return self

    def grid_units(self, vector_length: int) -> float:
        """`scale`, which does not depend on the length."""
        del vector_length
        return self.scale

    def clamped(self, vector: NDArray[np.float64]) -> int:
        """Zero: this encoding clamps nothing."""
        del vector
        return 0

    def encoded_length(self, vector_length: int) -> int:
        """Length of the encoded vector: the same, or the next power of two when rotated."""
        return rotated_length(vector_length, rotate=self.rotate)

    def max_abs(self, vector_length: int) -> int:
        """Bound on the magnitude of any one encoded coordinate, in grid units."""
        if self.rounding == "nearest":
            return self.steps
        # No coordinate can be larger than the whole vector.
        return math.floor(self.l2_sensitivity(vector_length))

    def l2_sensitivity(self, vector_length: int) -> float:
        """Bound on the Euclidean norm of an encoded vector, in grid units, rounding included.

        Kairouz, Liu, Steinke 2021, Theorem 1: √min{(c+√d)², c²+d/4+√(2 ln 1/β)(c+√d/2)} with
        c = clip·scale; for rounding to nearest c + √d/2, which holds for inputs of norm ≤ clip.

        Example:
            >>> round(FixedPoint(clip=0.5, bits=9).l2_sensitivity(1970), 1)
            256.5
        """
        length = self.encoded_length(vector_length)
        # The clip norm times the scale is `steps`, so the bound in grid units does not depend on the clip
        # norm.
        c, root = float(self.steps), math.sqrt(length)
        if self.rounding == "nearest":
            return c + root / 2
        tail = math.sqrt(2 * _LOG_INVERSE_BETA) * (c + root / 2)
        return math.sqrt(min((c + root) ** 2, c * c + length / 4 + tail))

    def l1_sensitivity(self, vector_length: int) -> float:
        """Bound on the L1 norm of an encoded vector: min(√d·Δ₂, Δ₂²), since it is integral."""
        l2 = self.l2_sensitivity(vector_length)
        return min(math.sqrt(self.encoded_length(vector_length)) * l2, l2 * l2)

    def encode(self, vector: NDArray[np.float64]) -> NDArray[np.int64]:
        """Map a real vector to integers.  Run by the client.

        Args:
            vector: float64[d], of Euclidean norm ≤ clip (stochastic) or coordinates within ±clip.

        Returns:
            int64[d'], always of norm ≤ `l2_sensitivity(d)` (stochastic), or with coordinates ≤ `steps`.

        Raises:
            NonFiniteError: the vector holds NaN or infinity.
            CapacityError: the vector exceeds the bound.
        """
        vector = np.asarray(vector, dtype=np.float64)
        if vector.ndim != 1 or vector.size == 0:
            raise CapacityError(f"expected a vector, got an array of shape {vector.shape}")
        if self.rounding == "nearest":
            return self._encode_nearest(vector)
        if not bool(np.isfinite(vector).all()):
            raise NonFiniteError("the update holds NaN or infinity; lower the learning rate")
        # Noise is sized by the bound on the norm, so a vector beyond it must not be encoded at all.
        if float(np.linalg.norm(vector)) > self.clip * _ROUNDING_SLACK:
            raise CapacityError(f"the update's norm exceeds clip={self.clip}; clip it first")
        return self._round_conditionally(self._rotated(vector), vector.size)

    def _encode_nearest(self, vector: NDArray[np.float64]) -> NDArray[np.int64]:
        # NaN makes both comparisons false and ends up here as well.
        if not (-self.clip <= float(vector.min()) and float(vector.max()) <= self.clip):
            if not bool(np.isfinite(vector).all()):
                raise NonFiniteError("the update holds NaN or infinity; lower the learning rate")
            raise CapacityError(
                f"a coordinate of the update exceeds the encoding's range ±{self.clip}: "
                "lower the learning rate, or raise the range (`range` in the table [encoding] of a "
                "configuration, FixedPoint(clip=…) in Python)"
            )
        rounded, room = np.empty(vector.size, np.int64), np.empty(min(BAND, vector.size))
        for start in range(0, vector.size, BAND):
            part = vector[start : start + BAND]
            grid = np.multiply(part, self.scale, out=room[: part.size])
            rounded[start : start + BAND] = np.rint(grid, out=grid)
        return rounded

    def _round_conditionally(
        self, real: NDArray[np.float64], vector_length: int
    ) -> NDArray[np.int64]:
        bound, scale = self.l2_sensitivity(vector_length) ** 2, self.scale
        rounded = np.empty(real.size, np.int64)
        for _ in range(_TRIES):
            squares = 0.0
            for start in range(0, real.size, BAND):
                part = real[start : start + BAND] * scale
                np.floor(np.add(part, random_uniform(part.size), out=part), out=part)
                squares += float(part @ part)
                rounded[start : start + BAND] = part
            # The slack is on the strict side: rounding errors in the sum of squares accept no vector beyond
            # the bound.
            if squares * _ROUNDING_SLACK <= bound:
                return rounded
        return np.trunc(real * scale).astype(np.int64)  # truncation never lengthens a vector

    def decode(
        self, total: NDArray[np.int64], vector_length: int | None = None
    ) -> NDArray[np.float64]:
        """Map a sum of encoded vectors back to reals.  Run by the server.

        Args:
            total: int64[d'] (a sum) or float64[d'] (a mean) in grid units.
            vector_length: d, to remove a rotation's padding.

        Returns:
            float64[d], or float64[d'] when `vector_length` is not given.
        """
        real: NDArray[np.float64] = np.true_divide(
            total, self.scale
        )  # no array of floats in between
        return decode_grid(real, vector_length, self.rotation_seed if self.rotate else None)

    def _rotated(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return rotate_signs(vector, self.rotation_seed) if self.rotate else vector
