"""What a suite is handed: its size, the contest, the peers, and a place for what it found."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Literal, TypeVar

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.kit.machine import facts
from benchmarks.kit.measure import Bar, Curve, Measure
from benchmarks.kit.timing import contest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import ModuleType

    from rich.console import Console

    from benchmarks.kit.measure import Table
    from benchmarks.kit.timing import Timing

__all__ = ["PEERS_COMMAND", "Bench", "Size"]

Size = Literal["quick", "default", "full"]
PEERS_COMMAND = (
    "python3 -m venv .venv-peers && "
    ".venv-peers/bin/pip install -c constraints-peers.txt -e '.[data,peers]'"
)

_T = TypeVar("_T")


class Bench:
    """One run of one suite.

    Args:
        suite: its name.
        size: how long it may take; `pick` chooses by it.
        say: where progress is told; never standard output, whose last line is for programs.

    Attributes:
        machine: what it was measured on, and how busy that was when the run began.

    Example:
        >>> from rich.console import Console
        >>> bench = Bench("demo", "quick", Console(stderr=True, quiet=True))
        >>> bench.pick(quick=10, default=100, full=1000)
        10
        >>> bench.peer("no_such_peer") is None, sorted(bench.absent)
        (True, ['no_such_peer'])
    """

    def __init__(self, suite: str, size: Size, say: Console) -> None:
        self.suite = suite
        self.size: Size = size
        self.machine = facts()
        self.measures: list[Measure] = []
        self.curves: list[Curve] = []
        self.tables: list[Table] = []
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        self._say = say

    def pick(self, *, quick: _T, default: _T, full: _T) -> _T:
        """The value for this run's size."""
        return {"quick": quick, "default": default, "full": full}[self.size]

    def bar(
        self,
        value: float,
        reach: float | None = None,
        *,
        of: Literal["ratio", "ours"] = "ratio",
        at_most: bool = False,
    ) -> Bar | None:
        """A `Bar`, or None in a quick run: bars are set for the true sizes."""
        if self.size == "quick":
            return None
        return Bar(value, reach, of=of, at_most=at_most)

    def peer(self, module: str, *, package: str | None = None) -> ModuleType | None:
        """A peer's module, or None, said once with the command that installs it.

        Args:
            module: to import.
            package: its name at the package index, when that differs.
        """
        name = package or module
        try:
            found = importlib.import_module(module)
            self.versions[name] = importlib.metadata.version(name)
        except ImportError as error:  # PackageNotFoundError is one
            if name not in self.absent:
                self.absent[name] = str(error)
                self.say(
                    f"[yellow]{name} is not installed here: our side is measured alone. "
                    f"For both, install the peers and run the benchmark there:[/]\n"
                    f"  {escape(PEERS_COMMAND)}\n"
                    f"  .venv-peers/bin/python -m benchmarks {self.suite}"
                )
            return None
        return found

    def contest(
        self,
        title: str,
        contestants: Mapping[str, Callable[[], object] | None],
        *,
        rounds: int = 5,
        warm_up: bool = True,
        min_seconds: float = 0.0,
        children: bool = False,
    ) -> dict[str, Timing]:
        """`benchmarks.kit.timing.contest` with a progress bar; a contestant that is None stays away."""
        there = {name: call for name, call in contestants.items() if call is not None}
        with self.progress(title, rounds * len(there)) as tick:
            return contest(
                there,
                rounds=rounds,
                warm_up=warm_up,
                min_seconds=min_seconds,
                children=children,
                tick=tick,
            )

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Generator[Callable[[], None]]:
        """A progress bar; call what the block is given after each of `total` steps."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._say) as shown:
            task = shown.add_task(title, total=total)
            yield lambda: shown.advance(task)

    def say(self, text: str) -> None:
        """A line for people, in rich's markup, beside the results."""
        self._say.print(text, soft_wrap=True)  # a command must stay on its line

    def add(self, *found: Measure | Curve | Table) -> None:
        """Keep what was found.

        Raises:
            ValueError: a key that is taken.
        """
        for item in found:
            if item.key in {known.key for known in self.everything()}:
                raise ValueError(f"{item.key} was added before")
            if isinstance(item, Measure):
                self.measures.append(item)
            elif isinstance(item, Curve):
                self.curves.append(item)
            else:
                self.tables.append(item)

    def everything(self) -> list[Measure | Curve | Table]:
        """All that was added."""
        return [*self.measures, *self.curves, *self.tables]
