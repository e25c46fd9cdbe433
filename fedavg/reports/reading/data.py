"""Reads a run directory, whole or interrupted, into typed values for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fedavg.errors import ReportError
from fedavg.metrics.interface import Figure, figure_text, figure_worth
from fedavg.reports.reading.evaluated import Evaluation

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ClientView",
    "Message",
    "Metric",
    "Personal",
    "Run",
    "ServerRound",
    "ServerView",
    "Summary",
    "read_lines",
    "read_part",
    "read_run",
]

_Part = TypeVar("_Part")


class Metric(msgspec.Struct, frozen=True):
    """One line of `metrics.jsonl`: figures of a released model."""

    round: int
    accuracy: float | None = None
    loss: float | None = None
    epsilon_release: float | None = None
    figures: tuple[Figure, ...] = ()

    @property
    def headline(self) -> float | None:
        """The most informative figure of the task."""
        return self.figures[0].value if self.figures else self.accuracy


class ServerRound(msgspec.Struct, frozen=True):
    """One line of `server.jsonl`, which only the server's operator may know."""

    round: int
    cohort: int = 0
    survivors: int = 0
    skipped: bool = False
    epsilon_server: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: dict[str, float] = msgspec.field(default_factory=dict[str, float])


class Summary(msgspec.Struct, frozen=True):
    """`summary.json`; after an interruption any part of it may be missing."""

    task: str = "a federated task"
    model: str = "unknown"
    parameters: int | None = None
    unsent: int = 0
    clients: int | None = None
    secure_sum: str = "unknown"
    hides_updates: bool = True
    received: str = ""
    threat_model: str = "unknown"
    noise: str = "none"
    noise_multiplier: float | None = None
    noise_multiplier_added: float | None = None
    sampling_rate: float | None = None
    expected_cohort: float | None = None
    clip: float | None = None
    blocks: list[int] | None = None
    rounds: int = 0
    rounds_planned: int | None = None
    accuracy: float | None = None
    baseline_accuracy: float | None = None
    figures: tuple[Figure, ...] = ()
    unprotected: float | None = None
    best_round: int | None = None
    why: str | None = None
    skipped: tuple[int, ...] = ()
    unscored: str | None = None
    loss: str | None = None
    device: str | None = None
    precision: str | None = None
    epsilon_release: float | None = None
    epsilon_server: float | None = None
    delta: float | None = None
    stopped: str = "interrupted"
    assumptions: tuple[str, ...] = ()
    seconds: float | None = None
    wrap_probability: float | None = None
    personalization: dict[str, Any] | None = None
    chosen: tuple[dict[str, Any], ...] = ()

    @property
    def private(self) -> bool:
        """Whether noise was added."""
        return self.noise != "none"


class Personal(msgspec.Struct, frozen=True):
    """One line of `personal.jsonl`: one client's figures, private to it.

    Args:
        personal: figure of its own model; None where it is not defined, which is worse than any value.
        shared: figure of the released model; None where there is no such model, or where it is not defined.
        figure, greater_is_better, share: name of the figure, and how to read it.
        rule, baseline: the same prediction for each of its examples, and its figure.
    """

    client: int
    examples: int
    personal: float | None
    shared: float | None = None
    trained: bool = True
    figure: str = "accuracy"
    greater_is_better: bool = True
    share: bool = True
    rule: str = ""
    baseline: float | None = None

    def text(self, value: float | None) -> str:
        """A value of this figure as text."""
        return figure_text(value, share=self.share)

    def worth(self, value: float | None) -> float:
        """A number that is larger, the better the value is."""
        return figure_worth(value, greater_is_better=self.greater_is_better)


class BeforeAfter(msgspec.Struct, frozen=True):
    """One line of `fairness.jsonl`: one client's figures before and after training, private to it."""

    client: int
    examples: int
    before: float | None
    after: float | None
    figure: str = "accuracy"
    greater_is_better: bool = True
    share: bool = True
    name: str = ""

    @property
    def who(self) -> int | str:
        """Its name, or its number where it has none."""
        return self.name or self.client


