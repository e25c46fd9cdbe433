"""Ledgers: a hard budget, charged before each release, in memory or in a file that several runs share."""

from __future__ import annotations

from dp.ledgers.ledger import Charge, Ledger
from dp.ledgers.records import register_event
from dp.ledgers.shared import SharedLedger

__all__ = ["Charge", "Ledger", "SharedLedger", "register_event"]
