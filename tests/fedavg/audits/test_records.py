"""Audits of records: refusals, persons, numbers of canaries, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from fedavg.audits import records, run
from fedavg.audits.canaries import CanaryGradients, Watched, canary_silo
from fedavg.audits.records import audit_records
from fedavg.cli import app
from fedavg.data.dataset import Dataset
from fedavg.errors import PlanError
from fedavg.records.silo import rounded
from fedavg.records.table import Silo
from tests.e2e.small import blobs_in
from tests.fedavg.records.small import plan, resolved, units_of

CONFIG = """
steps = 4

[records]
unit = "record"
silos = 4
rate = 0.5
max_units = 120
epsilon = 8.0

[data]
name = "{data}"

[model]
name = "mlp"
"""


def silos(count: int = 4) -> list[Dataset]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        found.append(Dataset(rng.standard_normal((30, 40)), rng.integers(0, 5, 30)))
    return found


def test_persons_are_audited_as_units():
    people = [Silo(data, np.arange(30) // 2) for data in silos()]
    given = plan(unit="person", rows=2, steps=3, rate=0.5, noise_multiplier=2.0)
    found = audit_records(nn.Linear(40, 5), people, given, canaries=60)
    assert not found.refutations, found.verdict
    assert found.canaries == 60
    assert 10 < found.included < 50  # of 60 fair coins; outside with probability below 1e-6


def test_the_number_of_canaries_is_bounded_by_the_silo_and_the_model():
    for count, most in ((39, 100), (101, 100)):
        with pytest.raises(PlanError, match=rf"{count} canaries do not fit: between 40 and {most}"):
            audit_records(nn.Linear(40, 5), silos(), plan(max_units=100), canaries=count)
    # The bounds of a model that has room for no audit at all are no range.
    with pytest.raises(
        PlanError, match="no audit fits: it takes 40 canaries or more, and at most 20"
    ):
        audit_records(nn.Linear(40, 5), silos(), plan(max_units=20))
    with pytest.raises(PlanError, match="canaries must be"):
        audit_records(nn.Linear(40, 5), silos(), plan(), canaries=True)


def test_local_steps_are_refused():
    given = plan(noise="own", local_steps=2, local_lr=0.1)
    with pytest.raises(PlanError, match="audit the plan with local_steps=1"):
        audit_records(nn.Linear(40, 5), silos(), given)


def test_a_canary_is_clipped_by_the_packages_own_code_and_watched_as_the_silo_adds_it():
    directions = np.eye(3, 18, dtype=np.float32)
    inner = CanaryGradients(directions)
    features = canary_silo(3, Dataset(np.ones((2, 5)), np.zeros(2, int)), by_person=False)
    numbers = features.records.features[:, None]
    units = units_of(numbers, np.zeros((3, 1), int), np.ones((3, 1)), drawn=[True, False, True])
    watched, found = Watched(inner), resolved()
    watched.at(np.zeros(18))
    total = sum(watched.clipped_sum(units, 1.0) for _ in range(2))
    np.testing.assert_allclose(total[:3], [2, 0, 2], rtol=1e-6)
    np.testing.assert_array_equal(watched.vector(found), rounded(total, found.scale, found.clamp))
    watched.at(np.zeros(18))
    with pytest.raises(PlanError, match="drew nothing"):
        watched.vector(found)


def test_the_command_audits_a_configuration_of_records(tmp_path):
    path = tmp_path / "records.toml"
    path.write_text(CONFIG.format(data=blobs_in(tmp_path)))
    out = tmp_path / "audit.json"
    arguments = ["audit", str(path), "--canaries", "50", "--rounds", "3", "--out", str(out)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "epsilon claimed, server with 1 silo" in result.output
    assert "Consistent with the claim" in result.output
    found = json.loads(out.read_text())
    assert found["steps"] == 3
    assert found["refuted"] is False
    assert 0 <= found["epsilon_low"] < found["budget"] <= 8.0
    refused = CliRunner().invoke(app, [*arguments, "--protected"], env={"COLUMNS": "200"})
    assert refused.exit_code != 0
    assert "leave --protected out" in refused.output


def test_refused_canaries_are_refused_before_any_data_is_read_and_any_bar_is_shown(
    tmp_path, monkeypatch
):
    """Mutant: a bar that is entered around the whole audit stands above the refusal."""
    path = tmp_path / "records.toml"
    text = CONFIG.format(data=blobs_in(tmp_path)).replace("= 120", "= 100_000")
    path.write_text(text)
    arguments = ["audit", str(path), "--out", str(tmp_path / "audit.json"), "--canaries"]

    def audited(canaries):
        result = CliRunner().invoke(app, [*arguments, str(canaries)], env={"COLUMNS": "200"})
        assert result.exit_code == 2
        assert "steps with canaries" not in result.output
        return result.output

    assert "60000 canaries do not fit" in audited(60_000)  # more than the model has parameters
    monkeypatch.setattr(run, "record_job", lambda _: pytest.fail("data were read"))
    assert "do not fit: between 40 and" in audited(200_000)


def test_numbers_are_checked_before_features_are_computed(monkeypatch):
    monkeypatch.setattr(records, "prepared", lambda *_: pytest.fail("features were computed"))
    with pytest.raises(PlanError, match="101 canaries do not fit"):
        audit_records(nn.Linear(40, 5), silos(), plan(max_units=100), canaries=101)
    with pytest.raises(PlanError, match="confidence"):
        audit_records(nn.Linear(40, 5), silos(), plan(), confidence=95)
