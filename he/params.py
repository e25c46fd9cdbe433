"""Parameter sets for encrypted sums: one ring, one prime, capacity and noise settled in advance."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, cast

from he.errors import CapacityError, UnsafeParametersError, WireFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEGREE", "MODULUS", "Params", "Scheme"]

Scheme = Literal["ckks", "bfv"]

DEGREE = 4096
"""N. The only ring: at N = 2048 the security limit is met exactly, above 4096 everything costs more."""

MODULUS = 1152921504606830593
"""q, the largest 60-bit prime ≡ 1 mod 2N. The 128-bit limit at N = 4096 is log2 q ≤ 109."""

MAX_CLIENTS = 1 << 20
MAX_FIELDS = 16

_SCHEMES: tuple[Scheme, ...] = ("ckks", "bfv")
_LAYOUT = struct.Struct("<4sBBIQ")
_MAGIC = b"HEP1"

# SEAL draws each error coefficient as a centred binomial of 21 + 21 coins: |e| ≤ 21, variance 10.5.
_ERROR_BOUND = 21
_ERROR_VARIANCE = 10.5
# Public-key ciphertexts carry e·u + e1 + e2·s with ternary u and s (variance 2/3): 4N/3 + 1 times more.
_PUBLIC_KEY_FACTOR = 4 * DEGREE / 3 + 1
_SIGMAS = 12.0
# Complex FFTs in double precision: the largest encode/decode error measured is 8 ulp of the sum's
# bound (random, constant and alternating slots, 2^36 … 2^43); eight times that is budgeted.
_FLOAT_ERROR = 2.0**-47
_LARGEST_SCALE_BITS = 30


@dataclass(frozen=True, slots=True)
class Params:
    """Everything that fixes an encrypted sum; what is derived is derived in one way only.

    A slot holds `fields` integers as balanced digits to the base `radix` = 2·n·max_abs + 1, so that
    no sum of n inputs within ±max_abs can carry into the next digit.

    * BFV: the plain modulus t is the largest batching prime with q ≥ 43·n·t. Errors of SEAL's
      symmetric encryption are bounded by 21 and rounding by ½, hence no sum of at most n ciphertexts,
      equal ones included, can decrypt to a wrong digit. In public-key mode 12 σ stand for the bound.
    * CKKS: integers times `scale` in complex slots, N reals a ciphertext. The opener rounds; 12 σ of
      the noise of n fresh ciphertexts and the budgeted rounding of doubles stay below ½.

    Args:
        n_clients: most clients that one sum may contain, 2 … 2^20.
        max_abs: bound on the magnitude of each input, 1 … 2^62.
        scheme: "ckks" or "bfv".
        public_key: leave room for the larger noise of public-key encryption (`EncryptContext`).

    Attributes:
        fields: integers in one slot, derived.
        plain_modulus: BFV's t, the largest batching prime that the noise allows; 0 under CKKS.
        scale: CKKS's scale, a power of two; 1 under BFV.

    Raises:
        CapacityError: not even one integer fits in a slot.
        UnsafeParametersError: a value outside the ranges above.
    """

    n_clients: int
    max_abs: int
    scheme: Scheme = "ckks"
    public_key: bool = False
    fields: int = field(init=False, repr=False, compare=False)
    plain_modulus: int = field(init=False, repr=False, compare=False)
    scale: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.scheme not in _SCHEMES:
            raise UnsafeParametersError(f"scheme {self.scheme!r} is unknown; use 'ckks' or 'bfv'")
        if not _is_integer(self.n_clients) or not 2 <= self.n_clients <= MAX_CLIENTS:
            raise UnsafeParametersError(f"n_clients must lie in 2 … {MAX_CLIENTS}")
        if not _is_integer(self.max_abs) or not 1 <= self.max_abs < 1 << 62:
            raise UnsafeParametersError("max_abs must lie in 1 … 2^62 − 1")
        bfv = self.scheme == "bfv"
        plain_modulus = _largest_batching_prime(_plain_modulus_limit(self)) if bfv else 0
        fields = 0
        while fields < MAX_FIELDS and _fits(self, fields + 1, plain_modulus):
            fields += 1
        if fields < 1:
            raise CapacityError(
                f"sums of {self.n_clients} values within ±{self.max_abs} need "
                f"{math.log2(self.radix):.1f} bits and one {self.scheme} slot holds fewer; "
                "reduce max_abs (fewer bits in the encoding) or n_clients"
            )
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "plain_modulus", plain_modulus)
        object.__setattr__(self, "scale", 1.0 if bfv else _scale(self.slot_bound))

    @classmethod
    def for_sum(
        cls,
        n_clients: int,
        *,
        max_abs: int,
        scheme: Scheme = "ckks",
        public_key: bool = False,
    ) -> Params:
        """Choose parameters for sums of up to `n_clients` vectors of integers within ±max_abs.

        Raises:
            CapacityError: the sum does not fit; the message says what to change.
            UnsafeParametersError: arguments outside their ranges.

        Example:
            >>> params = Params.for_sum(10, max_abs=2**19, scheme="bfv")
            >>> params.fields, params.values_per_ciphertext
            (2, 8192)
        """
        return cls(n_clients, max_abs, scheme, public_key)

    @property
    def radix(self) -> int:
        """Base of the balanced digits: 2·n·max_abs + 1."""
        return 2 * self.n_clients * self.max_abs + 1

    @property
    def slots(self) -> int:
        """Real slots of one ciphertext: N under BFV, N/2 complex ones under CKKS."""
        return DEGREE

    @property
    def values_per_ciphertext(self) -> int:
        """Integers in one ciphertext."""
        return self.slots * self.fields

    @property
    def slot_bound(self) -> int:
        """Largest magnitude of a slot of the sum: (radix^fields − 1) / 2."""
        return (self.radix**self.fields - 1) // 2

    @property
    def rounding_error(self) -> float:
        """CKKS: the distance to an integer, below ½, that no slot of an honest sum exceeds (12 σ)."""
        return _rounding_error(self, self.fields) if self.scheme == "ckks" else 0.0

    @property
    def identifier(self) -> bytes:
        """16 bytes that name these parameters on the wire."""
        return hashlib.sha256(b"he parameters" + self.to_bytes()).digest()[:16]

    def ciphertexts(self, vector_length: int) -> int:
        """Ciphertexts, hence chunks, for a vector of `vector_length` integers."""
        return -(-vector_length // self.values_per_ciphertext)

    def to_bytes(self) -> bytes:
        """Canonical form, 18 bytes.

        Example:
            >>> params = Params.for_sum(3, max_abs=100)
            >>> Params.from_bytes(params.to_bytes()) == params
            True
        """
        code = _SCHEMES.index(self.scheme)
        return _LAYOUT.pack(_MAGIC, code, self.public_key, self.n_clients, self.max_abs)

    @classmethod
    def from_bytes(cls, data: bytes) -> Params:
        """Read the canonical form.

        Raises:
            WireFormatError: these bytes are not the canonical form of valid parameters.
        """
        if len(data) != _LAYOUT.size:
            raise WireFormatError(f"parameters take {_LAYOUT.size} bytes, not {len(data)}")
        magic, code, public_key, n_clients, max_abs = cast(
            "tuple[bytes, int, int, int, int]", _LAYOUT.unpack(data)
        )
        if magic != _MAGIC or code >= len(_SCHEMES) or public_key > 1:
            raise WireFormatError("these bytes are no parameters of an encrypted sum")
        try:
            return cls(n_clients, max_abs, _SCHEMES[code], bool(public_key))
        except (CapacityError, UnsafeParametersError) as error:
            raise WireFormatError(f"parameters that cannot exist: {error}") from error


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain_modulus_limit(params: Params) -> int:
    """Largest t with (noise of n ciphertexts + rounding) < q / 2t."""
    n = params.n_clients
    if params.public_key:
        sigma = math.sqrt(n * _ERROR_VARIANCE * _PUBLIC_KEY_FACTOR)
        noise = 2 * math.ceil(_SIGMAS * sigma) + n
    else:
        noise = (2 * _ERROR_BOUND + 1) * n
    return (MODULUS - 1) // noise


def _scale(bound: int) -> float:
    """Largest power of two whose product with a complex slot of two such parts stays below q / 2."""
    room = (MODULUS / 2) / (math.sqrt(2) * (bound + 1))
    return 2.0 ** min(_LARGEST_SCALE_BITS, math.floor(math.log2(room))) if room >= 1 else 0.0


def _rounding_error(params: Params, fields: int) -> float:
    """12 σ of the slot noise of n fresh ciphertexts, plus the budget for doubles."""
    bound = (params.radix**fields - 1) // 2
    scale = _scale(bound)
    if not scale:
        return math.inf
    factor = _PUBLIC_KEY_FACTOR if params.public_key else 1.0
    coefficient = _ERROR_VARIANCE * factor + 1 / 12
    sigma = math.sqrt(params.n_clients * coefficient * DEGREE / 2) / scale
    return _SIGMAS * sigma + bound * _FLOAT_ERROR


def _fits(params: Params, fields: int, plain_modulus: int) -> bool:
    if params.scheme == "bfv":
        return params.radix**fields <= plain_modulus
    return _rounding_error(params, fields) < 0.5


@lru_cache(maxsize=256)
def _largest_batching_prime(limit: int) -> int:
    """The largest prime ≡ 1 mod 2N that is at most `limit`."""
    return next(c for c in _candidates(limit) if _is_prime(c))


def _candidates(limit: int) -> Iterator[int]:
    step = 2 * DEGREE
    return iter(range((limit - 1) // step * step + 1, step, -step))


def _is_prime(number: int) -> bool:
    """Miller–Rabin with the first twelve primes, which is exact below 3.3·10^24 (Sorenson 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if any(number % p == 0 for p in bases):
        return number in bases
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    odd = (number - 1) >> twos
    for base in bases:
        powers = [pow(base, odd << i, number) for i in range(twos)]
        if powers[0] != 1 and number - 1 not in powers:
            return False
    return True
