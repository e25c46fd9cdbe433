"""An epsilon as every table and page prints it."""

from __future__ import annotations

__all__ = ["epsilon_text"]

_FINE = (
    0.1  # below it two decimals would drop most of the number, and print a small epsilon as 0.00
)


def epsilon_text(value: float | None) -> str:
    """Two decimals, or two digits of a small number.

    Args:
        value: ε; None for no bound.

    Example:
        >>> epsilon_text(2.586), epsilon_text(0.0043), epsilon_text(0.0), epsilon_text(None)
        ('2.59', '0.0043', '0.00', 'no bound')
    """
    if value is None:
        return "no bound"
    return f"{value:.2g}" if 0 < value < _FINE else f"{value:.2f}"
