"""Phases, and for each role the one message kind that each phase takes.

The tables do not know what a message does; the tests walk every phase × kind from them.
"""

from __future__ import annotations

import enum

from secagg.wire.codec import Kind

__all__ = ["CLIENT_AWAITS", "SERVER_AWAITS", "SERVER_SENDS", "Phase", "next_phase"]


class Phase(enum.Enum):
    """The phases of Bonawitz et al. 2017, figure 4, in order, and the two ends.

    CHECK_SHARES is ours: disputes over shares are settled before anyone masks, so that the server can
    add each input as it comes and keep none.
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
"""What a client answers with that phase's message. ADVERTISE_KEYS answers the offer, by start()."""

SERVER_AWAITS: dict[Phase, Kind] = {
    Phase.ADVERTISE_KEYS: Kind.ADVERTISE_KEYS,
    Phase.SHARE_KEYS: Kind.SHARE_KEYS,
    Phase.CHECK_SHARES: Kind.SHARES_OPENED,
    Phase.MASKED_INPUT: Kind.MASKED_INPUT,
    Phase.CONSISTENCY: Kind.SIGNATURE,
    Phase.UNMASK: Kind.UNMASK_SHARES,
}

SERVER_SENDS: dict[Phase, Kind] = CLIENT_AWAITS
"""What the server sends when it enters a phase is what its clients await there."""

_ORDER = tuple(Phase)


def next_phase(phase: Phase) -> Phase:
    """The phase after `phase` when all goes well.

    Example:
        >>> next_phase(Phase.UNMASK)
        <Phase.DONE: 'done'>
    """
    return _ORDER[_ORDER.index(phase) + 1]
