"""Accountants: certified composition and closed forms."""

from __future__ import annotations

from dp.accounting.accountant import Accountant
from dp.accounting.curve import PrivacyCurve
from dp.composition.bracket import Bracket
from dp.losses.gaussian import gaussian_delta, gaussian_epsilon

__all__ = ["Accountant", "Bracket", "PrivacyCurve", "gaussian_delta", "gaussian_epsilon"]
