"""A run of records as a trial: the figures of `fedavg records`, the three epsilons, and no ledger."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from rich.console import Console

from fedavg.errors import CohortSizeError, ConfigError, PlanError
from fedavg.runs.records.run import execute_records
from fedavg.studies.trials import records as module
from fedavg.studies.trials.records import RECORDS, RecordsTrial
from fedavg.studies.trials.settings import dotted
from tests.e2e.small import blobs_in
from tests.fedavg.records.small import no_noise
from tests.fedavg.runs.records.test_run import CONFIG


def trial(folder, **changes) -> RecordsTrial:
    """The configuration of the tests of `fedavg records`, with changes such as records__clip."""
    settings = dotted(msgspec.toml.decode(CONFIG.format(data=blobs_in(folder))))
    return RECORDS.trial(settings | {key.replace("__", "."): v for key, v in changes.items()})


def test_a_cell_has_the_figures_and_epsilons_of_the_same_run(tmp_path, monkeypatch):
    no_noise(monkeypatch)
    # With every coin at zero all units are drawn, and two runs are equal.
    monkeypatch.setattr("fedavg.records.table.random_uniform", np.zeros)
    path = tmp_path / "records.toml"
    path.write_text(CONFIG.format(data=blobs_in(tmp_path)))
    summary = execute_records(path, {}, tmp_path / "run", Console(quiet=True))
    one = trial(tmp_path)
    derived = one.check()
    found = one.measure(derived)
    three = summary["epsilon"]
    assert found.headline_value == summary["figures"][0]["value"]
    assert (derived.unit, derived.silos, derived.colluders) == ("record", 4, three["colluders"])
    assert derived.noise_multiplier == summary["noise_multiplier"]
    assert (found.steps, found.sums, found.stopped) == (3, 3, "finished")
    assert found.epsilon_release == pytest.approx(three["release"], rel=1e-9)
    assert found.epsilon_server == pytest.approx(three["server"], rel=1e-9)
    assert found.epsilon_colluding == pytest.approx(three["colluding"], rel=1e-9)
    assert found.epsilon_release < found.epsilon_colluding <= 4.0
    assert found.bytes_up * 3 * 4 == pytest.approx(summary["bytes_up"], rel=0.01)


def test_the_noise_is_calibrated_in_the_check_alone(tmp_path, monkeypatch):
    one = trial(tmp_path, records__epsilon=2.0)
    derived = one.check()
    monkeypatch.setattr("fedavg.records.resolution.calibrated", None)
    found = one.measure(derived)
    assert 1.9 < found.epsilon_colluding <= 2.0
    assert derived.epsilon_budget == 2.0


def test_a_sum_that_hides_nothing_bounds_the_released_models_alone(tmp_path):
    one = trial(tmp_path, secure_sum__kind="insecure-plain")
    found = one.measure(one.check())
    assert (found.epsilon_server, found.epsilon_colluding) == (None, None)
    assert 0 < found.epsilon_release < 4.0


def test_a_budget_that_is_spent_ends_a_cell_as_it_ends_a_run(tmp_path):
    one = trial(tmp_path, records__noise_multiplier=0.4, records__epsilon=4.0, score_every=1)
    found = one.measure(one.check())
    assert found.stopped == "budget"
    assert found.steps < 3


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"records__ledgers": "budgets"},
            ConfigError,
            "records.ledgers: a study charges no ledgers",
        ),
        ({"records__silos": 2}, CohortSizeError, "too few"),
        ({"robust__kind": "group-median", "robust__groups": 4}, CohortSizeError, "4 groups"),
        ({"records__rate": 2.0}, PlanError, "rate"),
        ({"records__unit": "person"}, ConfigError, "needs data.client"),
    ],
)
def test_what_is_refused_is_refused_by_the_check(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        trial(tmp_path, **changes).check()


def test_there_is_no_default_for_the_unit(tmp_path):
    with pytest.raises(ConfigError, match=r"records.unit must be given"):
        RECORDS.trial({"records.epsilon": 1.0})


def test_the_page_is_told_what_its_epsilons_are_about():
    done = [
        {"unit": "person", "colluders": 1, "silos": 10},
        {"unit": "person", "colluders": 3, "silos": 30},
    ]
    assert RECORDS.remarks([]) == ""
    assert RECORDS.remarks(done) == (
        "Every epsilon is about one person of one silo. The budget is the epsilon for the server together "
        "with its colluding silos (1 of 10, 3 of 30)."
    )
    assert module.RECORDS.noisy({})
    assert not module.RECORDS.central({})
