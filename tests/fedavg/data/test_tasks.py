"""Data sets: what is accepted, what is refused and in which words, and the built-in tasks."""

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data import tasks as data_module
from fedavg.data.dataset import Dataset
from fedavg.data.sources import SOURCES
from fedavg.data.tasks import available_tasks, load_task
from fedavg.errors import DataError


def _save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def _examples(count=20, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, 3)), np.arange(count) % classes


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
    for column, values in zip(task.columns, both.T, strict=True):
        if column.bounds is not None:
            low, high = column.bounds
            assert low <= values.min()
            assert values.max() <= high
        else:
            assert values.max() < column.categories


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
    assert [column.name for column in task.columns] == ["student", "balance", "income"]
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
    with pytest.raises(DataError, match=r"did you mean 'mnist-14x14'\?.*digits, breast-cancer"):
        load_task("mnist14")


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"pip install 'secure-fedavg\[data\]'"):
        load_task("digits")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_test_fraction_outside_its_range(fraction):
    with pytest.raises(DataError, match="test_fraction"):
        load_task("digits", test_fraction=fraction)


def test_npz_with_a_fixed_split_scales_images(tmp_path):
    images = np.full((4, 2, 2), 255, np.uint8)
    labels = np.array([0, 1, 2, 1], np.uint8)
    path = _save(tmp_path / "t.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    task = load_task(path)
    assert task.num_classes == 3
    assert task.train.features.shape == (4, 2, 2)
    assert (task.train.features == 1.0).all()


@pytest.mark.parametrize("names", [("x", "y"), ("features", "labels")])
def test_npz_without_a_split_is_split_by_class(tmp_path, names):
    features, labels = _examples(count=30, classes=3)
    path = _save(tmp_path / "t.npz", **dict(zip(names, (features, labels), strict=True)))
    task = load_task(path, test_fraction=0.3, seed=1)
    assert np.bincount(task.test.labels).tolist() == [3, 3, 3]
    both = np.concatenate([task.train.features, task.test.features])
    assert sorted(map(tuple, both.tolist())) == sorted(
        map(tuple, features.astype(np.float32).tolist())
    )
    again = load_task(path, test_fraction=0.3, seed=1)
    assert (again.test.features == task.test.features).all()
    other = load_task(path, test_fraction=0.3, seed=2)
    assert not (other.test.features == task.test.features).all()


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": np.zeros((4, 1))}, "holds the arrays x; needed are"),
        ({}, r"\(none\)"),
        ({"x": np.array([[{}]], object), "y": np.zeros(1, int)}, "never unpickled"),
        ({"x": np.zeros((4, 1)), "y": np.zeros(4, int)}, "two or more"),
        ({"x": np.zeros((1, 1)), "y": np.zeros(1, int)}, "nothing to score on"),
        (
            {
                "x_train": np.zeros((2, 1)),
                "y_train": np.arange(2),
                "x_test": np.zeros((2, 3)),
                "y_test": np.arange(2),
            },
            "have shape",
        ),
    ],
)
def test_npz_that_holds_no_task(tmp_path, arrays, word):
    with pytest.raises(DataError, match=word):
        load_task(_save(tmp_path / "t.npz", **arrays))


def test_a_pickle_in_an_npz_is_not_run(tmp_path, monkeypatch):
    """Mutant: with allow_pickle the same file runs code of the author's choice."""
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (ran.mkdir, ())

    path = _save(tmp_path / "t.npz", x=np.array([[Bomb()]], object), y=np.zeros(1, int))
    with pytest.raises(DataError, match="never unpickled"):
        load_task(path)
    assert not ran.exists()
    load = np.load
    monkeypatch.setattr(data_module.np, "load", lambda file, **_: load(file, allow_pickle=True))
    with pytest.raises(DataError, match="no real numbers"):
        load_task(path)
    assert ran.exists()


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        load_task(tmp_path / "none.npz")
    broken = tmp_path / "broken.npz"
    features, labels = _examples(count=2000)
    _save(broken, x=features, y=labels)
    whole = broken.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PK", b"hello", bytes(100)):
        broken.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot read"):
            load_task(broken)


@settings(deadline=None, max_examples=60)
@given(blob=st.binary(max_size=80), at=st.integers(0, 900))
def test_a_damaged_npz_raises_data_error_only(tmp_path_factory, blob, at):
    path = tmp_path_factory.mktemp("npz") / "t.npz"
    features, labels = _examples()
    np.savez_compressed(path, x=features, y=labels)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + blob + whole[at + len(blob) :])
    try:
        task = load_task(path)
    except DataError:
        return
    assert len(task.train) >= 1


def _three_classes():
    labels = np.array([0, 1, 2] * 10)
    owners = np.array([0] * 9 + [1] * 3 + [2] * 18)  # client 1 holds one example of each class
    whole = Dataset(np.arange(30)[:, None], labels)
    return data_module.Task("t", whole, whole, 3, "d", "s", "l", owners=owners)


def test_chosen_classes_are_numbered_in_the_order_given():
    task = _three_classes()
    kept = data_module.keep_classes(task, (2, 0))
    assert kept.num_classes == 2
    assert len(kept.train) == len(kept.test) == 20
    for feature, label in zip(kept.train.features[:, 0], kept.train.labels, strict=True):
        assert (2, 0)[label] == int(feature) % 3
    assert kept.owners.tolist() == [0] * 6 + [1] * 2 + [2] * 12
    assert kept.description == "d, classes 2, 0"


def test_an_owner_without_examples_of_the_chosen_classes_is_no_client():
    task = data_module.replace(_three_classes(), owners=np.array([0, 1, 2] * 10))
    assert np.unique(data_module.keep_classes(task, (0, 2)).owners).tolist() == [0, 1]


@pytest.mark.parametrize("classes", [(1,), (1, 1), (0, 3), (0, -1)])
def test_classes_that_are_no_choice_are_refused(classes):
    with pytest.raises(DataError, match=r"data\.classes"):
        data_module.keep_classes(_three_classes(), classes)
