"""What one release reveals: dominating pairs, Rényi curves, closed forms, and the cost that an event states.

Nothing here knows an event or composes anything; events (dp.events) name a cost, accountants add costs up.
"""

from __future__ import annotations

from dp.losses.cost import Cost
from dp.losses.pairs import ExchangePair, MixturePair, Pair, SwapPair
from dp.losses.renyi import ORDERS

__all__ = ["ORDERS", "Cost", "ExchangePair", "MixturePair", "Pair", "SwapPair"]
