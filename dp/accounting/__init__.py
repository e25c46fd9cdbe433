"""Accountants: certified composition, closed forms, and a ledger with a hard budget."""

from __future__ import annotations

from dp.accounting.accountant import Accountant
from dp.accounting.bracket import Bracket
from dp.accounting.gaussian import gaussian_delta, gaussian_epsilon
from dp.accounting.ledger import Ledger

__all__ = ["Accountant", "Bracket", "Ledger", "gaussian_delta", "gaussian_epsilon"]
