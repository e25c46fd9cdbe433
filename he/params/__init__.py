"""Parameters of an encrypted sum: capacity, noise, and how integers lie in slots."""

from __future__ import annotations

from he.params.capacity import SlotLayout
from he.params.params import BLOCK, DEGREE, MODULUS, Params, Scheme

__all__ = ["BLOCK", "DEGREE", "MODULUS", "Params", "Scheme", "SlotLayout"]
