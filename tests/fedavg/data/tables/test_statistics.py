"""Statistics of fields: the pooled ones to fixed-point precision, by secure sums alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data.tables import statistics
from fedavg.data.tables.columns.interface import Field
from fedavg.data.tables.statistics import summed_statistics
from fedavg.errors import DataError, PlanError
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain

FIELDS = (
    Field("income", missing="median"),
    Field("city", categories=("a", "b", "c", "d", "other"), named=4),
    Field("rate", missing="mean"),
    Field("flat", missing="mean"),
)


def _clients(count=8, rows=30):
    rng = np.random.default_rng(0)
    parts = {}
    for i in range(count):
        income = rng.normal(50_000 + 1_000 * i, 9_000, rows)
        rate, city = rng.normal(0.001, 0.0002, rows), rng.choice([0.0, 1.0, 3.0], rows)
        values = np.stack([income, city, rate, np.full(rows, 7.0)], axis=1)
        values[rng.random(values.shape) < 0.2] = np.nan
        parts[i] = values
    parts[0][:, 0] = np.nan  # a column that one client has not measured at all
    return parts


@pytest.mark.parametrize("sums", [SecAgg(), Bfv(), InsecurePlain()], ids=lambda s: s.kind)
def test_every_sum_gives_the_pooled_statistics(sums):
    clients = _clients()
    summed = summed_statistics(clients, FIELDS, sums, seed=0)
    pooled = np.concatenate(list(clients.values()))
    assert summed.rows == len(pooled)
    assert summed.clients == 8
    np.testing.assert_array_equal(summed.present, (~np.isnan(pooled)).sum(0))
    np.testing.assert_allclose(summed.mean[[0, 2, 3]], np.nanmean(pooled, 0)[[0, 2, 3]], rtol=1e-6)
    np.testing.assert_allclose(summed.deviation[[0, 2]], np.nanstd(pooled, 0)[[0, 2]], rtol=1e-5)
    assert np.isnan(summed.deviation[3])  # what does not vary
    assert np.isnan(summed.mean[1])
    cities = pooled[:, 1]
    assert summed.counts[1].tolist() == [int((cities == code).sum()) for code in range(5)]
    assert summed.counts[0].size == 0
    there = np.sort(pooled[~np.isnan(pooled[:, 0]), 0])
    assert summed.median[0] == np.float32(there[(len(there) - 1) // 2])
    assert np.isnan(summed.median[1:]).all()  # nobody asks for theirs


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(
            st.floats(-(2.0**99), 2.0**99, width=32) | st.just(float("nan")), min_size=1, max_size=9
        ),
        min_size=1,
        max_size=4,
    )
)
def test_medians_are_exact_whatever_the_range(parts):
    clients = {i: np.array(part)[:, None] for i, part in enumerate(parts)}
    clients[len(parts)] = np.array([[np.nan]])  # so that a median is asked for
    fields = [Field("x", missing="median")]
    summed = summed_statistics(clients, fields, InsecurePlain(), seed=0)
    there = np.sort([x for part in parts for x in part if not np.isnan(x)])
    if len(there):
        assert summed.median[0] == there[(len(there) - 1) // 2]
    else:
        assert np.isnan(summed.median[0])


def test_medians_are_asked_for_only_where_a_cell_is_missing(monkeypatch):
    calls, real = [], statistics.sum_once

    def record(sums, vectors, **named):
        calls.append(named["context"][:20])
        return real(sums, vectors, **named)

    monkeypatch.setattr(statistics, "sum_once", record)
    full = {i: np.ones((3, 1)) * i for i in range(4)}
    summed_statistics(full, [Field("x", missing="median")], InsecurePlain(), seed=0)
    assert len(calls) == 2
    gaps = {i: np.array([[np.nan], [float(i)]]) for i in range(4)}
    summed_statistics(gaps, [Field("x", missing="median")], InsecurePlain(), seed=0)
    assert len(calls) == 2 + 5
    summed_statistics(gaps, [Field("x", missing="mean")], InsecurePlain(), seed=0)
    assert len(calls) == 2 + 5 + 2
    assert len(set(calls[2:7])) == 5


def test_the_server_is_given_sums_only_and_no_clear_statistic(monkeypatch):
    """Mutant: with one client's vector left out, the statistics are others."""
    clients, calls = _clients(), []
    real = statistics.sum_once

    def record(sums, vectors, **named):
        calls.append((set(vectors), named["context"]))
        return real(sums, vectors, **named)

    monkeypatch.setattr(statistics, "sum_once", record)
    whole = summed_statistics(clients, FIELDS, InsecurePlain(), seed=0)
    assert all(who == set(clients) for who, _ in calls)
    assert len({context for _, context in calls}) == len(calls) == 5

    def forgetful(sums, vectors, **named):
        return real(sums, {i: v for i, v in vectors.items() if i != 1}, **named)

    monkeypatch.setattr(statistics, "sum_once", forgetful)
    less = summed_statistics(clients, FIELDS, InsecurePlain(), seed=0)
    assert less.mean[0] != whole.mean[0]
    assert less.median[0] != whole.median[0]


def test_at_most_a_hundred_clients_are_asked(monkeypatch):
    asked, real = [], statistics.sum_once

    def record(sums, vectors, **named):
        asked.append(sorted(vectors))
        return real(sums, vectors, **named)

    monkeypatch.setattr(statistics, "sum_once", record)
    clients = {i: np.array([[i % 7, 1.0, 0.5, 7.0], [3, 0.0, 1.5, 7.0]]) for i in range(130)}
    for seed in (1, 1, 2):
        summed_statistics(clients, FIELDS, InsecurePlain(), seed=seed)
    assert {len(who) for who in asked} == {100}
    assert asked[0] == asked[1] == asked[2] == asked[3] != asked[4]


def test_too_few_clients_for_the_sum_are_refused():
    with pytest.raises(PlanError, match="statistics of 2 clients cannot be summed by secagg"):
        summed_statistics(_clients(2), FIELDS, SecAgg(), seed=0)


def test_rows_of_another_table():
    with pytest.raises(DataError, match="same 4 fields"):
        summed_statistics(_clients() | {3: np.zeros((2, 2))}, FIELDS, InsecurePlain(), seed=0)