class Message(msgspec.Struct, frozen=True):
    """All messages of one kind and direction in the recorded round."""

    kind: str
    direction: str
    count: int
    bytes: int


class ClientView(msgspec.Struct, frozen=True):
    """One client's encoded update, with its noise share, and as the server received it.

    A value that was not finite is None, since JSON cannot express it.
    """

    update: tuple[float | None, ...]
    noised: tuple[float | None, ...]
    masked: tuple[float | None, ...]
    modulus_bits: int


class ServerView(msgspec.Struct, frozen=True):
    """`server_view.json`: one recorded round as the server saw it."""

    round: int
    messages: tuple[Message, ...] = ()
    client: ClientView | None = None
    aggregate: tuple[float | None, ...] = ()
    backend: str = "unknown"
    hides_updates: bool = True
    received: str = ""


class _Limit(msgspec.Struct, frozen=True):
    epsilon: float | None = None
    delta: float | None = None


class _Ledger(msgspec.Struct, frozen=True):
    budget: _Limit | None = None
    epsilon: float | None = None


class Run(msgspec.Struct, frozen=True):
    """The content of a run directory."""

    summary: Summary
    metrics: tuple[Metric, ...]
    server: tuple[ServerRound, ...]
    view: ServerView | None
    personal: tuple[Personal, ...]
    budget: float | None
    config: str
    evaluation: Evaluation | None = None
    fairness: tuple[BeforeAfter, ...] = ()


def read_run(run_dir: Path) -> Run:
    """Read a run directory; files that are missing after an interruption count as empty.

    Args:
        run_dir: a folder written by `fedavg run`.

    Raises:
        ReportError: the folder is no run directory, or a file in it is damaged.
    """
    names = ("summary.json", "metrics.jsonl")
    # Either file may be missing after an interruption, but a folder with neither is no run.
    if not any((run_dir / name).is_file() for name in names):
        raise ReportError(
            f"{run_dir} is no run directory: it holds neither {' nor '.join(names)}. "
            "Give the folder that 'fedavg run' printed."
        )
    ledger = read_part(run_dir / "ledger.json", _Ledger) or _Ledger()
    return Run(
        summary=read_part(run_dir / "summary.json", Summary) or Summary(),
        metrics=read_lines(run_dir / "metrics.jsonl", Metric),
        server=read_lines(run_dir / "server.jsonl", ServerRound),
        view=read_part(run_dir / "server_view.json", ServerView),
        personal=read_lines(run_dir / "personal.jsonl", Personal),
        budget=ledger.budget.epsilon if ledger.budget is not None else ledger.epsilon,
        fairness=read_lines(run_dir / "fairness.jsonl", BeforeAfter),
        evaluation=read_part(run_dir / "evaluation.json", Evaluation),
        config=_bytes(run_dir / "config.toml").decode("utf-8", errors="replace"),
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error


def read_part(path: Path, kind: type[_Part]) -> _Part | None:
    """Read a file of one JSON value; None if it is missing or empty.

    Raises:
        ReportError: the file cannot be read, or is damaged.
    """
    data = _bytes(path)
    return _decode(data, kind, str(path)) if data.strip() else None


def read_lines(path: Path, kind: type[_Part]) -> tuple[_Part, ...]:
    """Read a file of one JSON value a line; () if it is missing.

    Raises:
        ReportError: the file cannot be read, or is damaged.
    """
    *lines, last = _bytes(path).split(b"\n")
    rows = [
        _decode(line, kind, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    # A crash during a write leaves an unfinished last line; its round does not count.
    del last
    return tuple(rows)


def _decode(data: bytes, kind: type[_Part], where: str) -> _Part:
    try:
        return msgspec.json.decode(data, type=kind)
    # Values that are nested too deeply are no decoding error to msgspec.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(f"{where} is damaged: {error}") from error
