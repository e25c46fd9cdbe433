"""Secure means against plain Flower and against Flower's own SecAgg+: accuracy, and processor time.

Run, with PYTHONPATH at the root of the repository: python -m tests.interop.flower.compare accuracy
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAvg

from benchmarks.secagg.flower import play
from fedavg import FixedPoint, OneShot, SecAgg
from fedavg.adapters.exchange import MeanServer, Node, Record, Terms, enrol_here
from fedavg.adapters.flower import SecureGrid
from tests.interop.flower.support.loopback import LoopbackGrid, client_app

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "flower"))

from quick.task import load, scores, start, train

_SERVER = "server"


def terms(nodes: int, members: int | None, **record: object) -> Terms:
    """Twenty bits a parameter; of a committee one member may collude, and one may be absent.

    Args:
        nodes: number of nodes.
        members: size of the committee; 0 for all nodes, and None for `SecAgg`.
    """
    chosen = (
        SecAgg()
        if members is None
        else OneShot(committee=members or nodes, corrupt_members=1, absent_members=1)
    )
    values = FixedPoint(2.0, 20, rounding="nearest")
    return Terms(chosen, {"train": Record(values, **record)}, max_weight=1000)


def fit(node: int, arrays: dict[str, np.ndarray]):
    """The example's training."""
    x, y = load(node)
    trained = {name: np.asarray(array) for name, array in train(arrays, x, y).items()}
    return trained, {"num-examples": len(y)}


def trained(nodes: int, rounds: int, folder: Path | None) -> dict[str, np.ndarray]:
    """The example after some rounds of FedAvg, with secure means if there is a folder of keys."""
    grid = LoopbackGrid(client_app(folder, fit, mods=None if folder else []), nodes)
    least = dict.fromkeys(("min_train_nodes", "min_available_nodes"), nodes)
    result = FedAvg(fraction_evaluate=0.0, **least).start(
        SecureGrid(grid, folder / "agreement.json", {}) if folder else grid,
        ArrayRecord({name: Array(array) for name, array in start().items()}),
        num_rounds=rounds,
    )
    return {name: array.numpy() for name, array in result.arrays.items()}


def accuracy(nodes: int, rounds: int, members: int | None) -> dict[str, object]:
    """Plain and secure runs on the same data: accuracies on data of others, and how far models are apart."""
    with tempfile.TemporaryDirectory() as folder:
        enrol_here(Path(folder), nodes, terms(nodes, members, ranges={"steps": 1000.0}))
        models = {
            "plain": trained(nodes, rounds, None),
            "secure": trained(nodes, rounds, Path(folder)),
        }
    tests = [load(1000 + node) for node in range(nodes)]
    found: dict[str, object] = {
        how: float(np.mean([scores(model, *test)[1] for test in tests]))
        for how, model in models.items()
    }
    plain, secure = models["plain"]["weight"], models["secure"]["weight"]
    found["largest difference of a weight"] = float(np.abs(plain - secure).max())
    found["largest weight"] = float(np.abs(plain).max())
    return found


def ours(nodes: int, parameters: int, members: int | None) -> dict[str, float]:
    """Processor seconds of one round: of a node, the mean, in all and by part, and of the server."""
    rng = np.random.default_rng(7)
    model = {"w": np.zeros(parameters, np.float32)}
    update = {"w": (0.1 * rng.standard_normal(parameters)).astype(np.float32)}
    spent: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        agreement = enrol_here(Path(folder), nodes, terms(nodes, members))
        with _timed(spent, _SERVER):
            server = MeanServer(agreement, "1", 1, "train", nodes, model)
        for node in range(nodes):
            here = _opened(Path(folder) / str(node), spent)
            with _timed(spent, "joins"):
                part = here.join(*here.read(server.request, run="1", kind="train"), model)
            with _timed(spent, "encrypts"):
                reply = part.send(update, {"num-examples": 100})
            with _timed(spent, _SERVER):
                server.receive(reply)
        requests = _advanced(server, spent)
        while requests:
            for node, request in requests.items():
                here = _opened(Path(folder) / str(node), spent)
                with _timed(spent, "answers"):
                    reply = here.answer(*here.read(request, run="1", kind="train"))
                with _timed(spent, _SERVER):
                    server.receive(reply, sender=node)
            requests = _advanced(server, spent)
        with _timed(spent, _SERVER):
            result = server.result()
    error = float(np.abs(result.arrays["w"] - update["w"]).max())
    if error > 1e-3:
        raise RuntimeError(f"the mean is off by {error}")
    own = spent.pop(_SERVER)
    parts = {f"a node {what}": seconds / nodes for what, seconds in spent.items()}
    return {**_cost(sum(parts.values()), own), **parts}


