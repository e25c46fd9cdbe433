"""Examples out of .npz files: labels that may be two things are asked about, and no pickle is run."""

import json
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data.placement import place
from fedavg.data.readers import arrays as arrays_module
from fedavg.data.settings import DataConfig
from fedavg.data.tasks import load_task
from fedavg.errors import ConfigError, DataError
from fedavg.sums.plain import InsecurePlain


def _save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def _examples(count=20, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, 3)), np.arange(count) % classes


def test_npz_with_a_fixed_split_scales_images(tmp_path):
    images = np.full((4, 2, 2), 255, np.uint8)
    labels = np.array([0, 1, 2, 1], np.uint8)
    path = _save(tmp_path / "t.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    task = load_task(path)
    assert task.num_classes == 3
    assert task.train.features.shape == (4, 2, 2)
    assert (task.train.features == 1.0).all()


@pytest.mark.parametrize("names", [("x", "y"), ("features", "labels")])
def test_npz_without_a_split_is_split_by_each_rows_content(tmp_path, names):
    features, labels = _examples(count=300, classes=3)
    path = _save(tmp_path / "t.npz", **dict(zip(names, (features, labels), strict=True)))
    task = load_task(path, test_fraction=0.3, seed=1)
    assert 48 < len(task.test) < 132  # five standard deviations around 90
    both = np.concatenate([task.train.features, task.test.features])
    assert sorted(map(tuple, both.tolist())) == sorted(
        map(tuple, features.astype(np.float32).tolist())
    )
    again = load_task(path, test_fraction=0.3, seed=1)
    assert (again.test.features == task.test.features).all()
    other = load_task(path, test_fraction=0.3, seed=2)
    assert not np.array_equal(other.test.features, task.test.features)


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": np.zeros((4, 1))}, "holds the arrays x; needed are"),
        ({}, r"\(none\)"),
        ({"x": np.array([[{}]], object), "y": np.zeros(1, int)}, "never unpickled"),
        ({"x": np.zeros((4, 1)), "y": np.zeros(4, int)}, "two classes or more"),
        ({"x": np.zeros((1, 1)), "y": np.zeros(1, int)}, "1 class"),
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
    monkeypatch.setattr(arrays_module.np, "load", lambda file, **_: load(file, allow_pickle=True))
    with pytest.raises(DataError, match="1 class"):
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


def _loaded(tmp_path, labels, **given):
    features = np.random.default_rng(0).random((len(labels), 3))
    return load_task(_save(tmp_path / "t.npz", x=features, y=labels), **given)


N = 120


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.arange(N) % 2 + 1, ("1", "2")),
        (np.where(np.arange(N) == 7, 255, np.arange(N) % 2), ("0", "1", "255")),
        (np.where(np.arange(N) == 7, -1, np.arange(N) % 2), ("-1", "0", "1")),
        (np.where(np.arange(N) < 2, 10**9, np.arange(N) % 2), ("0", "1", "1000000000")),
        (np.array([0, 1, 2**63 + 1] * 40, np.uint64), ("0", "1", "9223372036854775809")),
        (np.arange(N)[:, None] % 2, ("0", "1")),
        (np.arange(N) % 2 == 1, ("0", "1")),
    ],
)
def test_labels_are_named_by_their_values_and_counted_from_zero(tmp_path, labels, names):
    task = _loaded(tmp_path, labels)
    assert task.label_names == names
    assert task.outputs == len(names)
    both = np.concatenate([task.train.labels, task.test.labels])
    assert set(both.tolist()) <= set(range(len(names)))
    if names != ("0", "1"):
        assert any("classes of these names" in note for note in task.notes)


