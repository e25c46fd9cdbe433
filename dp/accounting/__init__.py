"""Accountants: certified composition, closed forms, and a ledger with a hard budget."""

from __future__ import annotations

from dp.accounting.accountant import Accountant
from dp.accounting.bracket import Bracket
from dp.accounting.curve import PrivacyCurve
from dp.accounting.ledger import Charge, Ledger
from dp.accounting.records import register_event
from dp.accounting.shared import SharedLedger
from dp.losses.gaussian import gaussian_delta, gaussian_epsilon

__all__ = [
    "Accountant",
    "Bracket",
    "Charge",
    "Ledger",
    "PrivacyCurve",
    "SharedLedger",
    "gaussian_delta",
    "gaussian_epsilon",
    "register_event",
]
