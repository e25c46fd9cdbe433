"""One budget for several processes: a ledger in a file, which is charged under the file's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dp.errors import InvalidParameterError
from dp.ledgers.durable import exclusive, only_name
from dp.ledgers.ledger import Ledger

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from dp.composition.bracket import Bracket
    from dp.events import Event

__all__ = ["SharedLedger"]


class SharedLedger:
    """A ledger in a file.  Each charge reads, checks and writes it before another process can.

    All names that lead to the file through symbolic links or linked directories are one ledger.  A file whose
    names cannot be kept together is refused.  A *copy* of the file is another ledger, of which this one does
    not know: never charge both.

    Args:
        path: path of a file that `Ledger.save` or `SharedLedger.create` wrote.

    Raises:
        FileNotFoundError: there is no file; a budget is never created implicitly.
        InvalidParameterError: the file holds no ledger, has hard links, or is mounted as a single file.

    Example:
        >>> import tempfile, pathlib
        >>> from dp import GaussianEvent, Ledger
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shared = SharedLedger.create(pathlib.Path(folder) / "ledger.json", Ledger(2.5, 1e-5))
        ...     shared.charge(GaussianEvent(2.0))
        ...     round(shared.spent().high, 4)
        1.9931
    """

    __slots__ = ("_path",)

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = only_name(path)  # absolute: the working directory may change
        self.read()  # refuses a file without a ledger now, not at the first charge

    @property
    def path(self) -> Path:
        """The file's own name, absolute and without links."""
        return self._path

    @classmethod
    def create(cls, path: str | PathLike[str], ledger: Ledger) -> SharedLedger:
        """Create the file of a ledger.

        Raises:
            InvalidParameterError: the file exists; its budget may be partly spent.
        """
        with exclusive(path) as own_name:
            if own_name.exists():
                raise InvalidParameterError(f"{path} exists; open it with SharedLedger(path)")
            ledger.save(own_name)
        return cls(own_name)

    def charge(self, event: Event, count: int = 1, *, label: str = "") -> None:
        """Record releases that are about to be made; the record is on the disk when this returns.

        Args:
            event: event that is about to happen.
            count: number of releases.
            label: see `Charge`.

        Raises:
            BudgetExhaustedError: see Ledger.charge; the file has not changed.
            UnsupportedEventError: see Ledger.charge; the file has not changed.
            InvalidParameterError: the file is damaged, or has several names; it has not changed.
            OSError: the folder cannot be written, or the disk is full.  The file is the old one, or the new
                one if its name could not be flushed to the disk; release nothing in either case.
        """
        with exclusive(self._path) as own_name:
            ledger = Ledger.load(own_name)
            ledger.charge(event, count, label=label)
            ledger.save(own_name)

    def read(self) -> Ledger:
        """A copy of the present ledger; charging the copy does not change the file."""
        return Ledger.load(self._path)

    def spent(self) -> Bracket:
        """ε so far, from both sides."""
        return self.read().spent()

    def upper_spent(self) -> float:
        """The upper side of `spent` alone, as `Ledger.upper_spent`."""
        return self.read().upper_spent()
