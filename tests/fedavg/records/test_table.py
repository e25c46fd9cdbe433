"""A silo's table: units, coins of the operating system, and slots of a public number."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from fedavg.data.dataset import Dataset
from fedavg.errors import DataError, LocalProtocolError, PlanError
from fedavg.losses import CrossEntropy
from fedavg.records import table as module
from fedavg.records.table import Silo, UnitTable
from tests.fedavg.records.small import privacy

VISITS = np.array(["ada", "bob", "ada", "eve", "ada", "bob"])


def rows(count: int, **changes) -> Dataset:
    return Dataset(np.arange(count, dtype=np.float32)[:, None] + 1, np.zeros(count, int), **changes)


def table(silo: Silo | None = None, **changes) -> UnitTable:
    return UnitTable(silo or Silo(rows(30)), privacy(**changes), CrossEntropy())


def drawn(one: UnitTable, most: int = 50, batch: int = 8) -> list[float]:
    """The first features of the rows of all drawn units."""
    found = []
    for units in one.draw(most, batch):
        chosen = units.features[units.drawn][..., 0]
        found += chosen[units.weights[units.drawn] > 0].tolist()
    return found


def test_every_unit_is_drawn_by_its_own_coin():
    """1,000 draws of 30 units at rate 0.25: each count is within 6 standard deviations.

    A false alarm has probability 30·2e-9. The number of drawn units varies as a binomial's.
    """
    one = table()
    draws = [drawn(one) for _ in range(1000)]
    counts = np.bincount(np.concatenate(draws).astype(int), minlength=31)[1:]
    assert np.abs(counts - 250).max() < 6 * np.sqrt(1000 * 0.25 * 0.75)
    sizes = np.array([len(one) for one in draws])
    assert 0.73 < sizes.var() / (30 * 0.25 * 0.75) < 1.27  # 6 standard errors of √(2/1000)


def test_coins_are_the_operating_systems(monkeypatch):
    asked = []

    def coins(size):
        asked.append(size)
        return np.linspace(0, 1, size, endpoint=False)

    monkeypatch.setattr(module, "random_uniform", coins)
    assert sorted(drawn(table(rate=0.1))) == [float(k) for k in range(1, 11)]
    assert asked == [100]  # the declared number, not the 30 units of the silo


@pytest.mark.parametrize(
    ("batch", "parts", "each"), [(1, 50, 1), (8, 7, 8), (30, 2, 25), (64, 1, 50)]
)
@pytest.mark.parametrize("rate", [1e-9, 0.25, 1.0])
def test_slots_do_not_depend_on_the_draw_or_the_silo(rate, batch, parts, each):
    """Micro-batches are as even as they can be: the last one of 30 would hold 10 units for nothing."""
    for size in (1, 30, 100):
        one = table(Silo(rows(size)), rate=rate)
        shapes = [units.features.shape for units in one.draw(50, batch)]
        assert shapes == [(each, 1, 1)] * parts


@pytest.mark.parametrize(
    ("batch", "counts", "each"),
    [(8, [8, 8, 8, 6], 8), (5, [5] * 6, 5), (20, [16, 14], 16), (64, [30], 32)],
)
def test_without_padding_micro_batches_follow_the_draw_in_eights(batch, counts, each):
    """Sums of fewer than eight rows go through kernels that round in another way."""
    found = list(table(rate=1.0, padded=False).draw(100, batch))
    assert [int(units.drawn.sum()) for units in found] == counts
    assert {len(units.drawn) for units in found} == {each}
    (empty,) = table(rate=1e-12, padded=False).draw(100, batch)
    assert (int(empty.drawn.sum()), len(empty.drawn)) == (0, min(batch, 8))


def test_a_draw_beyond_the_slots_keeps_as_many_as_fit_evenly():
    one = table(rate=1.0)
    draws = [drawn(one, most=10) for _ in range(600)]
    assert {len(found) for found in draws} == {10}
    counts = np.bincount(np.concatenate(draws).astype(int), minlength=31)[1:]
    assert np.abs(counts - 200).max() < 6 * np.sqrt(600 / 3 * 2 / 3)  # as above


def test_no_unit_is_drawn_twice():
    for _ in range(50):
        found = drawn(table(rate=0.9))
        assert len(set(found)) == len(found)


def test_a_person_has_one_coin_and_the_mean_of_its_rows():
    one = table(Silo(rows(6), VISITS), unit="person", rows=3, rate=1.0)
    (units,) = one.draw(3, 3)
    people = {
        tuple(sorted(f[w > 0, 0].tolist()))
        for f, w in zip(units.features, units.weights, strict=True)
    }
    assert people == {(1.0, 3.0, 5.0), (2.0, 6.0), (4.0,)}
    np.testing.assert_allclose(units.weights.sum(1).numpy(), 1.0, rtol=1e-6)


def test_the_sum_of_a_persons_rows_weighs_each_row_once():
    one = table(Silo(rows(6), VISITS), unit="person", rows=3, rate=1.0, combine="sum")
    (units,) = one.draw(3, 3)
    assert sorted(units.weights.sum(1).tolist()) == [1.0, 2.0, 3.0]


def test_a_person_never_gives_more_rows_than_agreed():
    persons = np.repeat(np.arange(4), [1, 2, 7, 20])
    one = table(Silo(rows(30), persons), unit="person", rows=2, rate=1.0)
    (units,) = one.draw(4, 4)
    assert (units.weights > 0).sum(1).tolist().count(2) == 3
    kept = {table(Silo(rows(30), persons), unit="person", rows=1)._rows[3, 0] for _ in range(40)}
    assert len(kept) > 1  # which of a person's rows stay, chance decides


def test_weights_of_rows_and_of_labels_multiply():
    data = rows(3, weights=np.array([1.0, 2.0, 3.0]))
    one = UnitTable(Silo(data), privacy(rate=1.0), CrossEntropy(class_weights=(0.5, 1.0)))
    (units,) = one.draw(3, 3)
    assert sorted(units.weights[:, 0].tolist()) == [0.5, 1.0, 1.5]


def test_the_named_unit_must_be_in_the_table():
    with pytest.raises(PlanError, match="unit='person' needs the person of each row"):
        table(unit="person")


def test_more_units_than_declared_are_refused_without_their_number():
    with pytest.raises(DataError, match="max_units=20") as refusal:
        table(max_units=20)
    assert "30" not in str(refusal.value)


@pytest.mark.parametrize("person", [np.arange(5), np.zeros(6), np.zeros((6, 1), int), "abcdef"])
def test_persons_are_one_name_a_row(person):
    with pytest.raises(DataError, match="one integer or text for each row"):
        Silo(rows(6), person)


@pytest.mark.parametrize(
    ("person", "said"),
    [
        ("patient", r"give the column itself, such as table\['patient'\], not its name"),
        (VISITS[:5], r"there are 6 rows, and person has the shape \[5\]"),
        (["ada", float("nan"), "bob", "eve", "ada", "bob"], r"row 1 \(counted from 0\) has none"),
        (np.array([3.0, 1, 2, np.nan, 1, 2]), "row 3 .* has none"),
        (pd.array([4, 1, None, 2, 2, 2], dtype="Int64"), "row 2 .* has none"),
        (pd.Series(["ada", "bob", "eve", "eve", None, "ada"]), "row 4 .* has none"),
        (np.array(["ada", 7, "bob", "bob", "eve", "eve"], dtype=object), "row 1 .* of type int"),
        (np.arange(6.0), "row 0 .* of type float64"),
        ([True] * 6, "row 0 .* of type bool"),
    ],
)
def test_what_is_wrong_with_persons_is_said_with_its_place(person, said):
    with pytest.raises(DataError, match=said) as refusal:
        Silo(rows(6), person)
    assert "ada" not in str(refusal.value)


@pytest.mark.parametrize(
    "person",
    [
        VISITS,
        VISITS.astype(object),
        VISITS.tolist(),
        pd.Series(VISITS),
        pd.Series(VISITS, dtype="string"),
        pd.Series(VISITS).astype("category"),
        np.array([1, 2, 1, 3, 1, 2], dtype=object),
        pd.array([1, 2, 1, 3, 1, 2], dtype="Int64"),
    ],
)
def test_persons_may_come_as_a_data_frame_holds_them(person):
    (units,) = table(Silo(rows(6), person), unit="person", rows=3, rate=1.0).draw(3, 3)
    assert sorted((units.weights > 0).sum(1).tolist()) == [1, 2, 3]


def test_tables_stay_in_their_silo():
    assert repr(Silo(rows(6), VISITS)) == "Silo(<redacted>)"
    one = table()
    assert repr(one) == "UnitTable(<redacted>)"
    with pytest.raises(LocalProtocolError, match="stays in the silo"):
        pickle.dumps(one)
