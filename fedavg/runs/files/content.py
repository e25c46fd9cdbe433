"""Which examples a run has trained on, so that a resumed run goes on with the same ones."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.data.dataset import Dataset
    from fedavg.runs.files.directory import RunDirectory

__all__ = ["keep_content"]

_FILE = "content.json"


class _Kept(msgspec.Struct, frozen=True):
    """A key, hexadecimal, and the digest under it of each part."""

    key: str
    of: dict[str, str]


def keep_content(
    directory: RunDirectory, clients: Mapping[int, Dataset], test: Dataset, *, begins: bool
) -> None:
    """Note what examples a run begins with, or check that it goes on with the same ones.

    Only the owner of the directory can read the digest. It has a key of its own beside it, so that equal
    data are not seen to be equal in two runs.

    Args:
        directory: of the run.
        clients: the examples of each client.
        test: the held-out examples.
        begins: whether the run begins; otherwise it is resumed.

    Raises:
        CheckpointError: a client's examples, or the held-out ones, are not those that the run began with,
            or the file that says so is damaged.
    """
    if begins:
        key = secrets.token_bytes(32)
        found = _digests(key, clients, test)
        directory.write_json(_FILE, {"key": key.hex(), "of": found}, 0o600)
        return
    path = directory.path / _FILE
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        key = bytes.fromhex(kept.key)
    except FileNotFoundError:  # of an earlier version, which kept none
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged, and says no longer which examples the run began with: {error}. Restore it; "
            "without the file the examples are not checked"
        ) from error
    found = _digests(key, clients, test)
    other = [name for name in {**kept.of, **found} if kept.of.get(name) != found.get(name)]
    if other:
        listed = ", ".join(other[:6]) + (f" and {len(other) - 6} more" if len(other) > 6 else "")
        raise CheckpointError(
            f"the examples are no longer those that the run began with: {listed} of {len(found)} parts "
            "differ. Go on with the files as they were, or begin a new run with these"
        )


def _digests(key: bytes, clients: Mapping[int, Dataset], test: Dataset) -> dict[str, str]:
    found = {f"client {client}": _digest(key, data) for client, data in clients.items()}
    return found | {"held-out": _digest(key, test)}


def _digest(key: bytes, data: Dataset) -> str:
    digest = hashlib.blake2b(key=key, digest_size=16)
    for array in (data.features, data.labels, data.weights):
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()
