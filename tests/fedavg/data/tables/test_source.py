"""A table becomes a task: the split, the clients' rows, and the scale of numbers to predict."""

import numpy as np
import pytest

from fedavg.data.tables.columns import Boolean, Category, Date, Number
from fedavg.data.tables.encode import encode
from fedavg.data.tables.schemas.schema import Schema
from fedavg.data.tables.source import divided, of_classes, parted_by_time, shipped
from fedavg.errors import DataError, PlanError
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.support.tables import table

RNG = np.random.default_rng(0)
COUNT = 240
CELLS = {
    "x": [str(v) for v in RNG.standard_normal(COUNT).round(4)],
    "ward": [f"ward {n}" for n in RNG.integers(0, 6, COUNT)],
    "person": [f"p{n}" for n in RNG.integers(0, 50, COUNT)],
    "rate": [str(v) for v in (5 + 3 * RNG.standard_normal(COUNT)).round(3)],
    "kind": [str(v) for v in RNG.choice(["a", "b", "c"], COUNT)],
    "w": [str(v) for v in RNG.integers(1, 4, COUNT)],
}
COLUMNS = {
    "x": Number(bounds=(-5, 5)),
    "rate": Number(bounds=(-10, 20)),
    "kind": Category(categories=("a", "b", "c")),
}


def _rows(**given):
    cells = {name: CELLS[name] for name in CELLS}
    return encode(table(**cells), Schema(**({"target": "kind", "columns": COLUMNS} | given)))


def _divided(rows, *, natural=True, split="row", fraction=0.25, seed=0):
    about = ("rows", "source", "licence")
    return divided("t", about, rows, natural=natural, split=split, fraction=fraction, seed=seed)


def test_every_row_is_trained_on_or_scored_on():
    source = _divided(_rows(client="ward"))
    assert sorted([*source.train, *source.test]) == list(range(COUNT))
    assert 25 < len(source.test) < 100
    owners, names = source.owners
    assert names == tuple(f"ward {n}" for n in range(6))
    assert (source.rows.owners[0][source.train] == owners).all()
    assert source.split == "by row, by a keyed hash of its content"


def test_whole_clients_and_whole_groups_are_held_out():
    rows = _rows(client="ward", group="person")
    clients = _divided(rows, split="client", fraction=0.4)
    assert not set(rows.owners[0][clients.train]) & set(rows.owners[0][clients.test])
    assert len(clients.owners[1]) == len(set(rows.owners[0][clients.train].tolist())) < 6
    groups = _divided(rows, split="group")
    assert not set(rows.groups[0][groups.train]) & set(rows.groups[0][groups.test])
    with pytest.raises(DataError, match=r"give \[data\] client ="):
        _divided(_rows(), natural=False, split="client")
    with pytest.raises(DataError, match=r"give \[data\] group ="):
        _divided(_rows(), split="group")


def test_rows_without_a_group_stay_together():
    cells = CELLS | {"person": ["", *CELLS["person"][1:-1], ""]}
    rows = encode(table(**cells), Schema(target="kind", columns=COLUMNS, group="person"))
    held = set(_divided(rows, split="group").test.tolist())
    assert (0 in held) == (COUNT - 1 in held)


