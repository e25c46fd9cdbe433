"""Clients' signing keys on their own storage, where they survive the loss of a process.

A key is made by the actor of its client.  It is written to a folder that only its owner may read, and read by
the actor that takes the lost one's place; it is never sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from fedavg.errors import LocalProtocolError
from fedavg.files import replace_file
from secagg import Identity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["keep_keys", "kept_keys"]


def keep_keys(folder: Path, identities: Mapping[int, Identity]) -> None:
    """Write the keys of one actor's clients to one file.

    Args:
        folder: existing folder of this run.
        identities: keys by client.

    Raises:
        LocalProtocolError: this node does not see the folder, or cannot write there.
    """
    _check_shared(folder)
    held = {client: identity.private_bytes() for client, identity in identities.items()}
    try:
        data = msgspec.msgpack.encode(held)
        replace_file(_path(folder, identities), data, mode=0o600, sole=True)
    except OSError as error:
        raise LocalProtocolError(f"cannot write into {folder}: {error.strerror}") from None


def kept_keys(folder: Path, clients: Collection[int]) -> dict[int, Identity]:
    """Read the keys that `keep_keys` wrote for the same clients.

    Raises:
        LocalProtocolError: this node does not see the folder, or the keys are missing or damaged.
    """
    _check_shared(folder)
    try:
        held = _HELD.decode(_path(folder, clients).read_bytes())
    except (OSError, msgspec.DecodeError):
        held = {}
    if held.keys() != set(clients):
        raise LocalProtocolError(f"the clients' keys in {folder} are missing or damaged")
    return {client: Identity.from_private_bytes(data) for client, data in held.items()}


_HELD = msgspec.msgpack.Decoder(
    dict[int, Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]]
)


def _path(folder: Path, clients: Collection[int]) -> Path:
    return folder / f"{min(clients)}.keys"


def _check_shared(folder: Path) -> None:
    # The program makes the folder under a random name, so that a node that does not share it has none.
    if not folder.is_dir():
        raise LocalProtocolError(
            f"a node of the cluster does not see {folder}: give client_store= a folder on a file system that "
            "all nodes share"
        )
