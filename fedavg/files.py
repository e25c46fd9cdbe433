"""Files that are replaced as a whole, locks between processes, and journals of facts."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dp import DpError
from dp.ledgers.durable import only_name, only_writer
from fedavg.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "FileJournal",
    "check_folder",
    "check_writable",
    "locked",
    "refuse_other_names",
    "remove_file",
    "replace_file",
]

_TITLE = b"fedavg journal 1\n"
# Hexadecimal digits of a line: SHA-256 of a fact, and CRC-32 of those digits.
_DIGEST, _CHECK = 64, 8
_LINE = _DIGEST + _CHECK + 2  # with a space and an end of line


@contextmanager
def locked(path: Path, busy: str) -> Generator[None]:
    """Hold a lock against other processes (POSIX only).

    Args:
        path: path of the lock's file, which is created if it does not exist.
        busy: error message for when another process holds the lock.

    Raises:
        ConfigError: another process holds the lock.
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    # The lock belongs to the open file, so it ends with the process, even after a crash.
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            # A second process is told at once, because the first may hold the lock for a whole run.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(busy) from error
        yield
    finally:
        os.close(handle)


def replace_file(path: Path, data: bytes, *, mode: int = 0o666, sole: bool = False) -> None:
    """Write a file as a whole or not at all; the data is on the disk when this returns.

    A symbolic link stays a link: the file that it points to is replaced. Writers in one folder take turns.

    Args:
        path: path of the file, which is replaced if it exists.
        data: complete content of the file.
        mode: permissions, less the umask.
        sole: whether the file is state of which no second copy may arise. If so, the file may have no other
            name: a symbolic link, a hard link, or a mount of the single file is refused.

    Raises:
        OSError: the file cannot be written, or it has another name and `sole` is true. The error names the
            file; an unfinished one is removed.
    """
    if sole:
        # A rename would replace one of two names, and the other would keep the old contents.
        refuse_other_names(path)
    # A link is followed first, so that the rename replaces the file that it names and not the link.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{target.name}.part")
    with only_writer(target.parent) as folder:
        # A file that a crash left or somebody put there would keep its permissions, readers and names.
        temporary.unlink(missing_ok=True)
        try:
            _write_new(temporary, data, mode)
            temporary.replace(target)
            # The rename itself is lost in a crash until the folder is on the disk too.
            os.fsync(folder)
        except OSError as error:
            # A write knows its handle only, and no file's name.
            error.filename = (error.filename or str(path)) if error.errno else None
            raise
        finally:
            # On a full disk an unfinished file would take the room that others need.
            temporary.unlink(missing_ok=True)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        # The contents reach the disk before the new name does; otherwise a crash could leave an empty file.
        os.fsync(file.fileno())


def remove_file(path: Path) -> None:
    """Remove a file; it is gone from the folder on the disk when this returns.

    What a file system or a disk keeps of a file without a name is beyond this.

    Args:
        path: path of the file, which need not exist.

    Raises:
        OSError: the file cannot be removed.
    """
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def check_writable(path: Path, *endings: str) -> None:
    """Refuse, before any work, a file that could not be written after it.

    Args:
        path: path of the file, which may exist.
        endings: endings that its name may have; none for any.

    Raises:
        ConfigError: the file cannot be written; the message says why.
    """
    if endings and path.suffix not in endings:
        raise ConfigError(f"cannot write {path}: its name must end with {' or '.join(endings)}")
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; name a file")
    folder = Path(os.path.realpath(path)).parent
    if not folder.exists():
        raise ConfigError(f"cannot write {path}: there is no folder {folder}; make it first")
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(f"cannot write {path}: nothing can be written into {folder}")


def check_folder(path: Path, what: str) -> None:
    """Refuse, before any work, a folder that could not be used or made after it.

    Args:
        path: path of the folder, which may exist; so may folders above it.
        what: meaning of the folder, for the message.

    Raises:
        ConfigError: the folder cannot be used; the message says why.
    """
    there = Path(os.path.realpath(path))
    # The folder may be made later, so its nearest parent that exists has to be writable.
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ConfigError(f"cannot use {path} as {what}: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot use {path} as {what}: nothing can be written into {there}")


