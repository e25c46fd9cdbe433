"""The key holder's part of an encrypted sum, and how the server reads its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    import he

__all__ = ["OPENED", "KeyHolderSession", "OpenedSum", "read_opened"]

OPENED = b"HES1"
"""What the key holder's answer begins with."""


class _Opened(msgspec.Struct, frozen=True, array_like=True):
    total: bytes
    survivors: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSum:
    """The sum and whose vectors are in it."""

    total: NDArray[np.int64]
    survivors: tuple[int, ...]


class KeyHolderSession:
    """Opens one sum, once."""

    def __init__(self, holder: he.KeyHolder) -> None:
        self._holder = holder

    def receive(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Check the sum, open it, and answer with it in the clear.

        Raises:
            he.HeError: a forged, foreign or too small sum, or a second one; nothing is opened.
        """
        result = self._holder.decrypt(messages)
        opened = _Opened(result.total.astype("<i8").tobytes(), tuple(result.survivors))
        return (OPENED + msgspec.msgpack.encode(opened),)


def read_opened(message: bytes, vector_length: int, contributors: Sequence[int]) -> OpenedSum:
    """Read the key holder's answer.

    Raises:
        LocalProtocolError: no opened sum, one of another length, or of other clients.

    Example:
        >>> answer = OPENED + msgspec.msgpack.encode(_Opened(bytes(16), (3, 5, 8)))
        >>> read_opened(answer, 2, (3, 5, 8)).total
        array([0, 0])
    """
    if message[:4] != OPENED:
        raise LocalProtocolError("the key holder sent no opened sum")
    try:
        opened = msgspec.msgpack.decode(message[4:], type=_Opened)
    except msgspec.MsgspecError as error:
        raise LocalProtocolError("the key holder's answer cannot be read") from error
    if len(opened.total) != 8 * vector_length:
        raise LocalProtocolError("the key holder opened a sum of another length")
    if opened.survivors != tuple(contributors):
        raise LocalProtocolError("the key holder opened a sum of other clients")
    total = np.frombuffer(opened.total, dtype="<i8").astype(np.int64)
    return OpenedSum(total, opened.survivors)
