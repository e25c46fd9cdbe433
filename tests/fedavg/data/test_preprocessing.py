"""Preprocessing: the pooled statistics to fixed-point precision, by secure sums alone, or public bounds."""

import numpy as np
import pytest

from fedavg.config.build import build_job, load_config
from fedavg.data import preprocessing
from fedavg.data.dataset import Dataset
from fedavg.data.preprocessing import Preprocessor, fit_preprocessor, public_preprocessor
from fedavg.data.tables import Column
from fedavg.errors import DataError, PlanError
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain

COLUMNS = [Column("income"), Column("city", 5), Column("rate"), Column("flat")]


def _clients(count=8, rows=30):
    rng = np.random.default_rng(0)
    parts = {}
    for i in range(count):
        income = rng.normal(50_000 + 1_000 * i, 9_000, rows)
        rate, city = rng.normal(0.001, 0.0002, rows), rng.choice([0, 1, 3], rows)
        features = np.stack([income, city, rate, np.full(rows, 7.0)], axis=1)
        parts[i] = Dataset(features, np.zeros(rows, int))
    return parts


def _pooled(clients):
    return np.concatenate([data.features for data in clients.values()]).astype(np.float64)


@pytest.mark.parametrize("sums", [SecAgg(), Bfv(), InsecurePlain()], ids=lambda s: s.kind)
def test_every_sum_gives_the_pooled_mean_and_deviation(sums):
    clients = _clients()
    fitted = fit_preprocessor(clients, COLUMNS, sums, seed=0)
    pooled = _pooled(clients)[:, [0, 2]]
    np.testing.assert_allclose(fitted.centre[:2], pooled.mean(0), rtol=1e-6)
    np.testing.assert_allclose(fitted.scale[:2], pooled.std(0), rtol=1e-5)
    assert fitted.category[3:].tolist() == [0, 1, 3]  # categories that nobody holds have no input
    assert fitted.width == 6
    inputs = np.concatenate([fitted.apply(data).features for data in clients.values()])
    assert not inputs[:, 2].any()  # what does not vary says nothing
    assert (inputs[:, 3:].sum(1) == 1).all()


def test_the_server_is_given_sums_only_and_no_clear_statistic(monkeypatch):
    """Mutant: with one client's vector left out, the statistics are others."""
    clients, calls = _clients(), []
    real = preprocessing.sum_once

    def record(sums, vectors, **named):
        calls.append((set(vectors), named["context"]))
        return real(sums, vectors, **named)

    monkeypatch.setattr(preprocessing, "sum_once", record)
    whole = fit_preprocessor(clients, COLUMNS, InsecurePlain(), seed=0)
    assert [who for who, _ in calls] == [set(clients)] * 2
    assert calls[0][1] != calls[1][1]

    def forgetful(sums, vectors, **named):
        return real(sums, {i: v for i, v in vectors.items() if i}, **named)

    monkeypatch.setattr(preprocessing, "sum_once", forgetful)
    assert fit_preprocessor(clients, COLUMNS, InsecurePlain(), seed=0).centre[0] != whole.centre[0]


def test_at_most_a_hundred_clients_are_asked(monkeypatch):
    asked, real = [], preprocessing.sum_once

    def record(sums, vectors, **named):
        asked.append(sorted(vectors))
        return real(sums, vectors, **named)

    monkeypatch.setattr(preprocessing, "sum_once", record)
    for seed in (1, 1, 2):
        fit_preprocessor(_clients(130, 2), COLUMNS, InsecurePlain(), seed=seed)
    assert {len(who) for who in asked} == {100}
    assert asked[0] == asked[1] == asked[2] == asked[3] != asked[4]


def test_too_few_clients_for_the_sum_are_refused():
    with pytest.raises(PlanError, match="statistics of 2 clients cannot be summed by secagg"):
        fit_preprocessor(_clients(2), COLUMNS, SecAgg(), seed=0)


def test_public_bounds_look_at_no_row_and_clip():
    columns = [Column("x", bounds=(0.0, 10.0)), Column("c", 3)]
    fitted = public_preprocessor(columns)
    rows = Dataset(np.array([[5, 0], [20, 2], [-3, 1]]), np.zeros(3, int))
    expected = [[0, 1, 0, 0], [1, 0, 0, 1], [-1, 0, 1, 0]]
    assert fitted.apply(rows).features.tolist() == expected


def test_under_differential_privacy_columns_without_bounds_are_refused_by_name():
    with pytest.raises(PlanError, match="scale of income, rate, flat must be public"):
        public_preprocessor(COLUMNS)


def test_a_run_reads_a_csv_and_its_model_follows_the_inputs(tmp_path):
    """With noise, the same file is refused until its bounds are public."""
    rows = [f"{20 + i % 60},{'ab'[i % 2]},{i % 10},{'ny'[i % 3 == 0]}" for i in range(400)]
    path = tmp_path / "t.csv"
    path.write_text("age,plan,bank,sick\n" + "\n".join(rows) + "\n")
    table = {"name": str(path), "target": "sick", "client": "bank", "partition": "natural"}
    base = {f"data.{key}": value for key, value in table.items()}
    vocabulary = {"data.vocabulary": {"plan": ["a", "b"]}, "cohort.rate": 1.0}
    job = build_job(load_config(None, base | vocabulary | {"privacy.noise": "none"}))
    assert len(job.clients) == 10
    assert job.model.input_shape == (3,)  # age, and the two categories that occur
    everyone = np.concatenate([data.features[:, 0] for data in job.clients.values()])
    assert abs(everyone.mean()) < 1e-5
    with pytest.raises(PlanError, match="scale of age must be public"):
        build_job(load_config(None, base | vocabulary))


def test_rows_of_another_table():
    fitted = public_preprocessor([Column("c", 3)])
    with pytest.raises(DataError, match="another table"):
        fitted.apply(Dataset(np.zeros((2, 2)), np.zeros(2, int)))
    clients = _clients() | {3: Dataset(np.zeros((2, 2)), np.zeros(2, int))}
    with pytest.raises(DataError, match="same 4 columns"):
        fit_preprocessor(clients, COLUMNS, InsecurePlain(), seed=0)


def test_what_is_no_preprocessor():
    one = np.ones(1)
    with pytest.raises(DataError, match="scales"):
        Preprocessor(1, np.zeros(1, int), one, one, one, one, 0 * one)
    with pytest.raises(DataError, match="one entry"):
        Preprocessor(1, np.zeros(2, int), one, one, one, one, one)
