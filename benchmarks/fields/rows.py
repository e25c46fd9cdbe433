"""A field's table: a row for each way to train, each figure the mean of the seeds with its deviation."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.fields import unprotected, ways
from benchmarks.kit.measure import Measure, Table
from benchmarks.kit.timing import Stopwatch
from fedavg.errors import FedAvgError

if TYPE_CHECKING:
    from benchmarks.fields.catalogue import Field
    from benchmarks.fields.ways import Trained
    from benchmarks.kit.bench import Bench

__all__ = ["add"]

_EPSILONS = (8.0, 3.0, 1.0)
_OF_CLIENTS = 8.0
_FOR_CLIENTS = {
    "privacy.noise": "gaussian",
    "privacy.epsilon": _OF_CLIENTS,
    "cohort.rate": 1.0,
    "secure_sum.dropout_rate": 0.1,
}
"""All silos in every round: a sample of so few would be refused."""


@dataclass(slots=True)
class _Row:
    """The figures of one way to train, a value for each seed."""

    everyone: list[float] = field(default_factory=list[float])
    own: list[float] = field(default_factory=list[float])
    sent: list[float] = field(default_factory=list[float])
    seconds: list[float] = field(default_factory=list[float])
    refused: str = ""
    multiplier: float = 0.0

    def scored(self, scores: tuple[float, float]) -> None:
        self.everyone.append(scores[0])
        self.own.append(scores[1])

    def trained(self, of: Field, trained: Trained) -> None:
        self.scored(trained.held.scores(of.metric, trained.predicted))
        self.sent.append(trained.sent)
        self.seconds.append(trained.seconds)

    def cells(self) -> tuple[str, ...]:
        """Cells of the table: two scores, kilobytes, seconds."""
        if self.refused:
            return ("refused", "refused", "–", "–")
        costs = (
            f"{np.mean(self.sent) / 1000:,.1f}" if self.sent else "–",
            f"{np.mean(self.seconds):.1f}" if self.seconds else "–",
        )
        return (_with_deviation(self.everyone), _with_deviation(self.own), *costs)


def _with_deviation(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def add(bench: Bench, of: Field, *, seeds: int) -> None:
    """Train in every way, and add the table.

    Args:
        bench: where results go.
        of: the field.
        seeds: number of seeds; each has its own split, first weights, batches and noise.
    """
    found: dict[str, _Row] = {}
    gaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder, bench.progress(of.name, seeds) as tick:
        table = Path(folder) / f"{of.name}.csv"
        of.write(table)
        for seed in range(seeds):
            gaps.append(_seed(bench, of, table, seed, found))
            tick()
    name = of.metric.name
    columns = ("", f"{name}, all rows", f"{name}, mean over {of.silos}", "kB sent by one", "CPU s")
    title = f"held-out rows of {of.name}, mean and deviation of {seeds} seeds"
    bench.add(Table(of.name, title, columns, [(way, *row.cells()) for way, row in found.items()]))
    best, lone = found["secure sum"].everyone, found["each alone"].everyone
    gain = of.metric.better * float(np.mean(best) - np.mean(lone))
    bench.add(
        Measure("gain", f"{name} that a secure sum gains on {of.silos} alone", "", gain),
        Measure("gap", "largest difference of a weight, 20 bits against 32", "", max(gaps)),
    )
    if bench.size != "quick":
        bench.add(_command(bench, of))


def _command(bench: Bench, of: Field) -> Measure:
    """CPU seconds of the example's own command."""
    root, watch = of.folder.parents[1], Stopwatch(children=True)
    with tempfile.TemporaryDirectory() as out, watch:
        words = [sys.executable, str(of.folder), "--out", out]
        subprocess.run(words, cwd=root, check=True, capture_output=True)  # noqa: S603 - our own example
    name, bar = f"`python examples/{of.name}`", bench.bar(120, 60, of="ours", at_most=True)
    return Measure("command", name, "s", watch.seconds, bar=bar)


def _seed(bench: Bench, of: Field, table: Path, seed: int, found: dict[str, _Row]) -> float:
    """Add one seed's figures to each row, and return how far the secure sum is from the clear one."""

    def row(way: str) -> _Row:
        return found.setdefault(way, _Row())

    job, held = ways.clear_job(of, table, seed)
    guess = np.full(len(held.labels), of.guessed)
    row(f"no model: {of.guess}").scored(held.scores(of.metric, guess))
    row("pooled, scikit-learn's linear model").scored(
        held.scores(of.metric, unprotected.linear(job))
    )
    row("pooled, the same model").scored(held.scores(of.metric, unprotected.pooled(job, of.metric)))
    row("each alone").scored(unprotected.alone(job, of.metric, held))
    clear = {"secure_sum.kind": "insecure-plain", "encoding.bits": 32}
    plain = ways.federated(of, table, seed, **clear)
    secure = ways.federated(of, table, seed)
    row("federated in the clear").trained(of, plain)
    row("secure sum").trained(of, secure)
    for epsilon in bench.pick(quick=_EPSILONS[:1], default=_EPSILONS, full=_EPSILONS):
        _of_units(of, table, seed, epsilon, row(f"ε = {epsilon:g} for one {of.unit}"))
    _of_clients(bench, of, table, seed, row(f"ε = {_OF_CLIENTS:g} for a whole silo"))
    return float(np.abs(plain.weights - secure.weights).max())


def _of_units(of: Field, table: Path, seed: int, epsilon: float, row: _Row) -> None:
    """Noise that hides a person or a record; the first seed shows its costs under the secure sum.

    Other seeds add the same integers in the clear, with the noise that was calibrated for the first one.
    """
    given: dict[str, object] = {"records.epsilon": epsilon}
    if row.multiplier:
        given |= {
            "records.noise_multiplier": row.multiplier,
            "secure_sum.kind": "insecure-plain",
        }
    trained = ways.private(of, table, seed, given)
    row.scored(trained.held.scores(of.metric, trained.predicted))
    if not row.multiplier:
        row.sent.append(trained.sent)
        row.seconds.append(trained.seconds)
        row.multiplier = trained.multiplier


def _of_clients(bench: Bench, of: Field, table: Path, seed: int, row: _Row) -> None:
    """Noise that hides a whole silo, or why that is refused."""
    try:
        row.trained(of, ways.federated(of, table, seed, **_FOR_CLIENTS))
    except FedAvgError as error:
        if not row.refused:
            bench.say(f"{of.name}, whole silos: {error}")
        row.refused = str(error)
