"""A budget that runs share, as a user meets it: created, charged by two runs, shown, and refused."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from dp import GaussianEvent, Ledger, SharedLedger
from fedavg.cli.app import app
from fedavg.config.build import load_config
from fedavg.studies import executors
from tests.e2e.small import blobs_in
from tests.fedavg.support.studies import OneProcess

runner = CliRunner()


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    return blobs_in(tmp_path_factory.mktemp("data"), train=600)


@pytest.fixture
def config(tmp_path, data_file):
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
rounds = 2
[data]
name = "{data_file}"
clients = 100
[cohort]
rate = 0.9
[privacy]
epsilon = 2.0
[simulation]
workers = 0
"""
    )
    return path


def invoke(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def plain(result):
    return re.sub(r"\s+", " ", result.output)


def test_two_runs_share_a_budget_and_a_third_is_refused(tmp_path, config):
    path, link = tmp_path / "budget.json", tmp_path / "link.json"
    made = invoke("ledger", "create", path, "--epsilon", 3, "--delta", 1e-5)
    assert made.exit_code == 0, made.output
    link.symlink_to(path)
    first = invoke("run", config, "--ledger", path, "--out", tmp_path / "first")
    assert first.exit_code == 0, first.output
    assert "stands at epsilon 0.000 of 3" in plain(first)
    assert "It has room for all rounds." in plain(first)
    # by another name it is the same ledger, and has room for less
    second = invoke("run", config, "--ledger", link, "--out", tmp_path / "second")
    assert second.exit_code == 0, second.output
    assert link.is_symlink()
    third = invoke("run", config, "--ledger", path, "--out", tmp_path / "third")
    if (
        third.exit_code == 0
    ):  # the budget ended within the third run, which may have had room for a round
        assert "budget" in plain(third)
        third = invoke("run", config, "--ledger", path, "--out", tmp_path / "fourth")
    assert third.exit_code == 2
    assert "no room for a single round" in plain(third)
    ledger = SharedLedger(path).read()
    assert ledger.spent().high <= 3
    labels = list(dict.fromkeys(charge.label for charge in ledger.history))
    assert labels[:2] == [str((tmp_path / name).resolve()) for name in ("first", "second")]
    shown = invoke("ledger", "show", path)
    assert shown.exit_code == 0, shown.output
    assert f"Spent: epsilon {ledger.spent().high:.3f} of 3 at delta 1e-05" in plain(shown)
    assert "together" in shown.output


def test_the_run_keeps_where_its_ledger_is_and_charges_it_when_it_goes_on(
    tmp_path, config, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    SharedLedger.create("budget.json", Ledger(9.0, 1e-5))
    result = invoke("run", config, "--ledger", "budget.json", "--out", "run")
    assert result.exit_code == 0, result.output
    resolved = load_config(tmp_path / "run" / "config.toml")
    assert resolved.privacy.ledger == str((tmp_path / "budget.json").resolve())
    own = json.loads((tmp_path / "run" / "ledger.json").read_text())
    shared = json.loads((tmp_path / "budget.json").read_text())
    assert shared["events"] == own["events"]


def test_mistakes_are_named_with_a_remedy_and_leave_nothing(tmp_path, config):
    out = tmp_path / "run"
    missing = invoke("run", config, "--ledger", tmp_path / "none.json", "--out", out)
    assert missing.exit_code == 2
    assert "fedavg ledger create" in plain(missing)
    path = tmp_path / "budget.json"
    SharedLedger.create(path, Ledger(9.0, 1e-5))
    config.write_text(config.read_text().replace("epsilon = 2.0", 'noise = "none"'))
    bare = invoke("run", config, "--ledger", path, "--out", out)
    assert bare.exit_code == 2
    assert "privacy.ledger has no effect here" in plain(bare)
    assert not out.exists()
    assert SharedLedger(path).read().history == ()
    again = invoke("ledger", "create", path, "--epsilon", 3)
    assert again.exit_code == 2
    assert "exists" in plain(again)
    for wrong in (["--epsilon", -1], ["--epsilon", 1, "--delta", 2]):
        refused = invoke("ledger", "create", tmp_path / "new.json", *wrong)
        assert refused.exit_code == 2
        assert "Error" in refused.output
    assert invoke("ledger", "show", tmp_path / "none.json").exit_code == 2
    assert invoke("ledger", "create", tmp_path / "no" / "x.json", "--epsilon", 1).exit_code == 2


def test_charges_without_a_name_are_shown_too(tmp_path):
    path = tmp_path / "budget.json"
    SharedLedger.create(path, Ledger(9.0, 1e-5)).charge(GaussianEvent(4.0), 3)
    assert "(no name)" in invoke("ledger", "show", path).output


def test_a_study_charges_no_ledger(tmp_path, config, monkeypatch):
    monkeypatch.setattr(executors, "Workers", OneProcess())
    study = tmp_path / "study.toml"
    base = config.read_text().replace("[privacy]", f'[privacy]\nledger = "{tmp_path / "b.json"}"')
    (tmp_path / "base.toml").write_text(base)
    study.write_text('base = "base.toml"\n[grid]\nseed = [0]\n')
    result = invoke("sweep", study, "--dry-run", "--out", tmp_path / "study", "--jobs", 1)
    assert "a study charges no ledger" in plain(result)
