"""Every error that this package raises; all descend from DpError."""

from __future__ import annotations

__all__ = [
    "BudgetExhaustedError",
    "DpError",
    "InvalidParameterError",
    "NonFiniteError",
    "UnassignedCompositionError",
    "UnsupportedEventError",
]


class DpError(Exception):
    """Root of the package's errors."""


class InvalidParameterError(DpError, ValueError):
    """A parameter lies outside the range for which anything is proven."""


class NonFiniteError(InvalidParameterError):
    """A parameter is NaN or infinite where only a finite number has a meaning."""


class UnsupportedEventError(DpError):
    """No theorem implemented here bounds this event; the message names the part that is missing."""


class UnassignedCompositionError(DpError):
    """An accountant was asked although what `compose` returned was dropped; its answer would be too small."""


class BudgetExhaustedError(DpError):
    """The charge would take the ledger past its budget; nothing has been charged."""
