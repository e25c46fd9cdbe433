"""Tables of a study: fronts against brute force, groups over seeds, and files that read back."""

from __future__ import annotations

import csv
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.studies.directory import StudyDirectory
from fedavg.studies.results.table import Row, Table, groups_of, pareto_front, write_tables

VALUES = {
    "accuracy": 0.5,
    "epsilon_release": 1.0,
    "epsilon_server": None,
    "bytes_up": 100.0,
    "cpu_seconds": 1.0,
}


def row(seed, accuracy, **changes):
    settings = {"seed": seed, "privacy.noise": "gaussian", "privacy.epsilon": 1.0, "local.lr": 0.5}
    values = VALUES | {"accuracy": accuracy}
    for key, value in changes.items():
        (values if key in values else settings)[key.replace("__", ".")] = value
    return Row("a" * 64, "done", "", settings, values)


def beaten(points, index):
    cost, value = points[index]
    return any(
        other_cost <= cost and other_value >= value and (other_cost, other_value) != (cost, value)
        for other_cost, other_value in points
    )


small = st.integers(0, 4).map(float)
number = st.one_of(small, st.floats(allow_nan=False, allow_infinity=False), st.just(math.inf))


@given(st.lists(st.tuples(number, st.one_of(small, st.floats(0, 1)))))
def test_the_front_is_what_no_other_point_beats(points):
    front = pareto_front(points)
    assert sorted(front) == [i for i in range(len(points)) if not beaten(points, i)]
    costs = [points[index][0] for index in front]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1.0, 0.5), (1.0, 0.5)], [0, 1]),
        ([(2.0, 0.5), (1.0, 0.5)], [1]),
        ([(1.0, 0.5), (math.inf, 0.9)], [0, 1]),
    ],
)
def test_fronts_of_ties_and_infinities(points, front):
    assert pareto_front(points) == front


def test_groups_hold_the_seeds_of_one_setting():
    rows = (row(0, 0.5), row(1, 0.7, epsilon_release=1.5), row(0, 0.9, local__lr=0.1))
    first, second = groups_of(Table("t", rows, 0, ("local.lr",)))
    assert first.settings == {"local.lr": 0.5}
    assert first.scores == (0.5, 0.7)
    assert first.score == pytest.approx(0.6)
    assert first.stddev == pytest.approx(0.1 * math.sqrt(2))
    assert first.epsilon == 1.5
    assert first.epsilons == (1.5, None)
    assert second.stddev is None


def test_a_group_without_a_bound_in_one_seed_has_none():
    rows = (row(0, 0.5), row(1, 0.7, epsilon_release=None))
    (group,) = groups_of(Table("t", rows, 0, ()))
    assert group.epsilon is None


def test_failed_and_missing_cells_are_in_no_group():
    lost = Row("b" * 64, "failed", "why", {"seed": 2}, {})
    (group,) = groups_of(Table("t", (row(0, 0.5), lost), 0, ()))
    assert len(group.rows) == 1


def test_both_files_hold_the_same_and_read_back(tmp_path):
    awkward = 'a "quoted", text\nof two lines'
    rows = (
        row(0, 1 / 3, data__bounds={"age": [0.0, 99.0]}),
        Row("", "refused", awkward, {"seed": 1}, {}),
    )
    write_tables(StudyDirectory(tmp_path / "study"), Table("t", rows, 3, ()))
    whole = json.loads((tmp_path / "study" / "cells.json").read_text())
    assert whole["excluded"] == 3
    assert [cell["accuracy"] for cell in whole["cells"]] == [1 / 3, None]
    with (tmp_path / "study" / "cells.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(whole["cells"])
    for line, cell in zip(table, whole["cells"], strict=True):
        assert list(line) == list(cell)
        for key, text in line.items():
            value = cell[key]
            same = text == value if isinstance(value, str) else json.loads(text or "null") == value
            assert same, key
    assert table[1]["reason"] == awkward
