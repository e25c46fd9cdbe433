"""Reads a run directory of `fedavg records`, whole or interrupted, into typed values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from fedavg.errors import ReportError
from fedavg.metrics.interface import Figure
from fedavg.reports.reading.data import Metric, read_lines, read_part

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ReachOfSilo",
    "RecordsRun",
    "RecordsSummary",
    "ScoredStep",
    "Three",
    "holds_records",
    "read_records_run",
]

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Three(msgspec.Struct, frozen=True):
    """The ε of one unit towards three observers; None where there is no bound."""

    release: float | None
    server: float | None
    colluding: float | None
    colluders: _Count
    delta: float


class ReachOfSilo(msgspec.Struct, frozen=True):
    """How far one silo moves the mean gradient of a step."""

    honest: float
    step: float
    withstood: _Count = 0


class ScoredStep(msgspec.Struct, frozen=True):
    """One line of `metrics.jsonl`: figures of a released model."""

    step: int
    loss: float | None = None
    figures: tuple[Figure, ...] = ()
    clip: float | None = None
    epsilon_release: float | None = None
    epsilon_colluding: float | None = None

    @property
    def metric(self) -> Metric:
        """The same in the form that pictures of rounds take."""
        return Metric(self.step, None, self.loss, self.epsilon_release, self.figures)


class RecordsSummary(msgspec.Struct, frozen=True):
    """`summary.json`."""

    unit: Literal["person", "record"]
    silos: Annotated[int, msgspec.Meta(ge=1)]
    steps: _Count
    steps_planned: _Count
    stopped: str
    parameters: _Count
    epsilon: Three
    noise: str
    noise_multiplier: float
    noise_overhead: float
    secure_sum: str
    epsilon_two_silos: float | None = None
    rate: float | None = None
    rows: _Count = 1
    divisor: float | None = None
    clip: float | None = None
    clip_told: str = ""
    task: str = "records of silos"
    figures: tuple[Figure, ...] = ()
    hides_updates: bool = True
    missing: _Count = 0
    slots: _Count = 0
    groups: tuple[_Count, ...] = ()
    robust: str | None = None
    reach: ReachOfSilo | None = None
    shortened: _Count = 0
    budget: float | None = None
    ledgers: float | None = None
    assumptions: tuple[str, ...] = ()
    voided: _Count = 0
    bytes_up: _Count = 0
    bytes_down: _Count = 0
    stages: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    seconds: float | None = None

    @property
    def covered(self) -> bool:
        """Whether the held-out rows are public, so that figures on them cost nothing beyond epsilon."""
        return bool(self.figures) and all(one.covered_by_epsilon for one in self.figures)


class RecordsRun(msgspec.Struct, frozen=True):
    """A whole run directory."""

    summary: RecordsSummary
    rows: tuple[ScoredStep, ...]
    config: str


class _Told(msgspec.Struct, frozen=True):
    unit: str | None = None


def holds_records(run_dir: Path) -> bool:
    """Whether a directory's summary is of people or records: it names the protected unit."""
    try:
        told = read_part(run_dir / "summary.json", _Told)
    except ReportError:
        return False
    return told is not None and told.unit is not None


def read_records_run(run_dir: Path) -> RecordsRun:
    """Read the files of a run directory.

    Args:
        run_dir: a folder written by `fedavg records`.

    Raises:
        ReportError: the folder is no such run directory, or a file is damaged.
    """
    summary = read_part(run_dir / "summary.json", RecordsSummary)
    if summary is None:
        raise ReportError(
            f"{run_dir} is no run directory of records: it holds no summary.json. Give the folder that "
            "'fedavg records' made."
        )
    rows = read_lines(run_dir / "metrics.jsonl", ScoredStep)
    try:
        config = (run_dir / "config.toml").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReportError(f"cannot read {run_dir / 'config.toml'}: {error.strerror}") from error
    return RecordsRun(summary, rows, config)
