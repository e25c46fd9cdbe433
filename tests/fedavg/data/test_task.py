"""Tasks: what does not pair up is refused, and some classes can be kept."""

from dataclasses import replace

import numpy as np
import pytest

from fedavg.data.dataset import Dataset
from fedavg.data.task import Task, keep_classes
from fedavg.errors import DataError


def _of(labels, **given):
    features = np.zeros((len(labels), 2))
    return Dataset(features, labels, **given)


def _task(train, test, outputs, **given):
    return Task("t", train, test, outputs, "d", "s", "l", **given)


NUMBERS = _of([0.5, 1.5], target="numbers")


@pytest.mark.parametrize(
    ("arguments", "given", "word"),
    [
        ((_of([0, 1]), _of([0, 1]), 1), {}, "two or more"),
        ((_of([0, 1]), _of([0, 2]), 2), {}, "label 2 lies outside 2 classes"),
        ((_of([0, 1]), NUMBERS, 2), {}, "are classes, but those to score on are numbers"),
        ((NUMBERS, NUMBERS, 2), {}, "1 and 1 columns, and the task has 2 outputs"),
        ((NUMBERS, NUMBERS, 1), {"label_names": ("a", "b")}, "2 names do not go with 1 outputs"),
        ((NUMBERS, NUMBERS, 1), {"feature_names": ("a",)}, "1 names do not go with features"),
        ((NUMBERS, NUMBERS, 1), {"label_centre": (0.0,)}, "one centre and one scale"),
        (
            (NUMBERS, NUMBERS, 1),
            {"label_centre": (0.0, 0.0), "label_scale": (1.0, 1.0)},
            "one centre and one scale",
        ),
        ((NUMBERS, NUMBERS, 1), {"label_centre": (0.0,), "label_scale": (0.0,)}, "positive"),
        ((_of([0, 1]), _of([0, 1]), 2), {"owners": np.zeros(3, int)}, "needs one owner"),
    ],
)
def test_what_does_not_pair_up_is_refused(arguments, given, word):
    with pytest.raises(DataError, match=word):
        _task(*arguments, **given)


def test_examples_of_unequal_shape():
    wide = Dataset(np.zeros((2, 3)), [0, 1])
    with pytest.raises(DataError, match="have shape"):
        _task(_of([0, 1]), wide, 2)


def test_numbers_have_as_many_outputs_as_columns():
    two = _of(np.zeros((2, 2)), target="numbers")
    scales = {"label_centre": (0.0, 1.0), "label_scale": (1.0, 2.0)}
    task = _task(two, two, 2, label_names=("a", "b"), **scales)
    assert task.outputs == task.num_classes == 2
    with pytest.raises(DataError, match="numbers are predicted here"):
        keep_classes(task, (0, 1))


def _three_classes():
    labels = np.array([0, 1, 2] * 10)
    owners = np.array([0] * 9 + [1] * 3 + [2] * 18)  # client 1 holds one example of each class
    whole = Dataset(np.arange(30)[:, None], labels)
    names = {"label_names": ("a", "b", "c"), "owner_names": ("x", "y", "z")}
    return Task("t", whole, whole, 3, "d", "s", "l", owners=owners, **names)


def test_chosen_classes_are_numbered_in_the_order_given():
    task = _three_classes()
    kept = keep_classes(task, (2, 0))
    assert kept.num_classes == 2
    assert len(kept.train) == len(kept.test) == 20
    for feature, label in zip(kept.train.features[:, 0], kept.train.labels, strict=True):
        assert (2, 0)[label] == int(feature) % 3
    assert kept.owners.tolist() == [0] * 6 + [1] * 2 + [2] * 12
    assert kept.description == "d, classes 2, 0"
    assert kept.label_names == ("c", "a")
    assert keep_classes(task, ("c", "a")).train.labels.tolist() == kept.train.labels.tolist()


def test_an_owner_without_examples_of_the_chosen_classes_is_no_client():
    task = replace(_three_classes(), owners=np.array([0, 1, 2] * 10))
    kept = keep_classes(task, (0, 2))
    assert np.unique(kept.owners).tolist() == [0, 1]
    assert kept.owner_names == ("x", "z")


@pytest.mark.parametrize("classes", [(1,), (1, 1), (0, 3), (0, -1), ("a", "z"), ("a", 0)])
def test_classes_that_are_no_choice_are_refused(classes):
    with pytest.raises(DataError, match=r"data\.classes"):
        keep_classes(_three_classes(), classes)
