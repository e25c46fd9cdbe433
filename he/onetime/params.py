"""Parameters of sums under one-time keys: the ring, and the layout of integers in its coefficients."""

from __future__ import annotations

import functools
import hashlib
import struct
from dataclasses import dataclass, field
from typing import cast

from he.errors import CapacityError, UnsafeParametersError, WireFormatError
from he.guards.checks import integer, octets
from he.params import MAX_VECTOR_LENGTH

__all__ = ["KEY_BOUND", "LIMB_BITS", "MAX_CLIENTS", "Layout", "Params"]

KEY_BOUND = 21
"""Largest magnitude of a coefficient of a key, and of an error: both are centred binomials of 42 coins."""

MAX_CLIENTS = 1560
"""Largest number of clients: 1,560 · 21 < 2^15, so that a sum of keys fits the field of 65,537 elements."""

LIMB_BITS = 16
"""Coefficients are handled in limbs of this size; the sum of 1,560 limbs fits 32 bits."""

_CAPS = {2048: 6, 4096: 13, 8192: 26}
"""Degree to the largest number of bytes of a coefficient.

These are 48, 104 and 208 bits. lattice-estimator (MATZOV's cost model; uSVP and BDD) gives at least 128 bits
of security up to log2 q = 53, 106 and 214 for keys and errors of half the binomial's standard deviation,
which is less than remains after the sums of keys and of errors are known.
"""

_MAX_ABS = (1 << 62) - 1
_MAX_FIELD_BITS = 63
_KEY_COST = 4  # bytes that a coefficient of a key costs a client in the sum of keys, about
_FEWEST = 128
"""Fewest coefficients sent of a polynomial: each shows a wrong sum with probability ½ or more."""
_CHUNK = 16384  # coefficients in a chunk, 0.4 MB at most
_CODED = struct.Struct("<4sIQQ")
_MAGIC = b"HE1P"


