"""Parameter sets for encrypted sums: one ring, one prime, with capacity and noise computed in advance."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Literal, cast

from he.errors import CapacityError, UnsafeParametersError, WireFormatError
from he.guards.checks import flag, integer, octets
from he.params.capacity import DEGREE, MODULUS, Demand, SlotLayout, choose_layout

__all__ = [
    "BLOCK",
    "DEGREE",
    "MAX_VECTOR_LENGTH",
    "MODULUS",
    "Params",
    "Scheme",
    "check_length",
]

Scheme = Literal["ckks", "bfv"]

BLOCK = 16
"""Largest number of ciphertexts in one chunk: 0.4 MB, and the amount of one call into SEAL."""

MAX_CLIENTS = 1 << 20
MAX_VECTOR_LENGTH = 1 << 32
MAX_ABS = (1 << 62) - 1
MAX_RING_BITS = 62

_SCHEMES: tuple[Scheme, ...] = ("ckks", "bfv")
_LAYOUT = struct.Struct("<4sBBBIQ")
_MAGIC = b"HEP3"


@dataclass(frozen=True, slots=True)
class Params:
    """All parameters that define an encrypted sum; the derived ones follow uniquely from the others.

    A slot holds `fields` integers as balanced digits to the base `radix` = 2·n·max_abs + 1, so that no sum of
    n inputs within ±max_abs can carry into the next digit. An integer that is too wide for one slot is split
    into `limbs` digits.

    * BFV: one slot is one coefficient modulo t = radix^fields. A ciphertext's errors are bounded by 21, its
      rounding by 1 and the dropped bits of c0 by half a unit; n times their sum stays below q/2t. Therefore
      no sum of at most n ciphertexts, even equal ones, can decrypt to a wrong digit. In public-key mode 12 σ
      (2^-102 a coefficient) replace the bound of 21.
    * CKKS: integers times `scale` in complex slots, N reals a ciphertext. The key holder rounds. n times one
      ciphertext's bound stays below ½: 12 σ of its errors, all of its rounding, and the budget for double
      precision. In symmetric mode 12 σ is a theorem (2^-102 a slot); in public-key mode it assumes that the
      product of two errors behaves like a Gaussian.

    Args:
        n_clients: largest number of clients in one sum, 2 … 2^20.
        max_abs: bound on the magnitude of each input, 1 … 2^62 − 1; with `ring_bits`, 2^ring_bits − 1.
        scheme: "ckks" or "bfv".
        public_key: whether to allow for the larger noise of public-key encryption (`EncryptContext`).
        ring_bits: 0, or b in 2 … 62: inputs are residues 0 … 2^b − 1, such as those of masked vectors, and
            the sum is opened modulo 2^b, centred. Under BFV t = 2^b wraps by itself.

    Attributes:
        layout: the derived layout of integers in slots.

    Raises:
        CapacityError: no layout holds such a sum.
        UnsafeParametersError: a value has another type, or is outside the ranges above.

    Example:
        >>> params = Params(n_clients=100, max_abs=1000, scheme="bfv")
        >>> params.fields, params.radix  # integers in one slot; no sum of 100 carries into the next
        (2, 200001)
        >>> params.ciphertexts(100_000)
        13
        >>> Params(n_clients=100, max_abs=2**62 - 1, scheme="bfv")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        he.errors.CapacityError: ...
    """

    n_clients: int
    max_abs: int
    scheme: Scheme = "ckks"
    public_key: bool = False
    ring_bits: int = 0
    layout: SlotLayout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, str) or self.scheme not in _SCHEMES:  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            told = self.scheme if type(self.scheme) is str else type(self.scheme).__name__
            raise UnsafeParametersError(f"scheme {told!r:.40} is unknown; use 'ckks' or 'bfv'")
        refused = UnsafeParametersError
        checked = {
            "scheme": str(self.scheme),
            "n_clients": integer("n_clients", self.n_clients, 2, MAX_CLIENTS, refused),
            "max_abs": integer("max_abs", self.max_abs, 1, MAX_ABS, refused),
            "public_key": flag("public_key", self.public_key, refused),
            "ring_bits": _ring_bits(self.ring_bits),
        }
        for name, value in checked.items():  # numpy's integers become Python's
            object.__setattr__(self, name, value)
        if self.ring_bits and self.max_abs != (1 << self.ring_bits) - 1:
            raise UnsafeParametersError("with ring_bits, max_abs is 2^ring_bits − 1")
        demand = Demand(
            self.n_clients, self.max_abs, self.scheme == "bfv", self.public_key, self.ring_bits
        )
        object.__setattr__(self, "layout", choose_layout(demand))

    @classmethod
    def for_sum(
        cls,
        n_clients: int,
        *,
        max_abs: int | None = None,
        scheme: Scheme = "ckks",
        public_key: bool = False,
        ring_bits: int = 0,
    ) -> Params:
        """Choose parameters for sums of up to `n_clients` vectors of integers within ±max_abs.

        Args:
            n_clients: largest number of clients in one sum.
            max_abs: bound on each input's magnitude; leave it out with `ring_bits`.
            scheme: "ckks" or "bfv".
            public_key: whether to allow for the noise of public-key encryption.
            ring_bits: b, for inputs that are residues modulo 2^b.

        Raises:
            CapacityError: the sum does not fit; the message says what to change.
            UnsafeParametersError: an argument is out of range, or both bounds are missing.

        Example:
            >>> params = Params.for_sum(10, max_abs=2**19, scheme="bfv")
            >>> params.fields, params.values_per_ciphertext, params.word_bits
            (2, 8192, 52)
            >>> Params.for_sum(10, ring_bits=22, scheme="bfv").plain_modulus == 2**48
            True
        """
        ring_bits = _ring_bits(ring_bits)
        if max_abs is None:
            if not ring_bits:
                raise UnsafeParametersError("give max_abs, or ring_bits for inputs modulo 2^b")
            max_abs = (1 << ring_bits) - 1
        return cls(n_clients, max_abs, scheme, public_key, ring_bits)

    @property
    def fields(self) -> int:
        """Number of integers (or limbs of integers) in one slot."""
        return self.layout.fields

    @property
    def limbs(self) -> int:
        """Number of fields of one integer."""
        return self.layout.limbs

    @property
    def radix(self) -> int:
        """Base of the digits: 2·n·max_abs + 1 where an integer is one limb."""
        return self.layout.radix

    @property
    def plain_modulus(self) -> int:
        """BFV's t; 0 under CKKS."""
        return self.layout.plain_modulus

    @property
    def scale(self) -> float:
        """CKKS's scale, a power of two; 1 under BFV."""
        return self.layout.scale

    @property
    def word_bits(self) -> int:
        """Number of bits of a coefficient of c0 that a client sends."""
        return 60 - self.layout.dropped_bits

    @property
    def slots(self) -> int:
        """Number of real slots of a ciphertext: N coefficients (BFV), or N/2 complex slots (CKKS)."""
        return DEGREE

    @property
    def values_per_ciphertext(self) -> int:
        """Number of integers in one ciphertext."""
        return self.slots * self.fields // self.limbs

    @property
    def slot_bound(self) -> int:
        """Largest magnitude of a slot of the sum."""
        return self.layout.slot_bound

    @property
    def rounding_error(self) -> float:
        """CKKS: the distance to an integer, below ½, that no slot of an honest sum exceeds."""
        return self.n_clients * self.layout.noise if self.scheme == "ckks" else 0.0

    @property
    def parts(self) -> int:
        """Number of polynomials that are sent: c0 if c1 is expanded from a seed, else both."""
        return 2 if self.public_key else 1

    @property
    def identifier(self) -> bytes:
        """16 bytes that name these parameters in messages."""
        return hashlib.sha256(b"he parameters" + self.to_bytes()).digest()[:16]

    def ciphertexts(self, vector_length: int) -> int:
        """Number of ciphertexts for a vector of `vector_length` integers.

        Raises:
            LocalProtocolError: the length is not in 1 … 2^32.
        """
        vector_length = check_length(vector_length)
        return -(-vector_length // self.values_per_ciphertext)

    def chunks(self, vector_length: int) -> int:
        """Number of chunks of up to `BLOCK` ciphertexts for a vector of `vector_length` integers.

        Raises:
            LocalProtocolError: the length is not in 1 … 2^32.
        """
        return -(-self.ciphertexts(vector_length) // BLOCK)

    def ciphertexts_in_chunk(self, index: int, vector_length: int) -> int:
        """Number of ciphertexts in one chunk: `BLOCK`, and in the last chunk the rest.

        Raises:
            LocalProtocolError: such a vector has no chunk of this index.
        """
        index = integer("index", index, 0, self.chunks(vector_length) - 1)
        return min(BLOCK, self.ciphertexts(vector_length) - index * BLOCK)

    def to_bytes(self) -> bytes:
        """Encode in canonical form, 19 bytes.

        Example:
            >>> params = Params.for_sum(3, max_abs=100)
            >>> Params.from_bytes(params.to_bytes()) == params
            True
        """
        code = _SCHEMES.index(self.scheme)
        return _LAYOUT.pack(
            _MAGIC, code, self.public_key, self.ring_bits, self.n_clients, self.max_abs
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Params:
        """Decode the canonical form.

        Raises:
            WireFormatError: the bytes are not the canonical form of valid parameters.
        """
        data = octets("parameters", data)
        if len(data) != _LAYOUT.size:
            raise WireFormatError(f"parameters take {_LAYOUT.size} bytes, not {len(data)}")
        magic, code, public_key, ring_bits, n_clients, max_abs = cast(
            "tuple[bytes, int, int, int, int, int]", _LAYOUT.unpack(data)
        )
        if magic != _MAGIC or code >= len(_SCHEMES) or public_key > 1:
            raise WireFormatError("these bytes are no parameters of an encrypted sum")
        try:
            return cls(n_clients, max_abs, _SCHEMES[code], bool(public_key), ring_bits)
        # The values come in a message, so the message is at fault and no argument.
        except (CapacityError, UnsafeParametersError) as error:
            raise WireFormatError(f"parameters that cannot exist: {error}") from error


def check_length(value: object, name: str = "vector_length") -> int:
    """Return the length of a vector, 1 … 2^32.

    Raises:
        LocalProtocolError: the value is no such integer.
    """
    return integer(name, value, 1, MAX_VECTOR_LENGTH)


def _ring_bits(value: object) -> int:
    """0, or 2 … 62; raises UnsafeParametersError."""
    bits = integer("ring_bits", value, 0, MAX_RING_BITS, UnsafeParametersError)
    if bits == 1:
        raise UnsafeParametersError(f"ring_bits must be 0 or lie in 2 … {MAX_RING_BITS}, not 1")
    return bits
