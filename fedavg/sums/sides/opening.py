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

__all__ = ["OPENED", "HeKeyHolderSession", "OpenedSum", "read_opened"]

OPENED = b"HES1"
"""The first bytes of the key holder's answer."""


class _Opened(msgspec.Struct, frozen=True, array_like=True):
    total: bytes
    survivors: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSum:
    """The sum, which is read-only, and the clients whose vectors are in it."""

    total: NDArray[np.int64]
    survivors: tuple[int, ...]

    def __post_init__(self) -> None:
        # A view, so that a backend may go on with an array of its own.
        view = self.total.view()
        view.setflags(write=False)
        object.__setattr__(self, "total", view)


class HeKeyHolderSession:
    """Opens one sum, and only once."""

    def __init__(self, holder: he.KeyHolder) -> None:
        self._holder = holder

    def receive(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Check the sum, open it, and return it in the clear.

        Raises:
            he.HeError: the sum is forged, belongs to another round, is too small, or was opened before.
        """
        result = self._holder.decrypt(messages)
        opened = _Opened(result.total.astype("<i8").tobytes(), tuple(result.survivors))
        return (OPENED + msgspec.msgpack.encode(opened),)


def read_opened(message: bytes, vector_length: int, contributors: Sequence[int]) -> OpenedSum:
    """Read the key holder's answer.

    Raises:
        LocalProtocolError: the message is no opened sum, or its length or its clients are wrong.

    Example:
        >>> answer = OPENED + msgspec.msgpack.encode(_Opened(bytes(16), (3, 5, 8)))
        >>> read_opened(answer, 2, (3, 5, 8)).total
        array([0, 0])
    """
    if message[:4] != OPENED:
        raise LocalProtocolError("the key holder's answer is not an opened sum")
    try:
        opened = msgspec.msgpack.decode(message[4:], type=_Opened)
    except msgspec.MsgspecError as error:
        raise LocalProtocolError("the key holder's answer cannot be read") from error
    if len(opened.total) != 8 * vector_length:
        raise LocalProtocolError("the key holder opened a sum of another length")
    # The divisor and the noise follow from the contributors, so the sum must be over exactly these.
    if opened.survivors != tuple(contributors):
        raise LocalProtocolError("the key holder opened a sum of other clients")
    total = np.frombuffer(opened.total, dtype="<i8").astype(np.int64)
    return OpenedSum(total, opened.survivors)
