"""Secure means in Flower: a grid for the ServerApp, and a mod for the ClientApp (`docs/embedding/flower.md`).

`SecureGrid` stands where a Flower `Grid` stood, and gives a strategy one reply, the weighted mean. With
`secure_mod` a ClientApp sends its update into that sum and nowhere else. Flower is imported when one of them
is made, and refused there in other versions than this adapter was written for.
"""

from __future__ import annotations

from fedavg.adapters.flower.grid import SecureGrid
from fedavg.adapters.flower.mod import NodeSilentError, secure_mod
from fedavg.adapters.flower.outcome import Outcome

__all__ = ["NodeSilentError", "Outcome", "SecureGrid", "secure_mod"]
