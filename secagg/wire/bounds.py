"""Largest length of a client's message of each kind; a longer message is refused before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.crypto.keys import SIGNATURE_SIZE
from secagg.crypto.ring import packed_size
from secagg.wire.codec import HEADER_SIZE, Kind
from secagg.wire.messages import ENVELOPE_SIZE

if TYPE_CHECKING:
    from secagg.params.params import Params

__all__ = ["largest_message"]

_ROOM = HEADER_SIZE + 256  # for the fixed fields of any message


def largest_message(kind: Kind, params: Params) -> int:
    """Number of bytes that no client's message of this kind exceeds.

    Example:
        >>> from secagg.params.params import Params
        >>> largest_message(Kind.SHARES_OPENED, Params.for_cohort(5, 8, max_abs=100))
        300
    """
    around = min(params.degree, params.n_clients - 1)
    lists = {
        Kind.SHARE_KEYS: around * ENVELOPE_SIZE,
        Kind.SHARES_OPENED: around,
        Kind.MASKED_INPUT: packed_size(params.vector_length, params.ring_bits),
        Kind.UNMASK_SHARES: around * SIGNATURE_SIZE,  # a share is shorter
    }
    return _ROOM + lists.get(kind, 0)