def test_placed_rows_are_model_inputs_with_names():
    source = _divided(_rows(client="ward"))
    owners = source.owners[0]
    pieces = [np.flatnonzero(owners == ward) for ward in range(6)]
    task, clients = source.placed(pieces, InsecurePlain(), seed=0)
    assert task.feature_names == ("x", "rate")
    assert task.label_names == ("a", "b", "c")
    assert task.outputs == 3
    assert task.owner_names == source.owners[1]
    assert sum(map(len, clients.values())) == len(task.train) == len(source.train)
    pooled = np.concatenate([data.features for data in clients.values()])
    np.testing.assert_allclose(pooled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(pooled.std(0), 1, rtol=1e-4)
    first = source.rows.values[source.train[pieces[2][0]]]
    scale = (first - source.rows.values[source.train].mean(0)) / source.rows.values[
        source.train
    ].std(0)
    np.testing.assert_allclose(clients[2].features[0], scale, rtol=1e-4, atol=1e-5)


def test_numbers_to_predict_are_scaled_and_the_scale_is_kept():
    source = _divided(_rows(target="rate", weight="w"), natural=False)
    pieces = np.array_split(np.arange(len(source.train)), 4)
    task, clients = source.placed(pieces, InsecurePlain(), seed=0)
    assert task.train.kind.name == "numbers"
    assert task.label_names == ("rate",)
    back = task.train.labels * task.label_scale + task.label_centre
    np.testing.assert_allclose(back, source.rows.labels[source.train], rtol=1e-5)
    assert abs(task.train.labels.std() - 1) < 1e-3
    assert task.test.labels.shape == (len(source.test), 1)
    expected = np.array(CELLS["w"], float)[source.train[pieces[1]]]
    assert clients[1].weights.tolist() == expected.tolist()
    public, _ = source.placed(pieces, None, seed=0)
    assert public.label_centre == (5.0,)
    assert public.label_scale == (15.0,)
    assert source.owners is None


def test_under_noise_what_is_predicted_needs_bounds():
    columns = COLUMNS | {"rate": Number()}
    source = _divided(_rows(target="rate", columns=columns), natural=False)
    pieces = [np.arange(len(source.train))]
    with pytest.raises(PlanError, match="bounds of what is predicted, rate"):
        source.placed(pieces, None, seed=0)


def test_a_number_that_does_not_vary_cannot_be_predicted():
    cells = CELLS | {"rate": ["5"] * COUNT}
    rows = encode(table(**cells), Schema(target="rate", columns=COLUMNS))
    source = _divided(rows, natural=False)
    pieces = np.array_split(np.arange(len(source.train)), 3)
    with pytest.raises(DataError, match="rate does not vary"):
        source.placed(pieces, InsecurePlain(), seed=0)


def test_several_labels_stay_indicators():
    cells = {"x": CELLS["x"], "a": ["0", "1"] * 120, "b": ["1", "0", "1"] * 80}
    columns = {"x": Number(), "a": Boolean(), "b": Boolean()}
    rows = encode(table(**cells), Schema(target=("a", "b"), columns=columns))
    source = _divided(rows, natural=False)
    task, _ = source.placed(
        np.array_split(np.arange(len(source.train)), 3), InsecurePlain(), seed=0
    )
    assert task.train.kind.name == "multi-label"
    assert task.outputs == 2
    assert set(np.unique(task.train.labels)) == {0, 1}
    assert len(np.unique(source.strata)) == 4


def test_some_classes_in_an_order_of_ones_own():
    rows = of_classes(_rows(client="ward", group="person", weight="w"), ("c", "a"))
    assert rows.label_names == ("c", "a")
    kept = [name for name in CELLS["kind"] if name in ("a", "c")]
    assert [rows.label_names[label] for label in rows.labels] == kept
    assert len(rows.weights) == len(rows.groups[0]) == len(rows.contents) == len(kept)
    with pytest.raises(DataError, match="numbers are predicted: leave it out"):
        of_classes(_rows(target="rate"), ("a", "b"))
    with pytest.raises(DataError, match="names 'z'; the classes are a, b, c"):
        of_classes(_rows(), ("a", "z"))
    with pytest.raises(DataError, match="of which there are no rows"):
        of_classes(of_classes(_rows(), ("c", "a")), (0, 5))


def test_a_built_in_table_keeps_its_split():
    one = shipped("t", ("a", "b", "c"), _rows(), fraction=0.2, seed=0)
    labels = one.rows.labels
    shares = np.bincount(labels[one.test]) / np.bincount(labels)
    np.testing.assert_allclose(shares, 0.2, atol=0.01)


DATES = {"day": [f"2020-{1 + n % 12:02}-15" for n in range(COUNT - 1)] + [""]}


def _dated(**given):
    cells = CELLS | DATES
    return encode(
        table(**cells), Schema(**({"target": "kind", "columns": COLUMNS, "time": "day"} | given))
    )


def _by_time(rows, first="2020-10-01"):
    return parted_by_time("t", ("rows", "source", "licence"), rows, natural=False, first=first)


def test_later_rows_are_held_out_and_rows_without_a_date_are_on_neither_side():
    source = _by_time(_dated())
    months = [int(text[5:7]) if text else 0 for text in DATES["day"]]
    assert source.test.tolist() == [n for n, month in enumerate(months) if month >= 10]
    assert source.train.tolist() == [n for n, month in enumerate(months) if 0 < month < 10]
    assert source.split == "rows from 2020-10-01 on"
    assert "1 of 240 rows have no date" in source.rows.notes[-1]
    kept = _by_time(of_classes(_dated(), ("a", "b")))
    labelled = [n for n in range(COUNT) if CELLS["kind"][n] != "c"]
    assert [labelled[n] for n in kept.test] == [n for n in labelled if months[n] >= 10]


def test_a_rows_side_does_not_change_with_other_rows():
    whole = _by_time(_dated())
    fewer = {name: cells[: COUNT // 2] for name, cells in (CELLS | DATES).items()}
    schema = Schema(target="kind", columns=COLUMNS, time="day")
    half = _by_time(encode(table(**fewer), schema))
    assert half.test.tolist() == [n for n in whole.test if n < COUNT // 2]


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("soon", "is no date such as"),
        ("2020-01-01", "before it, so that none is left to train on"),
        ("2021-01-01", "on that day or later, so that none is left to score on"),
    ],
)
def test_a_day_that_divides_nothing_is_refused(first, said):
    with pytest.raises(DataError, match=said):
        _by_time(_dated(), first)


def test_a_cell_that_is_no_date_is_named_with_its_row_and_is_missing_under_noise():
    cells = CELLS | {"day": ["spring", *DATES["day"][1:]]}
    schema = Schema(target="kind", columns=COLUMNS, time="day")
    with pytest.raises(DataError, match="'spring' in row 1 is not a date such as 2026-01-31"):
        encode(table(**cells), schema)
    rows = encode(table(**cells), schema, private=True)
    assert np.isnan(rows.moments[0])
    cells = CELLS | {"day": ["15.10.20", *["1.2.2020"] * (COUNT - 1)]}
    columns = COLUMNS | {"day": Date(pattern="%d.%m.%y", parts=("month",))}
    rows = encode(table(**cells), Schema(target="kind", columns=columns, time="day"), private=True)
    assert rows.moments[0] == 18_550  # 2020-10-15, in days since 1970
    assert np.isnan(rows.moments[1:]).all()
    assert [field.name for field in rows.fields] == [
        "x",
        "rate",
        "day month",
    ]  # a model reads it, too
