"""Uploads in parts: kept for each client until they are complete, and limited to one message each."""

from __future__ import annotations

from dataclasses import dataclass, field

from secagg.errors import RemoteProtocolError, WireFormatError
from secagg.wire.codec import decode_chunk

__all__ = ["Staging"]


@dataclass(slots=True)
class _Upload:
    parts: int
    taken: int = 0
    data: bytearray = field(default_factory=bytearray)


class Staging:
    """Parts of unfinished messages, by client.

    Example:
        >>> staging = Staging()
        >>> staging.add(7, 0, 2, b"ab", limit=4)
        >>> bytes(staging.add(7, 1, 2, b"cd", limit=4))
        b'abcd'
    """

    __slots__ = ("_uploads",)

    def __init__(self) -> None:
        self._uploads: dict[int, _Upload] = {}

    def __len__(self) -> int:
        return len(self._uploads)

    @property
    def size(self) -> int:
        """Number of staged bytes."""
        return sum(len(upload.data) for upload in self._uploads.values())

    def take(self, client_id: int, chunk: bytes, *, session: bytes, limit: int) -> bytearray | None:
        """Read a chunk and `add` it.

        Raises:
            RemoteProtocolError: the chunk is not of this session, or not the next one; nothing has changed.
        """
        try:
            sent, index, parts, payload = decode_chunk(chunk)
        except WireFormatError as error:
            raise RemoteProtocolError(f"sent a malformed chunk: {error}", client_id) from error
        if sent != session:
            raise RemoteProtocolError("sent a chunk of another session", client_id)
        return self.add(client_id, index, parts, payload, limit=limit)

    def add(
        self, client_id: int, index: int, parts: int, payload: bytes, *, limit: int
    ) -> bytearray | None:
        """Take part `index` of `parts`; when the message is complete, return it and discard the parts.

        Raises:
            RemoteProtocolError: it is not the next part, the number of parts differs from before, or there
                are more than `limit` bytes; nothing has changed.
        """
        # A new upload is stored only below: a first part that is refused leaves nothing behind.
        upload = self._uploads.get(client_id) or _Upload(parts)
        if index != upload.taken or parts != upload.parts:
            raise RemoteProtocolError(
                f"sent chunk {index} of {parts} out of turn: {upload.taken} of {upload.parts} is due",
                client_id,
            )
        if len(upload.data) + len(payload) > limit:  # memory is bounded before bytes are kept
            raise RemoteProtocolError("sent chunks beyond any message of this phase", client_id)
        upload.data += payload
        upload.taken += 1
        if upload.taken < parts:
            self._uploads[client_id] = upload
            return None
        self.drop(client_id)
        return upload.data

    def drop(self, client_id: int) -> None:
        """Discard what a client has staged."""
        self._uploads.pop(client_id, None)

    def clear(self) -> None:
        """Discard everything."""
        self._uploads.clear()
