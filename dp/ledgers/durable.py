"""Files that are written as a whole or not at all, under one lock for all names of one file.

A file that is replaced by rename has one name that matters: its own, in its own directory. Symbolic links are
followed to that name before anything is read or written. A second hard link, or a mount of the single file,
would keep the old contents when the first name gets the new ones, so such files are refused.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["exclusive", "only_name", "only_writer", "read_file", "write_file"]

_MOUNTS = Path("/proc/self/mountinfo")
_LOOKS = 1000
"""After so many, a file without links is one of a file system that does not count them."""


def only_name(path: str | os.PathLike[str]) -> Path:
    """Follow links to the file's own name, whether or not it exists yet.

    Args:
        path: absolute or relative path of a file, or of a link to one.

    Returns:
        An absolute path without links.

    Raises:
        InvalidParameterError: the file has several names that cannot be replaced together (hard links, or a
            mount of the single file), it was unlinked, it is no regular file, or its links form a cycle.
    """
    try:
        name = Path(os.path.realpath(path, strict=False))
        found = _present(name)
    except (OSError, ValueError) as cause:
        raise InvalidParameterError(f"{path} cannot be resolved: {cause}") from cause
    if found is None:
        return name
    if not stat.S_ISREG(found.st_mode):
        raise InvalidParameterError(f"{path} is no regular file")
    if found.st_nlink != 1:
        raise InvalidParameterError(
            f"{path} has {found.st_nlink} hard links; writing through one of them would leave the others "
            "behind. Keep one name, and use a symbolic link for any other"
        )
    if _is_mounted(name):
        raise InvalidParameterError(
            f"{path} is mounted as a single file, which cannot be replaced: mount its directory instead"
        )
    return name


def _present(name: Path) -> os.stat_result | None:
    """The state of the file that a name leads to; None if there is none."""
    found = None
    for _ in range(_LOOKS):
        try:
            found = name.lstat()
        except OSError:  # such as no folder of this name; opening the file will say it
            return None
        # Without links it was replaced between look-up and answer: the name leads to another file by now.
        if found.st_nlink > 0:
            break
    return found


def _is_mounted(name: Path) -> bool:
    """Whether the file itself is a mount point, as far as the system reports it (Linux)."""
    try:
        mounts = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return False
    points = (fields[4] for line in mounts if len(fields := line.split(b" ")) > 4)
    escaped = os.fsencode(name)
    # The backslash comes first, since it begins the others' codes.
    for byte in (b"\\", b" ", b"\t", b"\n"):
        escaped = escaped.replace(byte, b"\\%03o" % byte[0])
    return escaped in points


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file: write a temporary one beside it, flush it to the disk, and rename it.

    The new file has the permissions of the old one; without an old one, only its owner has access.

    Raises:
        InvalidParameterError: see `only_name`.
    """
    target = only_name(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            # Access is set before the rename: nobody meets the new file with other rights than the old one's.
            _keep_access(target, stream.fileno())
            # On the disk before the rename: after a crash, the name leads to the whole old or new file.
            os.fsync(stream.fileno())
        only_name(target)  # again, since a name may have been added meanwhile
        Path(name).replace(target)
        _sync_folder(target.parent)
    except BaseException as error:
        # A write knows its handle only, and no file's name.
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(target)
        Path(name).unlink(missing_ok=True)
        raise


def _sync_folder(path: Path) -> None:
    """Write a folder's entries to the disk: a rename is durable only from then on."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_access(target: Path, handle: int) -> None:
    """Give a file the permissions, and if possible the group, of the file that it replaces."""
    with suppress(FileNotFoundError):
        found = target.stat()
        with suppress(PermissionError):
            os.fchown(handle, -1, found.st_gid)
        os.fchmod(handle, stat.S_IMODE(found.st_mode))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file under its own name.

    Raises:
        InvalidParameterError: see `only_name`.
        FileNotFoundError: the file does not exist.
    """
    return only_name(path).read_bytes()


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Generator[Path]:
    """Hold the lock of a file against all other threads and processes (flock, so POSIX only).

    The lock is on a file beside the file's own name that is never replaced, so that all links lead to one
    lock.  The file itself is locked as well: a process that makes the lock anew after somebody deleted it
    still waits for those that hold the deleted one.  The system releases both when the process ends.

    Yields:
        The file's own name.

    Raises:
        InvalidParameterError: see `only_name`.
        FileNotFoundError: the directory does not exist.
    """
    while True:
        name = only_name(path)
        lock = name.with_name(name.name + ".lock")
        beside = _locked(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        with beside as first, _locked(name, os.O_RDONLY) as second:
            if first and second and only_name(path) == name:
                yield name
                return
            # While this process waited, a link was changed, the file was replaced, or the lock was deleted.


@contextmanager
def only_writer(folder: Path) -> Generator[int]:
    """Wait until no other thread or process holds this lock of a folder (flock, so POSIX only).

    The lock is for the moment in which a file is written beside another and renamed: a second writer would
    otherwise take the unfinished file of the first away, or give it the name of the whole one.

    Yields:
        A handle of the folder, open for reading.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    handle, process = os.open(folder, os.O_RDONLY), os.getpid()
    try:
        # NFS locks only what is open for writing, and no folder is: there, writers are not kept apart.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        # A process that another thread forked meanwhile has this handle too, and would keep the lock.
        if os.getpid() == process:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


@contextmanager
def _locked(place: Path, flags: int) -> Generator[bool]:
    """Hold the lock of one file, or none if there is no such file; tell if its name leads to it still."""
    import fcntl  # noqa: PLC0415 - not on every platform

    try:
        handle = os.open(place, flags, 0o666)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        yield True
        return
    process = os.getpid()
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            # NFS locks only what is open for writing: there, the file beside the ledger must do.
            if flags & os.O_CREAT:
                raise
        yield _still_at(place, handle)
    finally:
        # A process that another thread forked meanwhile has this handle too, and would keep the lock.
        if os.getpid() == process:
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _still_at(place: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), place.stat())
    except FileNotFoundError:
        return False
