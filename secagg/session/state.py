"""Phases, and for each role the one kind of message that each phase awaits.

The tables do not say what a message does; the tests walk every combination of phase and kind from them.
"""

from __future__ import annotations

import enum

from secagg.wire.codec import Kind

__all__ = ["CLIENT_AWAITS", "SERVER_AWAITS", "SERVER_SENDS", "Phase", "next_phase"]


class Phase(enum.Enum):
    """The phases of Bonawitz et al. 2017, figure 4, in order, and the two final states.

    CHECK_SHARES is an addition of this protocol: disputes over shares are settled before any client masks, so
    that the server can add each input when it arrives and keep none.

    Example:
        >>> import numpy as np
        >>> from secagg import Params, simulate
        >>> inputs = {i: np.array([10**i]) for i in range(4)}
        >>> params = Params.for_cohort(4, 1, max_abs=1000, dropout_rate=0.25)
        >>> simulate(inputs, params, drop={Phase.MASKED_INPUT: {0}}).total  # client 0 sends no input
        array([1110])
        >>> simulate(inputs, params, drop={Phase.CONSISTENCY: {0}}).total  # its input has arrived
        array([1111])
    """

    ADVERTISE_KEYS = "advertise_keys"
    SHARE_KEYS = "share_keys"
    CHECK_SHARES = "check_shares"
    MASKED_INPUT = "masked_input"
    CONSISTENCY = "consistency"
    UNMASK = "unmask"
    DONE = "done"
    ABORTED = "aborted"


CLIENT_AWAITS: dict[Phase, Kind] = {
    Phase.SHARE_KEYS: Kind.ROSTER,
    Phase.CHECK_SHARES: Kind.FORWARDED_SHARES,
    Phase.MASKED_INPUT: Kind.PARTNERS,
    Phase.CONSISTENCY: Kind.SURVIVORS,
    Phase.UNMASK: Kind.SIGNATURES,
}
"""The client's answer to the message of each phase. ADVERTISE_KEYS answers the offer, by start()."""

SERVER_AWAITS: dict[Phase, Kind] = {
    Phase.ADVERTISE_KEYS: Kind.ADVERTISE_KEYS,
    Phase.SHARE_KEYS: Kind.SHARE_KEYS,
    Phase.CHECK_SHARES: Kind.SHARES_OPENED,
    Phase.MASKED_INPUT: Kind.MASKED_INPUT,
    Phase.CONSISTENCY: Kind.SIGNATURE,
    Phase.UNMASK: Kind.UNMASK_SHARES,
}

SERVER_SENDS: dict[Phase, Kind] = CLIENT_AWAITS
"""The message that clients await in each phase, which the server sends when it enters the phase."""

_ORDER = tuple(Phase)


def next_phase(phase: Phase) -> Phase:
    """The phase that follows `phase` without a failure.

    Example:
        >>> next_phase(Phase.UNMASK)
        <Phase.DONE: 'done'>
    """
    return _ORDER[_ORDER.index(phase) + 1]