def test_a_label_that_often_means_none_is_pointed_out(tmp_path):
    task = _loaded(tmp_path, np.where(np.arange(N) < 9, 255, np.arange(N) % 2))
    assert "255 often means no label: choose the others by [data] classes" in task.notes[0]


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (np.arange(N) % 2 * 1.0, r"2 different whole numbers of type float64: say \[data\] task"),
        (np.eye(3, dtype=int)[np.arange(N) % 3], "a single 1.*argmax"),
        (np.array(["a", "b"] * 60)[:, None].repeat(2, 1), "labels that are words are a vector"),
        (np.array(["a", "b", " "] * 40), "label is empty"),
        (np.arange(2000), "2,000 different labels, too many"),
        (np.zeros((N, 1, 1), int), "vector of whole numbers"),
    ],
)
def test_labels_that_may_be_two_things_are_refused_with_both(tmp_path, labels, word):
    with pytest.raises(DataError, match=word):
        _loaded(tmp_path, labels)


def test_what_the_labels_are_can_be_said(tmp_path):
    halves = np.arange(N) % 2 * 1.0
    assert _loaded(tmp_path, halves, task="classes").label_names == ("0", "1")
    numbers = _loaded(tmp_path, halves, task="numbers")
    assert numbers.train.kind.name == "numbers"
    assert numbers.outputs == 1
    tags = _loaded(tmp_path, np.eye(3, dtype=int)[np.arange(N) % 3], task="multi-label")
    assert (tags.train.kind.name, tags.outputs) == ("multi-label", 3)
    with pytest.raises(DataError, match="fractions or NaN"):
        _loaded(tmp_path, halves + 0.5, task="classes")


def test_fractions_are_numbers_and_several_ones_are_labels(tmp_path):
    assert _loaded(tmp_path, np.arange(N) / 7).train.kind.name == "numbers"
    assert _loaded(tmp_path, np.arange(2 * N).reshape(N, 2) / 7).outputs == 2
    tags = np.stack([np.arange(N) % 2, np.arange(N) % 3 == 0], axis=1).astype(int)
    assert _loaded(tmp_path, tags).train.kind.name == "multi-label"


def test_pixels_are_scaled_and_that_is_said(tmp_path):
    images = np.full((N, 2, 2), 255, np.uint8)
    task = load_task(_save(tmp_path / "t.npz", x=images, y=np.arange(N) % 2))
    assert (task.train.features == 1.0).all()
    assert task.notes == ("features of type uint8 are taken for images: 0 … 255 becomes 0 … 1",)


@pytest.mark.parametrize("kind", [str, bytes])
def test_labels_that_are_words_are_classes_by_their_names(tmp_path, kind):
    words = np.array(["yes", "no", "maybe "])[np.arange(60) % 3].astype(kind)
    x = np.arange(120.0).reshape(60, 2) / 120
    task = load_task(_save(tmp_path / "t.npz", x=x, y=words))
    assert task.label_names == ("maybe", "no", "yes")
    for row, label in zip(task.train.features, task.train.labels, strict=True):
        at = int(np.flatnonzero((x.astype(np.float32) == row).all(1))[0])
        assert task.label_names[label] == ("yes", "no", "maybe")[at % 3]
    assert "[data] classes" in task.notes[0]
    with pytest.raises(DataError, match='leave out \\[data\\] task = "numbers"'):
        load_task(_save(tmp_path / "t.npz", x=x, y=words), task="numbers")


def test_words_are_numbered_as_the_configuration_says_and_under_noise_only_then(tmp_path):
    words = np.array(["yes", "no"] * 60)
    name = _save(tmp_path / "t.npz", x=np.random.default_rng(0).random((120, 2)), y=words)
    with pytest.raises(ConfigError, match=r'\[data\] classes = \["no", "yes"\]') as caught:
        place(DataConfig(name=name, clients=5), None)
    (advice,) = re.findall(r"classes = (\[.*?\])", str(caught.value))
    named = DataConfig(name=name, clients=5, classes=tuple(json.loads(advice)))
    assert place(named, None).task.label_names == ("no", "yes")
    turned = msgspec.structs.replace(named, classes=("yes", "no"))
    assert place(turned, InsecurePlain()).task.label_names == ("yes", "no")


def test_words_of_pythons_own_type_are_refused_with_the_call_that_stores_them(tmp_path):
    words = np.array(["yes", "no"] * 10, object)
    with pytest.raises(DataError, match=r"y\.astype\(str\)"):
        load_task(_save(tmp_path / "t.npz", x=np.zeros((20, 2)), y=words))
