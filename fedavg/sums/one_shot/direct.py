"""Short vectors: members share the vector itself, where that takes fewer bytes than a key and ciphertexts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import LocalProtocolError
from fedavg.sums.sides.opening import OpenedSum
from secagg import CapacityError, UnsafeParametersError, WireFormatError
from secagg.committee.wire.codec import decode, read_header
from secagg.committee.wire.messages import Contribution, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedavg.sums.interface import SumSpec
    from fedavg.sums.one_shot.uploads import Uploads
    from secagg.committee import Collector, CommitteeParams

__all__ = ["NO_UPLOAD", "Shared", "direct_words", "named_digest", "numbers_of_vector"]

NO_UPLOAD = hashlib.sha256(b"fedavg one-shot: the shares are of the vector itself").digest()
"""Stands for the digest of ciphertexts, where there are none."""

_DIGEST = slice(44, 76)  # in a contribution, behind its header and the client's id


def numbers_of_vector(
    uploads: Uploads, numbers: Callable[[SumSpec], CommitteeParams], spec: SumSpec
) -> CommitteeParams | None:
    """The committee's parameters for the vector itself; None where a key and ciphertexts are shorter.

    All parties decide by the public facts of the sum, and so alike.

    Args:
        uploads: the parameters of ciphertexts.
        numbers: sum → the committee's parameters.
        spec: the sum of the vectors.
    """
    try:
        direct = numbers(spec)
    except (CapacityError, UnsafeParametersError):  # too long to be shared
        return None
    hidden = numbers(uploads.keys(spec)).contribution_size + uploads.params(spec).upload_bytes
    return direct if direct.contribution_size < hidden else None


@dataclass(frozen=True, slots=True)
class Shared:
    """The server's part of a sum without ciphertexts.

    Args:
        collector: adds the shared vectors.
        numbers: the committee's parameters.
    """

    collector: Collector
    numbers: CommitteeParams

    def receive(self, sender: int, message: bytes) -> None:
        """Take a client's one message."""
        if named_digest(message, self.numbers) != NO_UPLOAD:
            raise LocalProtocolError(
                f"client {sender} shared a key of ciphertexts, where the vector itself is due"
            )
        self.collector.receive(sender, message)

    def forget_unfinished(self) -> None:
        """Nothing is unfinished: a contribution is one message."""

    def settle(self) -> None:
        """Nothing is added before the members answer."""

    def opened(self) -> OpenedSum:
        """The sum of the vectors."""
        found = self.collector.result()
        return OpenedSum(found.total, found.survivors)


def named_digest(message: bytes, numbers: CommitteeParams) -> bytes:
    """The digest that a contribution names; raises secagg.WireFormatError for another message."""
    match decode(message, numbers):
        case _, Contribution(message_digest=named):
            return named
        case _:
            raise WireFormatError("another message stands where shares are due")


def direct_words(message: bytes) -> NDArray[np.uint64] | None:
    """The words of a contribution that shares a vector itself: sealed shares; None for other messages."""
    try:
        kind, _ = read_header(message)
    except WireFormatError:
        return None
    if kind is not Kind.CONTRIBUTION or message[_DIGEST] != NO_UPLOAD:
        return None
    body = message[_DIGEST.stop :]
    return np.frombuffer(body, "<u8", len(body) // 8).astype(np.uint64)
