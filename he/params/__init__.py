"""Parameters of an encrypted sum: capacity, noise, and the layout of integers in slots."""

from __future__ import annotations

from he.params.capacity import SlotLayout
from he.params.params import (
    BLOCK,
    DEGREE,
    MAX_VECTOR_LENGTH,
    MODULUS,
    Params,
    Scheme,
    check_length,
)

__all__ = [
    "BLOCK",
    "DEGREE",
    "MAX_VECTOR_LENGTH",
    "MODULUS",
    "Params",
    "Scheme",
    "SlotLayout",
    "check_length",
]
