"""The errors of this package; all derive from DpError."""

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
    """Base class of the package's errors."""


class InvalidParameterError(DpError, ValueError):
    """A parameter is outside the range for which anything is proven."""


class NonFiniteError(InvalidParameterError):
    """A parameter is NaN or infinite where only a finite number is meaningful."""


class UnsupportedEventError(DpError):
    """No theorem implemented here bounds this event; the message names the part that is missing."""


class UnassignedCompositionError(DpError):
    """An accountant was asked although a `compose` of it was dropped; its answer would be too small."""


class BudgetExhaustedError(DpError):
    """The charge would exceed the ledger's budget; nothing has been charged."""
