"""The δ at which epsilon is stated: the usual one, and one that is too large to promise anything."""

from __future__ import annotations

__all__ = ["too_large_delta", "usual_delta"]


def too_large_delta(delta: float, units: int, named: str) -> str:
    """Why a δ promises hardly anything to so many units, as a sentence without its full stop; "" if it does.

    Args:
        delta: δ.
        units: number of those who are protected, or a public bound on it.
        named: what that number is, such as "clients".

    Example:
        >>> too_large_delta(1e-5, 1000, "clients")
        ''
        >>> too_large_delta(0.01, 1000, "clients").split(":")[0]
        'delta = 0.01 is not below 1 ÷ 1,000 clients'
    """
    if delta * units < 1:
        return ""
    return (
        f"delta = {delta:g} is not below 1 ÷ {units:,} {named}: whatever epsilon is, it allows for revealing "
        f"all about one of them. Take {usual_delta(units):.0e} or less"
    )


def usual_delta(clients: int) -> float:
    """The δ at which epsilon is stated where none is given: 1e-5, and less for more than 1,000 clients.

    A δ should be far below 1 ÷ clients, since it allows for revealing one of them with that probability.

    Args:
        clients: number of enrolled clients.

    Example:
        >>> usual_delta(100), usual_delta(1000), usual_delta(100_000)
        (1e-05, 1e-05, 1e-07)
    """
    return min(1e-5, 0.01 / clients)
