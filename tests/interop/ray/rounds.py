"""Measures rounds on one actor and on two: python -m tests.interop.ray.rounds [--clients 30] [--rounds 10].

Wall time is that of the fastest round, since other programs only make rounds slower.  Processor time is the
mean of a round, in this process and in the actors.  The last lines are a model, in which this process and the
actors never work at the same time, and actors share their part equally.
"""

# ruff: noqa: T201 - it prints its table

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from fedavg.adapters.ray import RaySimulation
from fedavg.data.dataset import Dataset
from fedavg.federation.federation import Federation
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.local import LocalTraining
from tests.e2e.small import SUMS, plan

_MODELLED = (1, 2, 4, 8, 16, 32)


def _clients(count: int, examples: int) -> list[Dataset]:
    rng = np.random.default_rng(0)
    return [
        Dataset(
            rng.standard_normal((examples, 784), dtype=np.float32), rng.integers(0, 10, examples)
        )
        for _ in range(count)
    ]


def _processor_seconds(root: int) -> float:
    """Processor time so far of the actors that descend from a process (Linux)."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has ended meanwhile
        name, _, rest = text.rpartition(")")
        stats[int(path.parent.name)] = (name.partition("(")[2], rest.split())
    below, found = {root}, 0.0
    for pid in sorted(stats):
        name, fields = stats[pid]
        if int(fields[1]) in below:
            below.add(pid)
            if name.startswith("ray::Host"):
                found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _measured(asked: argparse.Namespace, actors: int) -> tuple[float, float, float]:
    """Seconds of the fastest round, and mean processor seconds of this process and of the actors."""
    local = LocalTraining(epochs=2, batch_size=50, lr=0.1)
    chosen = plan(SUMS[asked.sum], local_training=local)
    with tempfile.TemporaryDirectory() as store:
        where = (
            {}
            if not actors
            else {"simulation": RaySimulation(actors=actors), "client_store": Path(store)}
        )
        clients = _clients(asked.clients, asked.examples)
        federation = Federation(ModelSpec("2nn", (784,), 10), clients, chosen, **where)
        marks = [
            (time.perf_counter(), time.process_time(), _processor_seconds(os.getpid()))
            for _ in federation.run(asked.rounds)
        ]
    took = [after[0] - before[0] for before, after in itertools.pairwise(marks)]
    own, theirs = (
        (last - first) / len(took)
        for first, last in list(zip(marks[0], marks[-1], strict=True))[1:]
    )
    return min(took), own, theirs


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sum", default="secagg", choices=sorted(SUMS))
    asked = parser.parse_args()
    print(f"{asked.clients} clients of {asked.examples} examples, 199,210 parameters, {asked.sum}")
    print("actors | wall s, fastest round | CPU s, program | CPU s, actors | rounds a second")
    for actors in (0, 1, 2):
        wall, own, theirs = _measured(asked, actors)
        print(f"{actors or 'none'} | {wall:.2f} | {own:.2f} | {theirs:.2f} | {1 / wall:.2f}")
    for actors in _MODELLED:
        wall = own + theirs / actors
        print(f"{actors}, modelled | {wall:.2f} | {own:.2f} | {theirs:.2f} | {1 / wall:.2f}")


if __name__ == "__main__":
    main()
