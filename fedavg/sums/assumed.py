"""How the assumptions of sums speak of a share of the clients."""

from __future__ import annotations

__all__ = ["at_most"]


def at_most(share: float) -> str:
    """A share of each cohort as the plural subject of a sentence.

    Args:
        share: in [0, 1).

    Example:
        >>> at_most(0.125), at_most(0.0)
        ('at most 12.5% of each cohort', 'no clients')
    """
    return f"at most {100 * share:.3g}% of each cohort" if share else "no clients"
