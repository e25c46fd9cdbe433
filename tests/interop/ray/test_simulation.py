"""Clients on the actors of a cluster of two nodes, of which one is removed between two rounds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from fedavg.adapters.ray import RaySimulation
from tests.e2e.small import MODEL, SUMS, federation
from tests.fedavg.adapters.ray.test_clients import N, Without, facts

pytest.importorskip("ray", minversion="2.55")


def actors_here() -> set[int]:
    """The processes of actors on this machine (Linux)."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().startswith("ray::Host"):
                found.add(int(path.parent.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def remove_a_node(cluster) -> None:
    """Remove the second node, and wait until its actor has noticed: it may go on for some seconds."""
    before = actors_here()
    cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
    until = time.monotonic() + 120
    while not before - actors_here():
        assert time.monotonic() < until, "no actor ended with its node"
        time.sleep(0.1)


def test_a_removed_node_silences_its_clients_for_one_round(tmp_path, cluster):
    simulation = RaySimulation(actors=2, patience=300.0)
    name = SUMS["insecure-plain"]
    actors = federation(name, n=N, simulation=simulation, client_store=tmp_path)
    rounds = actors.run(4)
    results = [next(rounds), next(rounds)]
    remove_a_node(cluster)
    results += rounds
    lost = sorted(results[2].failures)
    assert lost in ([0, 2, 4, 6], [1, 3, 5, 7])
    assert all("its actor was lost" in why for why in results[2].failures.values())
    assert not results[3].failures
    here = federation(name, n=N, simulation=lambda given: Without(given, {2: lost}))
    assert facts(results) == facts(here.run(4))
    assert np.array_equal(actors.released, here.released)
    assert not list(tmp_path.glob("keys-*"))


def test_clients_come_back_under_their_own_keys(tmp_path, cluster):
    """SecAgg refuses a client that has another key than the directory says."""
    simulation = RaySimulation(actors=2, patience=300.0)
    actors = federation(
        SUMS["secagg"], n=N, model=MODEL, simulation=simulation, client_store=tmp_path
    )
    rounds = actors.run(3)
    assert next(rounds).survivors == N
    remove_a_node(cluster)
    assert len(next(rounds).failures) == N // 2
    last = next(rounds)
    assert (last.survivors, last.failures) == (N, {})
    rounds.close()