def _advanced(server: MeanServer, spent: dict[str, float]) -> dict[int, bytes]:
    with _timed(spent, _SERVER):
        return server.advance()


def _opened(folder: Path, spent: dict[str, float]) -> Node:
    """A node that remembers nothing, as in a process for one message."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("fedavg", "he", "secagg"):
            for held in vars(module).values():
                getattr(held, "cache_clear", lambda: None)()
    with _timed(spent, "opens its folder, for each message"):
        return Node.open(folder)


@contextmanager
def _timed(spent: dict[str, float], what: str) -> Iterator[None]:
    """Add the processor time of a part."""
    at = time.process_time()
    yield
    spent[what] += time.process_time() - at


def theirs(nodes: int, parameters: int, _: int | None) -> dict[str, float]:
    """The same of Flower's SecAgg+ on the complete graph, two of three shares."""
    found = play(nodes, parameters, shares=nodes, threshold=nodes * 2 // 3 + 1, silent=0)
    return _cost(float(np.mean(found.client_seconds)), found.server_seconds)


def _cost(node: float, server: float) -> dict[str, float]:
    return {"a node": node, "server": server, "a node and the server": node + server}


def processor(nodes: int, parameters: int, members: int | None) -> dict[str, object]:
    """Processor seconds of one round of ours and of theirs; the first of each warms up."""
    found: dict[str, object] = {}
    for name, one in (("ours", ours), ("SecAgg+", theirs)):
        one(nodes, 1000, members)
        runs = [one(nodes, parameters, members) for _ in range(3)]
        found[name] = {what: float(np.median([run[what] for run in runs])) for what in runs[0]}
    both = "a node and the server"
    return {**found, "ours ÷ SecAgg+": found["ours"][both] / found["SecAgg+"][both]}


def loading(_: int, times: int, __: int | None) -> dict[str, object]:
    """Processor seconds that a process for one message spends on imports: of Flower, and of this package."""
    program = (
        "import time; t = [time.process_time()]; import flwr.supernode.cli.flwr_clientapp; "
        "t.append(time.process_time()); import fedavg.adapters.flower; t.append(time.process_time()); "
        "print(t[1] - t[0], t[2] - t[1])"
    )
    pairs: list[list[float]] = []
    with tempfile.TemporaryDirectory() as compiled:
        # Installed packages are compiled, and a checkout may be kept from it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(times + 1):
            done = subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                capture_output=True,
                check=True,
                text=True,
            )
            pairs.append([round(float(part), 2) for part in done.stdout.split()])
    flower, us = (sorted(column) for column in zip(*pairs[1:], strict=True))
    return {"Flower": flower, "ours": us}


def main() -> None:
    """One comparison; the last line is JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("accuracy", "processor", "loading"))
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--parameters", type=int, default=100_000)
    parser.add_argument(
        "--members", type=int, default=0, help="size of the committee; all nodes if 0"
    )
    parser.add_argument("--sum", choices=("one-shot", "secagg"), default="one-shot")
    given = parser.parse_args()
    sizes = {"accuracy": given.rounds, "processor": given.parameters, "loading": 5}
    chosen = {"accuracy": accuracy, "processor": processor, "loading": loading}[given.what]
    members = None if given.sum == "secagg" else given.members
    found = chosen(given.nodes, sizes[given.what], members)
    print(json.dumps(found), flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    main()
