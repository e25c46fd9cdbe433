"""What a suite is handed: keys are added once, peers may be absent, sizes choose."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import Bench, Measure
from benchmarks.kit.bench import PEERS_COMMAND


def test_one_key_is_added_once(found: Bench) -> None:
    with pytest.raises(ValueError, match="speed was added before"):
        found.add(Measure("speed", "again", "s", ours=1.0))


def test_a_missing_peer_is_told_once_with_the_command_that_installs_it() -> None:
    said = io.StringIO()
    bench = Bench("demo", "quick", Console(file=said, width=40))  # too narrow for the command
    assert bench.peer("no_such_peer_here") is None
    assert bench.peer("no_such_peer_here") is None
    assert said.getvalue().count("is not installed here") == 1
    assert PEERS_COMMAND in said.getvalue()
    assert ".venv-peers/bin/python -m benchmarks demo" in said.getvalue()


def test_a_contestant_that_is_not_there_stays_away(found: Bench) -> None:
    there = found.contest("t", {"ours": lambda: None, "peer": None}, rounds=1)
    assert list(there) == ["ours"]


def test_sizes_choose(found: Bench) -> None:
    assert found.pick(quick=1, default=2, full=3) == 1
