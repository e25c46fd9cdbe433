"""Which of Flower's strategies cannot work on a mean, and how the one that calls is found."""

from __future__ import annotations

import inspect

from fedavg.errors import PlanError

__all__ = ["check_caller", "check_strategy"]

_SINGLE = "it compares single updates, and a secure sum shows none"
_TREES = "its models are trees, of which there is no mean"
_NOISE = (
    "it sizes its noise for single updates that the server clips or averages, which it does not see here; "
    "agree on the noise instead (docs/embedding/flower.md)"
)
REFUSED = {
    "Krum": _SINGLE,
    "MultiKrum": _SINGLE,
    "Bulyan": _SINGLE,
    "FedMedian": _SINGLE,
    "FedTrimmedAvg": _SINGLE,
    "QFedAvg": _SINGLE,
    "FedXgbBagging": _TREES,
    "FedXgbCyclic": _TREES,
    "DifferentialPrivacyServerSideFixedClipping": _NOISE,
    "DifferentialPrivacyServerSideAdaptiveClipping": _NOISE,
    "DifferentialPrivacyClientSideFixedClipping": _NOISE,
    "DifferentialPrivacyClientSideAdaptiveClipping": _NOISE,
}
"""Flower's classes that need more than a mean, with the reason; classes that derive from them are refused."""


def check_strategy(strategy: object) -> None:
    """Refuse a strategy that needs more than a mean.

    A strategy of one's own is not refused: it is given one reply for all nodes.

    Raises:
        PlanError: it is one of `REFUSED`, or derives from one.

    Example:
        >>> class Krum: ...
        >>> check_strategy(Krum())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fedavg.errors.PlanError: Krum cannot run on secure sums: it compares single updates, and a secure ...
    """
    for kind in type(strategy).__mro__:
        if kind.__name__ in REFUSED:
            raise PlanError(
                f"{type(strategy).__name__} cannot run on secure sums: {REFUSED[kind.__name__]}; take "
                "FedAvg, FedProx, FedAdam or another strategy that works on the mean"
            )


def check_caller() -> None:
    """Refuse the strategy whose method calls the function that calls this.

    `Strategy.start` gives a grid its messages and does not say who it is, so its frame is looked at. A loop
    of one's own has no such frame.

    Raises:
        PlanError: see `check_strategy`.
    """
    frame = inspect.currentframe()
    # This function, then SecureGrid.send_and_receive, then the caller.
    for _ in range(2):
        frame = frame.f_back if frame else None
    if frame is not None:
        check_strategy(frame.f_locals.get("self"))
