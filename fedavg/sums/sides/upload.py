"""A client's part in sums of one round trip: it receives an opening and sends one upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import SumSpec

__all__ = ["UploadSession", "check_opening", "openings"]


def openings(magic: bytes, spec: SumSpec, roster: Iterable[int]) -> dict[int, Sequence[bytes]]:
    """The server's first messages, one for each client of the roster; they identify the sum."""
    return dict.fromkeys(roster, (magic + spec.context,))


def check_opening(magic: bytes, spec: SumSpec, opening: bytes) -> None:
    """Raise LocalProtocolError unless the opening belongs to this client's round and model."""
    if opening != magic + spec.context:
        raise LocalProtocolError("the server's opening is for another round or model")


class UploadSession:
    """Takes the input once and turns it into messages once; it accepts no later message.

    Args:
        spec: the public facts of the sum.
        upload: function from an admitted vector to the messages that carry it.
    """

    def __init__(
        self, spec: SumSpec, upload: Callable[[NDArray[np.int64]], Iterable[bytes]]
    ) -> None:
        self._spec = spec
        self._upload = upload
        self._vector: NDArray[np.int64] | None = None
        self._left = False

    @property
    def roster_size(self) -> int:
        """Number of clients among whom the sum is taken."""
        return self._spec.roster_size

    @property
    def left(self) -> bool:
        """Whether the upload was made."""
        return self._left

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Check or reduce the vector, and keep it until `start`."""
        # A vector out of bounds is refused before any byte leaves the client.
        self._vector = self._spec.admit(vector)

    def start(self) -> Sequence[bytes]:
        """The messages of the upload.

        Raises:
            LocalProtocolError: no input was given, or the upload was sent already.
        """
        if self._vector is None:
            raise LocalProtocolError("call set_input before start, and start only once")
        # The session counts as used before the upload is made, so that an error cannot lead to a second one.
        vector, self._vector, self._left = self._vector, None, True
        return tuple(self._upload(vector))

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Raise LocalProtocolError: the server sends nothing after the upload."""
        del message
        raise LocalProtocolError(
            "this sum consists of one upload; the client awaits no further message"
        )
