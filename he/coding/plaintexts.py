"""Slots ↔ polynomials modulo q: BFV's scaling by q/t, and CKKS's canonical embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from he.errors import RemoteProtocolError
from he.params import DEGREE, MODULUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from he.params import Params

__all__ = ["decode", "encode"]

_HALF = DEGREE // 2
_TWIST = np.exp(1j * np.pi * np.arange(_HALF) / DEGREE)  # ζ^j, ζ a root of x^N + 1


def encode(slots: NDArray[np.int64], params: Params) -> NDArray[np.int64]:
    """Put slots into polynomials.

    Args:
        slots: int64[c, N], from `pack`.
        params: the parameters of the sum.

    Returns:
        int64[c, N] coefficients, magnitudes below q/2: round(q·m/t) under BFV, and under CKKS the
        polynomial whose values at ζ^(4k+1), k < N/2, are scale·(slots[k] + i·slots[k + N/2]).
    """
    if params.scheme == "ckks":
        values = slots[:, :_HALF] + 1j * slots[:, _HALF:]
        folded = np.fft.fft(values) * (_TWIST.conj() * (params.scale / _HALF))
        return np.rint(np.concatenate((folded.real, folded.imag), axis=1)).astype(np.int64)
    modulus = params.plain_modulus
    quotient, remainder = divmod(MODULUS, modulus)
    # q·m exceeds 64 bits. m·⌊q/t⌋ is exact, and only m·(q mod t)/t is computed in double precision.
    centred = np.where(slots > modulus // 2, slots - modulus, slots)
    polynomials = np.rint(centred * (remainder / modulus)).astype(np.int64)
    polynomials += centred * quotient
    return polynomials


def decode(phase: NDArray[np.int64], params: Params, *, contributors: int) -> NDArray[np.int64]:
    """Read the slots of a sum.

    Args:
        phase: int64[c, N], c0 + c1·s centred modulo q.
        params: the parameters of the sum.
        contributors: number of ciphertexts in the sum, for the bound on the noise.

    Returns:
        int64[c, N] slots; centred modulo t under BFV.

    Raises:
        RemoteProtocolError: there is more noise than that many honest ciphertexts carry.
    """
    if params.scheme == "ckks":
        return _decode_embedding(phase, params)
    modulus = params.plain_modulus
    scaled = phase * (modulus / MODULUS)
    slots = np.rint(scaled, out=scaled).astype(np.int64)
    # Exact in 64 bits: t·phase − m·q is below 2q, although both products wrap.
    residue = phase * modulus
    residue -= slots * MODULUS
    bound = contributors * int(params.layout.noise) * modulus
    if _beyond(residue, -bound, bound):  # double precision may have rounded to a neighbour
        step = (residue > MODULUS // 2).astype(np.int64) - (residue < -(MODULUS // 2))
        slots += step
        residue -= step * MODULUS
        if _beyond(residue, -bound, bound):
            raise RemoteProtocolError("the opened sum carries more noise than honest clients add")
    low, high = -(modulus // 2), (modulus - 1) // 2
    if _beyond(slots, low, high):
        slots -= modulus * (slots > high)
        slots += modulus * (slots < low)
    return slots


def _beyond(values: NDArray[np.int64], low: int, high: int) -> bool:
    return int(values.max()) > high or int(values.min()) < low


def _decode_embedding(phase: NDArray[np.int64], params: Params) -> NDArray[np.int64]:
    folded = (phase[:, :_HALF] + 1j * phase[:, _HALF:]) * _TWIST
    values = np.fft.ifft(folded) * (_HALF / params.scale)
    slots = np.concatenate((values.real, values.imag), axis=1)
    rounded = np.rint(slots)
    if not float(np.abs(slots - rounded).max()) <= params.rounding_error:
        raise RemoteProtocolError("the opened sum carries more noise than honest clients add")
    return rounded.astype(np.int64)
