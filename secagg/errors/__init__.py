"""Errors of the masked sum: one root class, and one class for each kind of failure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from secagg.errors.conviction import Conviction

__all__ = [
    "AbortReason",
    "Aborted",
    "CapacityError",
    "Culprit",
    "InternalError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "SecAggError",
    "StateError",
    "UnsafeParametersError",
    "WireFormatError",
]

Culprit = int | Literal["server"]
"""The misbehaving party: a client's id, or the server."""


class AbortReason(enum.Enum):
    """Why a session ended without a sum.

    Example:
        >>> import numpy as np
        >>> from secagg import Aborted, Params, Phase, simulate
        >>> inputs = {i: np.array([i, 1]) for i in range(3)}
        >>> try:
        ...     simulate(inputs, Params.for_cohort(3, 2, max_abs=9), drop={Phase.MASKED_INPUT: {0, 2}})
        ... except Aborted as end:
        ...     print(end.reason.name)
        TOO_FEW_SURVIVORS
    """

    TOO_FEW_KEYS = "too few clients advertised keys"
    TOO_FEW_SHARES = "too few clients dealt shares"
    TOO_FEW_SURVIVORS = "too few masked inputs arrived"
    TOO_FEW_SIGNATURES = "too few clients signed the survivor set"
    TOO_FEW_UNMASK_SHARES = "too few shares came back to remove a mask"
    TOO_FEW_CONTRIBUTIONS = "too few clients contributed"
    TOO_FEW_REPORTS = "too few members reported which shares opened"
    TOO_FEW_ANSWERS = "too few members answered with their sums"
    FALSE_ANSWERS = "more answers are false than can be corrected"
    BAD_DEALER = "a client dealt shares that rebuild another secret than it announced"


class SecAggError(Exception):
    """Base class of every error that this package raises on purpose."""


class LocalProtocolError(SecAggError):
    """The caller used an object at the wrong time, twice, or with an invalid argument."""


class StateError(LocalProtocolError):
    """A suspended client cannot go on from a state; it is out of this session, and of no other.

    The state is of another client, identity or context, or was altered; or its phase was answered before, by
    a second process or before an old copy was put back; or the journal is not the one of the client.
    """


class RemoteProtocolError(SecAggError):
    """A peer misbehaved.

    Args:
        message: the misbehaviour.
        culprit: "server", or the client in whose name the transport delivered the message. Where the
            transport does not authenticate its senders, that may be somebody else: only `convictions`, with
            their evidence, prove that a client cheated.

    Example:
        >>> RemoteProtocolError("sent two inputs", 7).culprit
        7
    """

    def __init__(self, message: str, culprit: Culprit) -> None:
        super().__init__(message, culprit)  # both arguments, so that the error survives pickling
        self.culprit: Culprit = culprit

    def __str__(self) -> str:
        who = "the server" if self.culprit == "server" else f"client {self.culprit}"
        return f"{self.args[0]} (culprit: {who})"


class Aborted(SecAggError):  # noqa: N818 - the name of an outcome, as the literature has it
    """The session has ended without a sum.

    Nothing was revealed, with one exception: a `secagg.committee.Collector` that ends after its requests have
    left may know the sum, or learn it from answers that come late (`Collector.opened`).

    Args:
        reason: reason, for programs.
        detail: the numbers, for people.
        culprit: a client that was shown to cheat, the first of `convictions`; None if there is none.
        convictions: all such clients, with the evidence: leave them out of a retry, and from then on.
        disputes: pairs (holder, dealer) where the holder says that the dealer's shares did not open, or are
            false; one of the two cheats. The holder is a client, or of a committee a member by its own id.

    Example:
        >>> Aborted(AbortReason.BAD_DEALER, "the mask key of client 7", 7).culprit
        7
    """

    def __init__(
        self,
        reason: AbortReason,
        detail: str,
        culprit: int | None = None,
        convictions: tuple[Conviction, ...] = (),
        disputes: tuple[tuple[int, int], ...] = (),
    ) -> None:
        # All arguments are passed on, so that the error can be pickled.
        super().__init__(reason, detail, culprit, convictions, disputes)
        self.reason: AbortReason = reason
        self.culprit: int | None = culprit
        self.convictions: tuple[Conviction, ...] = convictions
        self.disputes: tuple[tuple[int, int], ...] = disputes

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.args[1]}"


class WireFormatError(SecAggError):
    """Bytes are no message of this package, or are not in canonical form."""


class UnsafeParametersError(SecAggError):
    """The protocol would not keep its promise under these parameters."""


class InternalError(SecAggError):
    """A call failed below this package's own checks: memory, an executor, or a mistake of the package.

    The session that it belongs to has ended.  The message names the exception's type and place; the text of
    the exception is left out, since it may hold secrets.
    """


class CapacityError(SecAggError):
    """The ring of the session cannot hold a value or a sum."""
