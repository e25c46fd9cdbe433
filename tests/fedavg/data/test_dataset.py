"""Data sets: which labels of which kind are accepted, what is refused, and in which words."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedavg.data import dataset as dataset_module
from fedavg.data.dataset import CLASSES, MULTI_LABEL, NUMBERS, Dataset, target_kind
from fedavg.errors import DataError


def test_numbers_are_converted_and_can_be_shared_with_torch():
    dataset = Dataset(np.array([[1, 2]], np.uint8), np.array([3], np.uint8))
    assert dataset.features.dtype == np.float32
    assert dataset.labels.dtype == np.int64
    frozen = np.frombuffer(np.ones(2, np.float32).tobytes(), np.float32).reshape(1, 2)
    assert Dataset(frozen, np.zeros(1, np.int64)).features.flags.writeable


@pytest.mark.parametrize(
    ("features", "labels", "word"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "at least one example"),
        (np.zeros((2, 0)), np.zeros(2, int), "at least one feature"),
        (np.zeros((2, 2)), np.zeros(3, int), "do not go with"),
        (np.zeros(2), np.zeros(2, int), "do not go with"),
        (np.array([[np.nan]]), np.zeros(1, int), "NaN or infinity, first in row 0, feature 0"),
        (
            np.array([[1, 2], [3, np.nan], [np.inf, 4]]),
            np.zeros(3, int),
            "first in row 1, feature 1",
        ),
        (np.full((2, 1, 3), np.nan), np.zeros(2, int), "first in row 0, feature 0, 0"),
        (np.array([[np.inf]]), np.zeros(1, int), "NaN or infinity"),
        (np.array([[1e300]]), np.zeros(1, int), "NaN or infinity"),
        (np.array([["a"]]), np.zeros(1, int), "no real numbers"),
        (np.array([[1j]]), np.zeros(1, int), "no real numbers"),
        (np.array([[None]]), np.zeros(1, int), "no real numbers"),
        (np.zeros((1, 1)), np.zeros(1), "target='numbers'"),
        (np.zeros((1, 1)), np.array([0.5]), "integers"),
        (np.zeros((1, 1)), np.zeros((1, 1), int), "vector of integers"),
        (np.zeros((1, 1)), np.zeros((1, 2), int), "target='multi-label'"),
        (np.zeros((1, 1)), np.array([-1]), "classes are counted from 0"),
        (np.zeros((1, 1)), np.array([2**63], np.uint64), "no class"),
        (np.zeros((1, 1)), np.array([None]), "integers"),
        (np.full((2, 1), 2**24 + 1), np.zeros(2, int), "cannot tell from their neighbours"),
        (np.full((2, 1), 2**60 + 1), np.zeros(2, int), "cannot tell from their neighbours"),
        (np.full((2, 1), 2**64 - 1, np.uint64), np.zeros(2, int), "cannot tell"),
        (np.ma.masked_equal([[1.0], [5.0]], 5), np.zeros(2, int), "1 masked element"),
        ([[1.0], [2.0, 3.0]], np.zeros(2, int), "cannot be read as an array"),
    ],
)
def test_what_is_no_data_set(features, labels, word):
    with pytest.raises(DataError, match=word):
        Dataset(features, labels)


def test_the_finite_check_is_what_refuses_nan(monkeypatch):
    """Mutant: without it, NaN would enter training."""
    monkeypatch.setattr(dataset_module.np, "isfinite", np.ones_like)
    assert np.isnan(Dataset(np.array([[np.nan]]), np.zeros(1, int)).features).all()


@pytest.mark.parametrize("indices", [[], [3], [-1], [[0]], [0.5]])
def test_subset_refuses_what_it_cannot_choose(indices):
    dataset = Dataset(np.zeros((3, 1)), np.arange(3))
    with pytest.raises(DataError, match="subset"):
        dataset.subset(np.asarray(indices))


def test_a_subset_is_a_copy():
    dataset = Dataset(np.zeros((3, 1)), np.arange(3))
    part = dataset.subset(np.array([2, 0]))
    part.features[:] = 5
    assert part.labels.tolist() == [2, 0]
    assert not dataset.features.any()


def test_numbers_have_a_column_an_output():
    """A vector [n] against outputs [n, 1] would broadcast to [n, n] in a loss, and train on nonsense."""
    one = Dataset(np.zeros((3, 1)), [1, 2, 3], target="numbers")
    assert one.kind == NUMBERS
    assert one.labels.dtype == np.float32
    assert one.labels.shape == (3, 1)
    two = Dataset(np.zeros((3, 1)), np.ones((3, 2), np.float64), target=NUMBERS)
    assert two.subset(np.array([1])).labels.tolist() == [[1.0, 1.0]]
    assert two.subset(np.array([1])).kind == NUMBERS


def test_several_labels_are_indicators():
    tags = Dataset(np.zeros((2, 1)), np.array([[True, False], [True, True]]), target="multi-label")
    assert tags.kind == MULTI_LABEL
    assert tags.labels.dtype == np.int8
    assert tags.labels.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("target", "labels", "word"),
    [
        ("numbers", np.array([np.nan, 1.0]), "NaN or infinity"),
        ("numbers", np.array([1e300, 1.0]), "NaN or infinity"),
        ("numbers", np.zeros((2, 1, 1)), r"\[n, k\]"),
        ("numbers", np.zeros((2, 0)), r"\[n, k\]"),
        ("numbers", np.array(["a", "b"]), "no real numbers"),
        ("numbers", np.zeros(3), "do not go with"),
        ("multi-label", np.array([0, 1]), "array \\[n, k\\]"),
        ("multi-label", np.array([[0], [2]]), "0 or 1"),
        ("multi-label", np.array([["a"], ["b"]]), "array \\[n, k\\]"),
        ("clases", np.array([0, 1]), "Do you mean 'classes'"),
        (3, np.array([0, 1]), "no kind of labels 3"),
    ],
)
def test_what_are_no_labels_of_a_kind(target, labels, word):
    with pytest.raises(DataError, match=word):
        Dataset(np.zeros((2, 1)), labels, target=target)


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        ([1.0], "one number each"),
        ([[1.0], [1.0]], "one number each"),
        ([1.0, -1.0], "not negative"),
        ([1.0, np.inf], "finite"),
        ([0.0, 0.0], "all zero"),
        (["a", "b"], "no real numbers"),
    ],
)
def test_what_are_no_weights(weights, word):
    with pytest.raises(DataError, match=word):
        Dataset(np.zeros((2, 1)), [0, 1], weights=weights)


def test_labels_and_weights_go_with_their_examples():
    data = Dataset(np.zeros((3, 2)), [0.5, 1.5, 2.5], target="numbers", weights=[1, 2, 3])
    part = data.subset(np.array([2, 0]))
    assert part.labels.tolist() == [[2.5], [0.5]]
    assert part.weights is not None
    assert part.weights.tolist() == [3.0, 1.0]
    other = data.with_features(np.ones((3, 5)))
    assert other.features.shape == (3, 5)
    assert other.features.dtype == np.float32
    assert other.kind == NUMBERS
    assert other.weights is data.weights
    with pytest.raises(DataError, match="do not go with"):
        data.with_features(np.ones((2, 5)))


def test_tensors_are_taken_with_and_without_gradient():
    features = torch.ones(2, 3, requires_grad=True)
    data = Dataset(features, torch.tensor([0, 1]))
    assert data.features.tolist() == [[1.0] * 3] * 2
    assert data.labels.dtype == np.int64
    with pytest.raises(DataError, match="cannot be read"):
        Dataset(torch.ones(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1]))


def test_masked_arrays_without_a_masked_element_are_arrays():
    assert len(Dataset(np.ma.masked_equal([[1.0], [2.0]], 5), [0, 1])) == 2


def test_the_kinds_are_found_by_name_and_as_they_are():
    assert [target_kind(kind.name) for kind in (CLASSES, NUMBERS, MULTI_LABEL)] == [
        CLASSES,
        NUMBERS,
        MULTI_LABEL,
    ]
    assert target_kind(NUMBERS) is NUMBERS


@given(st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=5))
def test_integers_up_to_two_to_the_24_are_kept_exactly(numbers):
    data = Dataset(np.array(numbers)[:, None], np.zeros(len(numbers), int))
    assert data.features.astype(np.int64).ravel().tolist() == numbers


@given(st.integers(-(2**63), 2**64 - 1))
def test_an_integer_is_kept_exactly_or_refused(number):
    array = np.array([[number]], np.uint64 if number >= 2**63 else np.int64)
    try:
        data = Dataset(array, [0])
    except DataError:
        assert abs(number) > 2**24
    else:
        assert int(data.features[0, 0]) == number


def test_the_check_of_rounding_is_what_refuses_identifiers(monkeypatch):
    """Mutant: without it, two neighbouring identifiers become one number."""
    monkeypatch.setattr(dataset_module, "_refuse_rounded", lambda *_: None)
    two = Dataset(np.array([[2**24], [2**24 + 1]]), [0, 1])
    assert two.features[0] == two.features[1]
