"""Loading tasks: the built-in ones, tables of one's own, and what is refused in which words."""

import importlib.util
import sys

import numpy as np
import pytest

from fedavg.data.placement import place
from fedavg.data.readers import sources
from fedavg.data.readers.sources import SOURCES
from fedavg.data.settings import DataConfig
from fedavg.data.tables.columns import Boolean, Number
from fedavg.data.tables.schemas.schema import Schema
from fedavg.data.tasks import available_tasks, load_task
from fedavg.errors import DataError
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.support.tables import write


@pytest.mark.parametrize("task", available_tasks(), ids=lambda task: task.name)
def test_built_in_tasks_are_what_the_list_says(task):
    if not task.available:
        assert task.extra == "examples"
        pytest.skip("the examples extra is not installed")
    loaded = load_task(task.name)
    left_out = task.examples - len(loaded.train) - len(loaded.test)
    assert left_out == 0 or (task.name == "python-topics" and 0 < left_out < task.examples / 20)
    assert loaded.num_classes == task.classes
    assert loaded.train.features.shape[1:] == task.shape
    scored = set(loaded.test.labels.tolist())
    if task.name == "python-topics":  # not every sign of the alphabet occurs
        assert scored < set(range(task.classes))
    else:
        assert scored == set(range(task.classes))
    assert loaded.source
    assert loaded.licence


def test_small_mnist_is_pooled_and_stratified():
    small, full = load_task("mnist-14x14", seed=3), load_task("mnist-5k", seed=3)
    assert np.bincount(small.train.labels).tolist() == [400] * 10
    assert np.bincount(small.test.labels).tolist() == [100] * 10
    assert small.train.labels.tolist() == full.train.labels.tolist()  # one split for both
    image = full.test.features[7].reshape(28, 28)
    by_hand = [
        [image[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(14)] for r in range(14)
    ]
    np.testing.assert_allclose(small.test.features[7].reshape(14, 14), by_hand, rtol=1e-6)
    assert small.train.features.min() == 0
    assert small.train.features.max() == 1


@pytest.mark.parametrize("name", ["breast-cancer", "credit-default"])
def test_built_in_tables_lie_inside_their_public_bounds(name):
    if not SOURCES[name].installed:
        pytest.skip(f"{SOURCES[name].package} is not installed")
    task = load_task(name)
    both = np.concatenate([task.train.features, task.test.features])
    assert np.abs(both).max() <= 1
    assert not task.notes  # nothing was clamped, missing or odd
    assert len(task.feature_names) == both.shape[1]
    assert SOURCES[name].schema.declared
    assert not any(column.undeclared() for column in SOURCES[name].schema.columns.values())


def test_credit_is_read_from_the_file_of_a_package_that_is_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "ISLP"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    rows = "".join(
        f"{'No' if i % 4 else 'Yes'},{'Yes' if i % 3 else 'No'},{i}.5,{i}e3\n" for i in range(40)
    )
    (package / "data" / "Default.csv").write_text("default,student,balance,income\n" + rows)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = load_task("credit-default")
    assert task.feature_names == ("student", "balance", "income")
    assert task.label_names == ("No", "Yes")
    assert (len(task.train), task.num_classes, int(task.test.labels.sum())) == (32, 2, 2)


def test_a_missing_islp_is_named_with_its_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ISLP" else find(name)
    )
    with pytest.raises(DataError, match=r"pip install 'secure-fedavg\[examples\]'"):
        load_task("credit-default")
    listed = {task.name: task for task in available_tasks()}
    assert not listed["credit-default"].available


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(DataError, match=r"digits, breast-cancer.*Do you mean 'mnist-14x14'\?"):
        load_task("mnist14")


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    sources._digits.cache_clear()  # another test may have read them
    with pytest.raises(DataError, match=r"pip install 'secure-fedavg\[data\]'"):
        load_task("digits")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_test_fraction_outside_its_range(fraction):
    with pytest.raises(DataError, match="test_fraction"):
        load_task("digits", test_fraction=fraction)


def test_a_table_is_loaded_by_its_schema_or_sent_to_place(tmp_path):
    rows = "".join(f"{n % 90},{'ny'[n % 3 == 0]}\n" for n in range(200))
    path = write(tmp_path / "t.csv", "age,sick\n" + rows)
    columns = {"age": Number(bounds=(0, 100)), "sick": Boolean()}
    task = load_task(path, schema=Schema(target="sick", columns=columns))
    assert len(task.train) + len(task.test) == 200
    assert np.abs(task.train.features).max() <= 1
    with pytest.raises(DataError, match=r"use fedavg.place\(DataConfig\(name="):
        load_task(path)
    with pytest.raises(DataError, match="scaled by declared bounds .*age.*fedavg.place lets"):
        load_task(path, schema=Schema(target="sick", columns=columns | {"age": Number()}))
    placed = place(DataConfig(name=str(path), target="sick", clients=4), InsecurePlain())
    assert placed.task.feature_names == ("age",)


def test_a_schema_is_of_tables_only():
    with pytest.raises(DataError, match="leave out the schema"):
        load_task("digits", schema=Schema(target="y"))
