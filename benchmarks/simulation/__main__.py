"""The suite's own command, `python -m benchmarks simulation`: all of it, or one comparison."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.kit.command import begin, finish
from benchmarks.kit.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.kit.bench import Bench
    from benchmarks.simulation.task import Task

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 also when a bar is missed, unless --check is given; 2 for a peer that is not installed."""
    options = _parser().parse_args(arguments)
    bench = begin("simulation", options)
    from benchmarks import simulation  # noqa: PLC0415 - after the environment is set

    if options.baseline is None:
        simulation.run(bench, options.data, options.workers)
        return finish(bench, options)
    ratio = _against(bench, options)
    return 2 if ratio is None else finish(bench, options, ratio=ratio)


def _against(bench: Bench, options: argparse.Namespace) -> float | None:
    """One model against one baseline: seconds per round, theirs over ours."""
    from benchmarks.kit.images import write_synthetic  # noqa: PLC0415 - the same
    from benchmarks.kit.measure import Measure  # noqa: PLC0415 - after the environment is set
    from benchmarks.simulation import rows  # noqa: PLC0415 - the same
    from benchmarks.simulation.contest import compete  # noqa: PLC0415 - the same

    peer = rows.PEERS.get(options.baseline)
    if peer is not None and bench.peer(peer[0]) is None:
        return None
    turns, each = _split(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = options.data or str(Path(folder) / "images.npz")
        if options.data is None:
            write_synthetic(Path(path), 6_000 if options.size == "quick" else 60_000)
        task = _task(options, rows.default_task(path, options.workers))
        tasks = {"ours": ("ours", task), options.baseline: (options.baseline, task)}
        with bench.progress(f"{options.model} ÷ {options.baseline}", 2 * turns) as tick:
            found = compete(tasks, turns=turns, rounds=dict.fromkeys(tasks, each), tick=tick)
    ours, theirs = found["ours"], found[options.baseline]
    bench.add(rows.table("rounds", f"{options.model}, {options.protection}", found))
    for key, name, own, other in (
        ("wall", "a round, on the wall", ours.wall_timing, theirs.wall_timing),
        ("cpu", "a round, CPU of all processes", ours.cpu_timing, theirs.cpu_timing),
    ):
        bench.add(Measure(key, f"{options.model}: {name}", "s", own, other))
    return theirs.wall_timing.median / ours.wall_timing.median


def _split(rounds: int) -> tuple[int, int]:
    """Turns, and rounds of each: not so short that switching is felt, and at least two turns."""
    each = max(1, min(5, rounds // 4))
    return max(1, -(-rounds // each)), each


def _task(options: argparse.Namespace, task: Task) -> Task:
    own = replace(task, model=options.model, protection=options.protection)
    own = replace(own, lr=0.05) if own.model == "cnn" else own
    return replace(own, clients=20, each=300, cohort=10) if options.size == "quick" else own


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks simulation",
        description="Without --baseline: the suite. With it: one comparison; the last line printed is a "
        "JSON object whose `ratio` is the baseline's seconds per round over ours.",
    )
    parser.add_argument("--baseline", choices=("plain", "flower", "pfl"))
    parser.add_argument("--model", choices=("2nn", "module", "cnn"), default="2nn")
    parser.add_argument("--protection", choices=("none", "central-dp"), default="none")
    parser.add_argument("--rounds", type=int, default=20, help="that count (default: %(default)s)")
    parser.add_argument("--data", metavar="NPZ", help="MNIST: x_train, y_train, x_test, y_test")
    parser.add_argument("--workers", type=int, help="processes of ours (default: one a core)")
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
