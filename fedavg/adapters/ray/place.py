"""What must be the same on every node of a cluster: the folder, the import path and the versions."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import socket
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from fedavg.errors import LocalProtocolError

__all__ = ["Place"]

_PACKAGES = ("secure-fedavg", "torch", "numpy")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The surroundings of the program that joins a cluster; a process of a node takes them on.

    Args:
        folder: the folder that relative paths start from.
        path: where modules are imported from.
        versions: versions on which figures may depend, by package, and a digest of our own sources.

    Example:
        >>> Place.of_bytes(bytes(Place.here())) == Place.here()
        True
    """

    folder: str
    path: tuple[str, ...]
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Place:
        """The surroundings of this process."""
        versions = {package: metadata.version(package) for package in _PACKAGES}
        versions |= {"python": platform.python_version(), "sources": _sources()}
        folder = os.getcwd()  # noqa: PTH109 - as text, for a message
        path = tuple(entry or folder for entry in sys.path)
        return cls(folder, path, versions)

    @classmethod
    def of_bytes(cls, data: bytes) -> Place:
        """Decode what `bytes` gives."""
        return msgspec.msgpack.decode(data, type=cls)

    def __bytes__(self) -> bytes:
        return msgspec.msgpack.encode(self)

    def enter(self) -> None:
        """Work like the program: in its folder, with its modules.

        Raises:
            LocalProtocolError: this node has other versions, or no such folder.
        """
        node, mine = socket.gethostname(), Place.here().versions
        other = [
            f"{package} {found} (the program has {self.versions.get(package)})"
            for package, found in mine.items()
            if found != self.versions.get(package)
        ]
        # Other versions may round otherwise, and a result would depend on where it was computed.
        if other:
            raise LocalProtocolError(
                f"node {node} has {', '.join(other)}: install the same versions on every node; 'sources' are "
                "those of secure-fedavg"
            )
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise LocalProtocolError(
                f"node {node} cannot use the program's folder {self.folder} ({error.strerror}): start the "
                "program in a folder that every node has, such as one on a shared file system"
            ) from error
        # The program's own entries come last, so that a file cannot stand in for an installed module.
        sys.path.extend(entry for entry in self.path if entry not in sys.path)


@functools.cache
def _sources() -> str:
    """The beginning of the SHA-256, hexadecimal, of the four packages' sources."""
    digest, root = hashlib.sha256(), Path(__file__).parents[3]
    for package in ("dp", "fedavg", "he", "secagg"):
        for source in sorted((root / package).rglob("*.py")):
            digest.update(f"\n{source.relative_to(root).as_posix()}\n".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