@dataclass(frozen=True, slots=True)
class Layout:
    """The ring and the place of integers in its coefficients.

    A coefficient has, from its lowest bit: `noise_bits` bits of noise, then `fields` integers of `field_bits`
    bits each. Together they fill `word_bytes` bytes, and q = 2^(8·word_bytes).

    Args:
        degree: N, number of coefficients of a polynomial.
        word_bytes: number of bytes of a coefficient.
        fields: number of integers in a coefficient.
        field_bits: bits of an integer of the sum, with its sign.
        noise_bits: bits for the noise of a sum, at least two more than its bound needs.
    """

    degree: int
    word_bytes: int
    fields: int
    field_bits: int
    noise_bits: int

    @property
    def limbs(self) -> int:
        """Number of limbs of a coefficient; the last one may be half used."""
        return -(-self.word_bytes // 2)

    def place(self, field_index: int) -> int:
        """The lowest bit of a field."""
        return self.noise_bits + field_index * self.field_bits


@dataclass(frozen=True, slots=True)
class Params:
    """All parameters of a sum; the layout follows uniquely from the three arguments.

    The modulus is a power of two, so every string of bytes is a ciphertext in its one form. The noise of a
    sum of n ciphertexts is at most 21·n for all inputs, and stays below a quarter of its room. So no
    sum opens to a wrong digit. Each coefficient shows a wrong sum of keys with probability ½ at least, and a
    polynomial has at least 128 of them.

    Args:
        n_clients: largest number of clients in a sum, 2 … 1,560.
        max_abs: bound on the magnitude of each input, 1 … 2^62 − 1.
        vector_length: number of integers of each client, 1 … 2^32.

    Attributes:
        layout: the ring and the layout with the smallest uploads, keys included.

    Raises:
        CapacityError: no layout holds such a sum.
        UnsafeParametersError: a value has another type, or is outside the ranges above.

    Example:
        >>> params = Params(n_clients=1000, max_abs=2**15, vector_length=1_000_000)
        >>> params.degree, params.fields, params.word_bytes
        (8192, 7, 25)
        >>> 8 * params.upload_bytes / params.vector_length < 28.7  # bits for each integer
        True
    """

    n_clients: int
    max_abs: int
    vector_length: int
    layout: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        refused = UnsafeParametersError
        checked = {
            "n_clients": integer("n_clients", self.n_clients, 2, MAX_CLIENTS, refused),
            "max_abs": integer("max_abs", self.max_abs, 1, _MAX_ABS, refused),
            "vector_length": integer(
                "vector_length", self.vector_length, 1, MAX_VECTOR_LENGTH, refused
            ),
        }
        for name, value in checked.items():  # numpy's integers become Python's
            object.__setattr__(self, name, value)
        object.__setattr__(self, "layout", _layout(self))

    @property
    def degree(self) -> int:
        """N: number of coefficients of a key, and of a polynomial."""
        return self.layout.degree

    @property
    def fields(self) -> int:
        """Number of integers in a coefficient."""
        return self.layout.fields

    @property
    def word_bytes(self) -> int:
        """Number of bytes of a coefficient; q = 2^(8·word_bytes)."""
        return self.layout.word_bytes

    @property
    def polynomials(self) -> int:
        """Number of polynomials of an upload, of which the last may have fewer coefficients."""
        return -(-self.vector_length // (self.degree * self.fields))

    @property
    def chunks(self) -> int:
        """Number of chunks of an upload."""
        return -(-self.polynomials // self.polynomials_in_chunk)

    @property
    def polynomials_in_chunk(self) -> int:
        """Largest number of polynomials in a chunk."""
        return _CHUNK // self.degree

    @property
    def upload_bytes(self) -> int:
        """Bytes of all ciphertexts of an upload, without headers."""
        return sum(self.width(number) for number in range(self.polynomials)) * self.word_bytes

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that name these parameters in messages."""
        return hashlib.sha256(b"he one-time parameters" + self.to_bytes()).digest()[:16]

    def width(self, number: int) -> int:
        """Number of coefficients sent of a polynomial.

        All, or in the last one those that hold integers, and at least 128.
        """
        left = self.vector_length - number * self.degree * self.fields
        return min(self.degree, max(_FEWEST, -(-left // self.fields)))

    def in_chunk(self, index: int) -> range:
        """The numbers of the polynomials in a chunk."""
        first = index * self.polynomials_in_chunk
        return range(first, min(first + self.polynomials_in_chunk, self.polynomials))

    def to_bytes(self) -> bytes:
        """Encode in canonical form, 24 bytes.

        Example:
            >>> params = Params(3, 100, 10)
            >>> Params.from_bytes(params.to_bytes()) == params
            True
        """
        return _CODED.pack(_MAGIC, self.n_clients, self.max_abs, self.vector_length)

    @classmethod
    def from_bytes(cls, data: bytes) -> Params:
        """Decode the canonical form.

        Raises:
            WireFormatError: the bytes are not the canonical form of valid parameters.
        """
        data = octets("parameters", data)
        if len(data) != _CODED.size:
            raise WireFormatError(f"parameters take {_CODED.size} bytes, not {len(data)}")
        magic, *values = cast("tuple[bytes, int, int, int]", _CODED.unpack(data))
        if magic != _MAGIC:
            raise WireFormatError("these bytes are no parameters of a sum under one-time keys")
        try:
            return cls(*values)
        # The values come in a message, so the message is at fault and no argument.
        except (CapacityError, UnsafeParametersError) as error:
            raise WireFormatError(f"parameters that cannot exist: {error}") from error


@functools.lru_cache(maxsize=64)  # all sides of a party derive the same one
def _layout(params: Params) -> Layout:
    """The layout that costs a client the fewest bytes; of equal ones, the smallest ring."""
    field_bits = (2 * params.n_clients * params.max_abs).bit_length()  # 2^bits ≥ 2·n·max_abs + 1
    if field_bits > _MAX_FIELD_BITS:
        raise CapacityError(
            f"sums of {params.n_clients} values within ±{params.max_abs} leave int64; "
            "reduce max_abs (fewer bits in the encoding) or n_clients"
        )
    noise = (4 * KEY_BOUND * params.n_clients - 1).bit_length()  # the bound is at most a quarter
    found: list[tuple[int, Layout]] = []
    for degree, most in _CAPS.items():
        for fields in range(1, (8 * most - noise) // field_bits + 1):
            size = -(-(noise + fields * field_bits) // 8)
            # Bits that fill up the last byte widen the room for noise, where they show more spoiled sums.
            layout = Layout(degree, size, fields, field_bits, 8 * size - fields * field_bits)
            whole, rest = divmod(params.vector_length, degree * fields)
            last = max(_FEWEST, -(-rest // fields)) if rest else 0
            cost = (whole * degree + last) * size + degree * _KEY_COST
            found.append((cost, layout))
    return min(found, key=lambda pair: pair[0])[1]
