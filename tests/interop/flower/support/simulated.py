"""Runs in Flower's own simulation, with plain and secure means: what a round costs.

Run, with PYTHONPATH at the root of the repository: python -m tests.interop.flower.support.simulated secure
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fedavg import FixedPoint, OneShot, SecAgg
from fedavg.adapters.exchange import Record, Terms, enrol_here
from fedavg.adapters.flower import SecureGrid
from tests.interop.flower.support.loopback import client_app

SUMS = {
    "one-shot": lambda nodes: OneShot(
        committee=nodes, corrupt_members=int(nodes > 5), absent_members=1
    ),
    "secagg": lambda _: SecAgg(),
}


def terms(nodes: int, chosen: str = "one-shot") -> Terms:
    """One metric, and every array; a node of the committee may be absent."""
    encoding = FixedPoint(4.0, 20, rounding="nearest")
    return Terms(
        SUMS[chosen](nodes), {"train": Record(encoding, metrics={"loss": 9.0})}, max_weight=100
    )


def model(parameters: int) -> dict[str, np.ndarray]:
    """A model of one array."""
    return {"w": np.linspace(-1, 1, parameters, dtype=np.float32)}


def fit(node: int, arrays: dict[str, np.ndarray], seconds: float = 0.0):
    """A short training; the same for the same node and model."""
    time.sleep(seconds)
    w = arrays["w"]
    move = np.random.default_rng(node).normal(size=w.size).astype(np.float32) / 8
    return {"w": 0.9 * w + move}, {"loss": 1.0 + node / 8, "num-examples": 50 + node}


def simulated(
    nodes: int, rounds: int, parameters: int, folder: Path | None, training: float = 0.0
) -> dict[str, object]:
    """Run FedAvg in the simulation; secure if there is a folder of keys."""
    found: dict[str, object] = {}
    server = ServerApp()

    @server.main()
    def main(grid, context) -> None:
        secure = (
            grid
            if folder is None
            else SecureGrid(grid, folder / "agreement.json", context.run_config)
        )
        least = {f"min_{what}_nodes": nodes for what in ("train", "available")}
        strategy = FedAvg(fraction_evaluate=0.0, **least)
        began = time.perf_counter()
        arrays = ArrayRecord({k: Array(a) for k, a in model(parameters).items()})
        marks: list[float] = []  # the ends of rounds; the first one also starts Ray's workers

        def mark(number: int, _: ArrayRecord) -> None:
            if number:
                marks.append(time.perf_counter() - began)

        result = strategy.start(secure, arrays, num_rounds=rounds, evaluate_fn=mark)
        found["seconds a round"] = (time.perf_counter() - began) / rounds
        found["later rounds"] = [b - a for a, b in itertools.pairwise(marks)]
        found["weights"] = result.arrays["w"].numpy().tolist()[:64]
        if folder is not None:
            found["complete"] = [outcome.complete for outcome in secure.outcomes]
            found["stages"] = [outcome.stages for outcome in secure.outcomes]

    mods = [] if folder is None else None
    app = client_app(folder, lambda *given: fit(*given, seconds=training), mods=mods)
    run_simulation(
        server,
        app,
        nodes,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": 2, "include_dashboard": False},
        },
    )
    return found


def main() -> None:
    """A run with plain means or with secure ones; the last line is JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("how", choices=("plain", "secure"))
    parser.add_argument("--sum", choices=SUMS, default="one-shot")
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parameters", type=int, default=100_000)
    parser.add_argument("--training", type=float, default=0.0, help="seconds of training")
    given = parser.parse_args()
    size = given.nodes, given.rounds, given.parameters
    with tempfile.TemporaryDirectory() as folder:
        secure = given.how == "secure"
        if secure:
            enrol_here(Path(folder), given.nodes, terms(given.nodes, given.sum))
        found = simulated(*size, Path(folder) if secure else None, given.training)
    print(json.dumps(found), flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    main()
