"""D12 in run directories: state that is reached under two names would give one run's budget to two."""

from __future__ import annotations

import os

import pytest

from dp import GaussianEvent, Ledger
from fedavg.errors import CheckpointError
from fedavg.federation import checkpoint
from fedavg.federation.checkpoint import RunJournal

EVENT = GaussianEvent(8.0)
STATE = ["ledger.json", "round.json", "checkpoint.safetensors", "opened.log"]


def charged(times):
    ledger = Ledger(5.0, 1e-5)
    for _ in range(times):
        ledger.charge(EVENT)
    return ledger


def two_runs(tmp_path, other_name):
    """Two run directories, the second of which has the first one's ledger under another name."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    charged(3).save(first / "ledger.json")
    other_name(first / "ledger.json", second / "ledger.json")
    return first, second


def symbolic(path, name):
    name.symlink_to(path)


@pytest.mark.parametrize("other_name", [symbolic, os.link])
def test_d12_a_ledger_of_two_runs_is_refused_before_a_round(tmp_path, other_name):
    first, second = two_runs(tmp_path, other_name)
    before = (first / "ledger.json").read_bytes()
    with pytest.raises(CheckpointError, match="nothing is released"):
        RunJournal(second).charged(charged(1), 0, [1, 2])
    with pytest.raises(CheckpointError, match=r"cannot use ledger\.json"):
        RunJournal(second).load()
    assert (first / "ledger.json").read_bytes() == before
    assert not (second / "round.json").exists()


@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("other_name", [symbolic, os.link])
def test_d12_all_state_of_a_run_has_one_name(tmp_path, name, other_name):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.write_bytes(b"{}")
    other_name(elsewhere, run / name)
    with pytest.raises(CheckpointError, match=name):
        RunJournal(run).load()


@pytest.mark.parametrize("other_name", [symbolic, os.link])
def test_d12_opened_rounds_of_another_run_are_refused_before_any_is_opened(tmp_path, other_name):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    RunJournal(first).opened.add(b"round 1")
    before = (first / "opened.log").read_bytes()
    other_name(first / "opened.log", second / "opened.log")
    with pytest.raises(CheckpointError, match=r"opened\.log"):
        RunJournal(second).opened.add(b"round 1")
    assert (first / "opened.log").read_bytes() == before


def test_d12_a_linked_run_directory_is_that_run(tmp_path):
    run, link = tmp_path / "run", tmp_path / "link"
    run.mkdir()
    link.symlink_to(run)
    RunJournal(link).charged(charged(2), 0, [1])
    RunJournal(run).charged(charged(3), 1, [1])
    assert len(Ledger.load(link / "ledger.json").history) == 3


def test_d12_mutant_that_writes_through_a_link_loses_the_other_runs_charges(tmp_path, monkeypatch):
    first, second = two_runs(tmp_path, symbolic)
    monkeypatch.setattr(checkpoint, "refuse_other_names", lambda _path: None)
    RunJournal(second).charged(charged(1), 0, [1, 2])
    assert len(Ledger.load(first / "ledger.json").history) == 1
