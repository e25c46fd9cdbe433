"""The capacity of a slot: how integers share it or are split over several, and the noise that it tolerates.

BFV stores a slot m, modulo t, in a coefficient as round(q·m/t); CKKS stores 2N/2 real numbers in the
canonical embedding, times a scale. The bounds below hold for sums of at most n ciphertexts that depend on one
another in any way, even for one ciphertext that is repeated n times: they are n times the bound of one
ciphertext.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from he.errors import CapacityError

__all__ = ["DEGREE", "MODULUS", "Demand", "SlotLayout", "choose_layout"]

DEGREE = 4096
"""N. The only ring: at N = 2048 the security limit leaves no room, and above 4096 everything costs more."""

MODULUS = 1152921504606830593
"""q, the largest 60-bit prime ≡ 1 mod 2N. The 128-bit limit at N = 4096 is log2 q ≤ 109."""

MAX_FIELDS = 16
MAX_LIMBS = 8
WORD_BITS = 60

_SHARE = math.lcm(*range(1, MAX_FIELDS + 1))  # this many integers fill whole slots in every layout

# Error coefficients are centred binomials of 21 + 21 coins: |e| ≤ 21, variance 10.5. A sum of coins is
# sub-Gaussian with its own variance as proxy, so 12 σ are exceeded with probability ≤ 2·e^-72 < 2^-102.
_ERROR_BOUND = 21
_ERROR_VARIANCE = 10.5
_SIGMAS = 12.0
_SCALING = 1  # bound on the error of round(q·m/t) in double precision
_DROP_STEP = 4  # because two words must fill whole bytes
_MAX_DROPPED = WORD_BITS - 32

# Public-key ciphertexts carry e·u + e1 + e2·s with ternary u and s: 2N + 1 times the variance at most.
_PUBLIC_KEY_FACTOR = 2 * DEGREE + 1

# FFTs in double precision: the largest encode/decode error measured is 8 ulp of the sum's bound (random,
# constant and alternating slots, 2^36 … 2^43); the budget is eight times that.
_FLOAT_ERROR = 2.0**-47
_LARGEST_SCALE_BITS = 30


@dataclass(frozen=True, slots=True)
class Demand:
    """The requirements of a sum.

    Args:
        n_clients: largest number of ciphertexts in a sum.
        max_abs: bound on an input's magnitude; with ring_bits, 2^ring_bits − 1.
        bfv: whether the scheme is BFV, or else CKKS.
        public_key: whether to allow for the noise of public-key encryption.
        ring_bits: 0, or the b of inputs that are residues modulo 2^b.
    """

    n_clients: int
    max_abs: int
    bfv: bool
    public_key: bool
    ring_bits: int

    def __post_init__(self) -> None:
        if self.n_clients * self.max_abs >= 1 << 63 and not self.ring_bits:
            raise CapacityError(
                f"sums of {self.n_clients} values within ±{self.max_abs} leave int64; "
                "reduce max_abs or n_clients"
            )


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """The layout of integers in slots.

    Args:
        modular: whether the top field of a slot wraps at 2^ring_bits by itself, because t is a power of two.
        limbs: number of fields of one integer; if above 1, they have `limb_bits` bits each.
        limb_bits: bits of the lower limbs, balanced.
        limb_bound: bound on the magnitude of one client's limb.
        fields: number of limbs (or integers) in one slot.
        radix: base of a field, which no sum of n can reach.
        plain_modulus: BFV's t; 0 under CKKS.
        scale: CKKS's scale, a power of two; 1 under BFV.
        dropped_bits: number of low bits of c0 that are not sent.
        noise: bound on one ciphertext's noise: in a coefficient (BFV), in a slot (CKKS).
    """

    modular: bool
    limbs: int
    limb_bits: int
    limb_bound: int
    fields: int
    radix: int
    plain_modulus: int
    scale: float
    dropped_bits: int
    noise: float

    @property
    def slot_bound(self) -> int:
        """Largest magnitude of a slot of the sum."""
        return self.plain_modulus // 2 if self.modular else (self.radix**self.fields - 1) // 2


def choose_layout(demand: Demand) -> SlotLayout:
    """The layout with the smallest uploads; among equal ones, the layout with the smallest sum.

    Every number of limbs is tried, each with the largest possible number of fields in a slot. An integer in
    two limbs may take less room than one in a slot of its own, because limbs fill slots more densely. Slots
    with fewer fields than possible are not tried: they could drop more low bits, which saves up to 9 % of an
    upload, but needs up to 1.5 times as many ciphertexts, which costs time in every role.

    Raises:
        CapacityError: no layout holds such a sum.
    """
    found = [_modular(demand)] if demand.bfv and demand.ring_bits else []
    found += [_plain(demand, limbs) for limbs in range(1, MAX_LIMBS + 1)]
    layout = min((one for one in found if one is not None), key=_cost, default=None)
    if layout is None:
        raise CapacityError(
            f"sums of {demand.n_clients} values of {demand.max_abs.bit_length() + 1} bits do not fit "
            f"{MAX_LIMBS} slots; reduce max_abs (fewer bits in the encoding) or n_clients"
        )
    return layout


def _cost(layout: SlotLayout) -> tuple[int, int, int]:
    """Bits of `_SHARE` integers in an upload and in the sum; then the limbs, which cost time."""
    slots = _SHARE * layout.limbs // layout.fields
    return (WORD_BITS - layout.dropped_bits) * slots, WORD_BITS * slots, layout.limbs


def _modular(demand: Demand) -> SlotLayout | None:
    """Unsigned fields, of which only the lower ones need room for carries (t = 2^(b + …))."""
    bits = demand.ring_bits
    # A lower field holds a sum of n residues below 2^b; the top field needs no room, as t wraps it.
    width = bits + (demand.n_clients - 1).bit_length()
    for fields in range(MAX_FIELDS, 0, -1):
        plain_modulus = 1 << (fields - 1) * width + bits
        if _bfv_fits(demand, plain_modulus, 0):
            dropped = _dropped_bits(demand, plain_modulus)
            noise = _bfv_noise(demand, dropped)
            return SlotLayout(
                True, 1, 0, demand.max_abs, fields, 1 << width, plain_modulus, 1.0, dropped, noise
            )
    return None


def _plain(demand: Demand, limbs: int) -> SlotLayout | None:
    """Balanced digits, as many in a slot as possible."""
    bound = 1 << demand.ring_bits - 1 if demand.ring_bits else demand.max_abs
    limb_bits = -(-(bound.bit_length() + 1) // limbs) if limbs > 1 else 0
    if limbs > 1:
        # The lower limbs are balanced, and the top one takes the carry of the limb below it: hence + 1.
        bound = max(1 << limb_bits - 1, (bound >> limb_bits * (limbs - 1)) + 1)
    radix = 2 * demand.n_clients * bound + 1
    fitting = (_bfv_layout if demand.bfv else _ckks_layout)(demand, radix)
    if fitting is None:
        return None
    fields, plain_modulus, scale, dropped, noise = fitting
    return SlotLayout(
        False, limbs, limb_bits, bound, fields, radix, plain_modulus, scale, dropped, noise
    )


def _bfv_layout(demand: Demand, radix: int) -> tuple[int, int, float, int, float] | None:
    for fields in range(MAX_FIELDS, 0, -1):
        if _bfv_fits(demand, radix**fields, 0):
            dropped = _dropped_bits(demand, radix**fields)
            return fields, radix**fields, 1.0, dropped, _bfv_noise(demand, dropped)
    return None


def _bfv_noise(demand: Demand, dropped: int) -> int:
    """Bound on |phase − q·m/t| of one ciphertext: error, scaling, and half a unit of the dropped bits."""
    error = _ERROR_BOUND
    if demand.public_key:
        error = math.ceil(_SIGMAS * math.sqrt(_ERROR_VARIANCE * _PUBLIC_KEY_FACTOR))
    return error + _SCALING + (1 << dropped >> 1)


def _bfv_fits(demand: Demand, plain_modulus: int, dropped: int) -> bool:
    """Whether n times the noise stays below q / 2t."""
    # The inequality of docs/he.md, "When is the sum exact".
    return 2 * demand.n_clients * _bfv_noise(demand, dropped) * plain_modulus < MODULUS


def _dropped_bits(demand: Demand, plain_modulus: int) -> int:
    """The largest number of low bits of c0 that the noise bound allows to drop; 0 in public-key mode."""
    # In public-key mode c1 is sent too, in words of the same size, and the key multiplies an error in c1.
    steps = range(0 if demand.public_key else _MAX_DROPPED, 0, -_DROP_STEP)
    return next((bits for bits in steps if _bfv_fits(demand, plain_modulus, bits)), 0)


def _ckks_layout(demand: Demand, radix: int) -> tuple[int, int, float, int, float] | None:
    for fields in range(MAX_FIELDS, 0, -1):
        bound = (radix**fields - 1) // 2
        # A coefficient is at most the largest complex slot; one additional unit covers the noise.
        if 2 * bound >= MODULUS:
            continue
        room = (MODULUS / 2) / (math.sqrt(2) * (bound + 1))
        if room < 1:
            continue
        scale = 2.0 ** min(_LARGEST_SCALE_BITS, math.floor(math.log2(room)))
        noise = _ckks_noise(demand) / scale
        if demand.n_clients * noise + bound * _FLOAT_ERROR < 0.5:
            return fields, 0, scale, 0, noise + bound * _FLOAT_ERROR / demand.n_clients
    return None


def _ckks_noise(demand: Demand) -> float:
    """12 σ of Re Σ e_j·ζ^j over N coefficients, and all of Re Σ r_j·ζ^j for roundings |r_j| ≤ ½.

    Σ cos² = N/2, and Σ |cos| = 2N/π up to a relative 1/N².
    """
    factor = _PUBLIC_KEY_FACTOR if demand.public_key else 1
    return _SIGMAS * math.sqrt(_ERROR_VARIANCE * factor * DEGREE / 2) + DEGREE / math.pi
