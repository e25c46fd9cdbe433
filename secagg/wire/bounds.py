"""How long a client's message may be in each phase: what is longer is refused before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.crypto.keys import SIGNATURE_SIZE
from secagg.crypto.ring import packed_size
from secagg.state import Phase
from secagg.wire.codec import HEADER_SIZE
from secagg.wire.messages import ENVELOPE_SIZE

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["largest_message"]

_ROOM = HEADER_SIZE + 256  # fixed fields of any message


def largest_message(phase: Phase, params: Params) -> int:
    """Bytes that no message of a client exceeds in this phase.

    Example:
        >>> from secagg.params import Params
        >>> largest_message(Phase.CHECK_SHARES, Params.for_cohort(5, 8, max_abs=100))
        300
    """
    around = min(params.degree, params.n_clients - 1)
    lists = {
        Phase.SHARE_KEYS: around * ENVELOPE_SIZE,
        Phase.CHECK_SHARES: around,
        Phase.MASKED_INPUT: packed_size(params.vector_length, params.ring_bits),
        Phase.UNMASK: around * SIGNATURE_SIZE,  # a share is shorter
    }
    return _ROOM + lists.get(phase, 0)