def refuse_other_names(path: Path) -> None:
    """Refuse a file that can be reached, and replaced, under a name of its own elsewhere.

    Linked directories are allowed: all paths through them lead to the same directory entry.

    Raises:
        OSError: the file is a symbolic link, has hard links, or is mounted as a single file.
    """
    if path.is_symlink():
        raise OSError(
            errno.ELOOP,
            "it is a symbolic link, and two runs that share a file would overwrite each other's state; put "
            "the file itself here",
            str(path),
        )
    try:
        only_name(path)
    except DpError as error:
        raise OSError(errno.EMLINK, str(error), str(path)) from error


def _sync_folder(path: Path) -> None:
    """Write a folder's entries to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class FileJournal:
    """A journal in a file: each fact is recorded once, and is on the disk when `add` returns (POSIX only).

    It is a `Journal` of `he` and of `secagg`. Key holders that share a journal open each round once, and
    clients that share one join each session once, in all their processes and after crashes. Any number of
    threads and processes may use one file. A journal cannot notice that an older copy of the file was put in
    its place: keep the file out of snapshots and backups that are restored.

    Each line of the file holds the SHA-256 of one fact and a checksum. A last line without its end, which a
    crash may leave, belongs to an `add` that never returned; it is removed. Any other line that does not
    agree with its checksum was damaged, and held a fact that somebody relies on: the journal is refused.

    Args:
        path: path of the file. Links are resolved here, once.
        create: whether a file that is missing or empty becomes a new journal. With False it is refused: where
            enrolment made the journal, a missing one has lost facts.

    Raises:
        JournalError: the file is not a regular file, is damaged, or cannot be opened; or it is missing or
            empty, and `create` is false.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     journal = FileJournal(Path(folder) / "opened")
        ...     again = FileJournal(Path(folder) / "opened")
        ...     journal.add(b"round 1"), again.add(b"round 1"), again.add(b"round 2")
        ...     journal.known(b"round 2"), journal.known(b"round 3")
        (True, False, True)
        (True, False)
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise JournalError(f"a journal needs the path of its file, not {type(path).__name__}")
        self._path = Path(path).resolve()
        self._facts: set[bytes] = set()
        self._read_to = 0
        self._file: tuple[int, int] | None = None  # device and inode
        if not create and not self._path.exists():
            raise self._lost("missing")
        with self._locked(os.O_CREAT if create else 0) as handle:
            found = os.fstat(handle)
            self._file = found.st_dev, found.st_ino
            if not create and found.st_size < len(_TITLE):
                raise self._lost("empty")
            # New, or unfinished after a crash. A whole title is not written again: if that failed, the
            # journal would be empty, and no party would start with it any more.
            if found.st_size < len(_TITLE) and _TITLE.startswith(_read(handle, 0, found.st_size)):
                self._append(handle, _TITLE, 0)
                _sync_folder(self._path.parent)
            self._catch_up(handle)

    def __repr__(self) -> str:
        return f"FileJournal({str(self._path)!r})"

    def _lost(self, how: str) -> JournalError:
        return JournalError(
            f"the journal {self._path} is {how}, so that what was done before could be done a second time: "
            "enrol with a new identity, and a new journal; neither an empty file nor an older copy is safe"
        )

    def add(self, fact: bytes, /) -> bool:
        """Record a fact.

        Args:
            fact: any bytes; equal bytes are the same fact.

        Returns:
            True if the fact was not recorded before, in any process; it is then on the disk.

        Raises:
            JournalError: the file is damaged, missing, replaced, or cannot be written. Do nothing that
                relies on the fact.
        """
        digest = _digest(fact)
        with self._locked() as handle:
            # Another process may have recorded this fact since.
            self._catch_up(handle)
            if digest in self._facts:
                return False
            # The fact is on the disk before it counts as known.
            self._append(handle, _line(digest), self._read_to)
            self._read_to += _LINE
            self._facts.add(digest)
        return True

    def known(self, fact: bytes, /) -> bool:
        """Whether a fact was recorded, in any process.

        Use `add` for what may be done once: between this answer and the deed another process may do it.

        Args:
            fact: any bytes.

        Raises:
            JournalError: as from `add`.
        """
        digest = _digest(fact)
        with self._locked() as handle:
            self._catch_up(handle)
            return digest in self._facts

    @contextmanager
    def _locked(self, flags: int = 0) -> Generator[int]:
        """Open the file anew and lock it against other threads and processes."""
        import fcntl  # noqa: PLC0415 - not on every platform

        handle = -1
        try:
            # The file is opened anew for each fact: a lock on a file that was replaced would exclude nobody.
            handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._check_file(handle)
            yield handle
        except OSError as error:
            raise JournalError(
                f"the journal {self._path} cannot be used: {error.strerror}; nothing was done"
            ) from error
        finally:
            if handle >= 0:
                os.close(handle)

    def _check_file(self, handle: int) -> None:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise JournalError(f"the journal {self._path} is no regular file")
        # Facts in a file that was removed are lost, so nothing is recorded in it.
        if not found.st_nlink or self._file not in (None, (found.st_dev, found.st_ino)):
            raise JournalError(
                f"the journal {self._path} was removed or replaced while it was in use: put it back"
            )

    def _catch_up(self, handle: int) -> None:
        """Read the facts that others have added, and cut off an unfinished last line."""
        size = os.fstat(handle).st_size
        # A shorter file has lost facts, and what they record could be done a second time.
        if size < self._read_to:
            raise JournalError(f"the journal {self._path} was shortened: facts are missing")
        if size == self._read_to:
            return
        data = _read(handle, self._read_to, size)
        if not self._read_to:
            if not data.startswith(_TITLE):
                raise JournalError(f"{self._path} is no journal of this version")
            self._read_to, data = len(_TITLE), data[len(_TITLE) :]
        for start in range(0, len(data), _LINE):
            line = data[start : start + _LINE]
            if line != _line(line[:_DIGEST]):
                if start + _LINE < len(data) or not _unfinished(line):
                    raise self._damaged()
                # The partial line belongs to an `add` that never returned, so nobody relies on it.
                os.ftruncate(handle, self._read_to)
                os.fsync(handle)
                return
            self._facts.add(line[:_DIGEST])
            self._read_to += _LINE

    def _damaged(self) -> JournalError:
        number = 2 + (self._read_to - len(_TITLE)) // _LINE
        return JournalError(
            f"the journal {self._path} is damaged in line {number}, which begins at byte {self._read_to}: a "
            "fact is lost, and could be done a second time. Restore a copy of the file that is not older, or "
            "treat everything that the journal protects as used, and begin a new one with new identities"
        )

    def _append(self, handle: int, data: bytes, place: int) -> None:
        """Write at the end, durably; remove a partial write."""
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(handle, data[written:], place + written)
            os.fsync(handle)
        except OSError:
            # The rest of a failed write would make the next line unreadable.
            os.ftruncate(handle, place)
            raise


def _digest(fact: object) -> bytes:
    """The hexadecimal SHA-256 of a fact."""
    if not isinstance(fact, bytes):
        raise JournalError(f"a fact is bytes, not {type(fact).__name__}")
    return hashlib.sha256(fact).hexdigest().encode()


def _line(digest: bytes) -> bytes:
    return b"%b %08x\n" % (digest, zlib.crc32(digest))


def _unfinished(line: bytes) -> bool:
    """Whether a crash left this line: its end was not written, or is zeros that the system filled in.

    A whole line has an end, or had one that was changed into something else than a zero by one flipped bit.
    """
    return b"\n" not in line and (len(line) < _LINE or line.endswith(b"\0"))


def _read(handle: int, start: int, end: int) -> bytes:
    parts: list[bytes] = []
    while start < end and (part := os.pread(handle, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
