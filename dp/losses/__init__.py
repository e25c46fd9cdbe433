"""The privacy loss of one release: dominating pairs, Rényi curves, closed forms, and the stated cost.

This package knows no events and composes nothing: events (dp.events) state a cost, and accountants add up
costs.
"""

from __future__ import annotations

from dp.losses.cost import Cost
from dp.losses.pairs import ExchangePair, MixturePair, Pair, SwapPair
from dp.losses.renyi import ORDERS

__all__ = ["ORDERS", "Cost", "ExchangePair", "MixturePair", "Pair", "SwapPair"]
