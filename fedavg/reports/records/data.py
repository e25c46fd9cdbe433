"""Reads a run directory of `fedavg records`, whole or interrupted, into typed values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fedavg.errors import ReportError
from fedavg.metrics.interface import Figure
from fedavg.reports.data import Metric

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "RecordsRun",
    "RecordsSummary",
    "ScoredStep",
    "Three",
    "holds_records",
    "read_records_run",
]


class Three(msgspec.Struct, frozen=True):
    """The ε of one unit towards three observers; None where there is no bound."""

    release: float | None
    server: float | None
    colluding: float | None
    colluders: int
    delta: float


class ScoredStep(msgspec.Struct, frozen=True):
    """One line of `metrics.jsonl`: figures of a released model."""

    step: int
    loss: float | None = None
    figures: tuple[Figure, ...] = ()
    epsilon_release: float | None = None
    epsilon_colluding: float | None = None

    @property
    def metric(self) -> Metric:
        """The same in the form that pictures of rounds take."""
        return Metric(self.step, None, self.loss, self.epsilon_release, self.figures)


class RecordsSummary(msgspec.Struct, frozen=True):
    """`summary.json`."""

    unit: str
    silos: int
    steps: int
    steps_planned: int
    stopped: str
    parameters: int
    epsilon: Three
    noise: str
    noise_multiplier: float
    noise_overhead: float
    secure_sum: str
    task: str = "records of silos"
    figures: tuple[Figure, ...] = ()
    hides_updates: bool = True
    missing: int = 0
    slots: int = 0
    budget: float | None = None
    assumptions: tuple[str, ...] = ()
    voided: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
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
    epsilon: object = None


def holds_records(run_dir: Path) -> bool:
    """Whether a directory's summary is of people or records: it names the protected unit."""
    try:
        told = msgspec.json.decode((run_dir / "summary.json").read_bytes(), type=_Told)
    except (OSError, msgspec.DecodeError):
        return False
    return told.unit is not None


def read_records_run(run_dir: Path) -> RecordsRun:
    """Read the files of a run directory.

    Args:
        run_dir: a folder written by `fedavg records`.

    Raises:
        ReportError: the folder is no such run directory, or a file is damaged.
    """
    try:
        summary = msgspec.json.decode((run_dir / "summary.json").read_bytes(), type=RecordsSummary)
        lines = run_dir / "metrics.jsonl"
        rows = msgspec.json.Decoder(ScoredStep).decode_lines(
            lines.read_bytes() if lines.exists() else b""
        )
        config = (run_dir / "config.toml").read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"{run_dir} is no run directory of records: {error.filename}: {error.strerror}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"a file of {run_dir} is damaged: {error}") from error
    return RecordsRun(summary, tuple(rows), config)
