"""One budget for several processes: a ledger that lives in a file and is charged under its lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dp.accounting.durable import exclusive
from dp.accounting.ledger import Ledger
from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    from os import PathLike

    from dp.accounting.bracket import Bracket
    from dp.events import Event

__all__ = ["SharedLedger"]


class SharedLedger:
    """A ledger in a file.  Each charge reads, checks, and writes it back before anyone else can.

    Args:
        path: of a file that `Ledger.save` or `SharedLedger.create` wrote.

    Raises:
        FileNotFoundError: there is none; a budget is never invented.

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
        self._path = Path(path)
        self.read()

    @classmethod
    def create(cls, path: str | PathLike[str], ledger: Ledger) -> SharedLedger:
        """Put a ledger where there is none yet.

        Raises:
            InvalidParameterError: the file exists; what it holds may be spent.
        """
        with exclusive(path):
            if Path(path).exists():
                raise InvalidParameterError(f"{path} exists; open it with SharedLedger(path)")
            ledger.save(path)
        return cls(path)

    def charge(self, event: Event, count: int = 1) -> None:
        """Record releases that are about to happen; on the disk when this returns.

        Raises:
            BudgetExhaustedError: see Ledger.charge; the file is as it was.
            UnsupportedEventError: see Ledger.charge; the file is as it was.
        """
        with exclusive(self._path):
            ledger = Ledger.load(self._path)
            ledger.charge(event, count)
            ledger.save(self._path)

    def read(self) -> Ledger:
        """A copy of the ledger as it is now; charging the copy spends nothing."""
        return Ledger.load(self._path)

    def spent(self) -> Bracket:
        """ε so far, from both sides."""
        return self.read().spent()
