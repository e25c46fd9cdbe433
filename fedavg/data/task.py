"""A task: examples to train on and examples to score on, with the names that reports use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.dataset import CLASSES
from fedavg.errors import DataError
from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset

__all__ = ["Task", "class_numbers", "keep_classes"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Examples to train on and examples to score on, with the names that reports use.

    `train.kind` says what is predicted: classes, numbers, or several labels at once.

    Args:
        name: name or path, as given to `load_task`.
        train, test: disjoint examples of equal shape and with labels of the same kind.
        outputs: length of a model's output for one example: K logits for classes, where labels are in [0, K);
            otherwise one number or logit for each column of the labels.
        description, source, licence: texts for reports.
        owners: int64[n], the owner of each training example, counted from 0; None without owners.
        label_names: names of the K classes in the order of their numbers, or of the columns of the labels; ()
            if there are none.
        feature_names: names of the model's inputs; () if there are none.
        owner_names: names of the owners in the order of their numbers; () if there are none.
        split: how the examples to score on were chosen, for reports.
        notes: observations, choices and losses while the examples were read.  They may reveal single rows, so
            a simulation prints them, but a report does not contain them.
        label_centre, label_scale: scaling of numbers to predict, if they were brought to unit scale for
            training: a prediction y means y·scale + centre in the unit of the data; () if there was no
                scaling.

    Raises:
        DataError: there are fewer than two classes, a label is not one of them, shapes or kinds differ, or
            the number of names is wrong.
    """

    name: str
    train: Dataset
    test: Dataset
    outputs: int
    description: str
    source: str
    licence: str
    owners: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    label_centre: tuple[float, ...] = ()
    label_scale: tuple[float, ...] = ()
    owner_names: tuple[str, ...] = ()
    split: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_labels(self)
        _check_names(self)
        # A model has one input shape for both parts.
        if self.train.features.shape[1:] != self.test.features.shape[1:]:
            raise DataError(
                f"{self.name}: training examples have shape {self.train.features.shape[1:]}, "
                f"test examples {self.test.features.shape[1:]}"
            )
        if self.owners is not None and self.owners.shape != (len(self.train),):
            raise DataError(f"{self.name}: every training example needs one owner")

    @property
    def num_classes(self) -> int:
        """K if classes are predicted; otherwise the number of a model's outputs."""
        return self.outputs


def _check_labels(task: Task) -> None:
    """Compare the labels with what a model for the task returns."""
    train, test = task.train, task.test
    if train.kind != test.kind:
        raise DataError(
            f"{task.name}: the labels to train on are {train.kind.name}, but those to score on are "
            f"{test.kind.name}: give both the same target"
        )
    if train.kind.columns:
        widths = (train.labels.shape[1], test.labels.shape[1])
        if widths != (task.outputs, task.outputs):
            raise DataError(
                f"{task.name}: the labels to train and to score on have {widths[0]} and {widths[1]} columns, "
                f"and the task has {task.outputs} outputs: all three must be equal"
            )
        return
    if task.outputs < 2:
        raise DataError(f"{task.name} has {task.outputs} class; a task needs two or more")
    highest = max(int(train.labels.max()), int(test.labels.max()))
    if highest >= task.outputs:
        raise DataError(f"{task.name}: label {highest} lies outside {task.outputs} classes")


def _check_names(task: Task) -> None:
    if task.label_names and len(task.label_names) != task.outputs:
        raise DataError(
            f"{task.name}: {len(task.label_names)} names do not go with {task.outputs} outputs"
        )
    inputs = task.train.features.shape[1:]
    if task.feature_names and (len(task.feature_names),) != inputs:
        raise DataError(
            f"{task.name}: {len(task.feature_names)} names do not go with features of shape {inputs}"
        )
    if len(task.label_centre) != len(task.label_scale) or (
        task.label_centre and len(task.label_centre) != task.outputs
    ):
        raise DataError(
            f"{task.name}: give one centre and one scale for every output, or none at all"
        )
    if any(not scale > 0 for scale in task.label_scale):
        raise DataError(f"{task.name}: the scale of a label must be positive")


def keep_classes(task: Task, classes: Sequence[int | str]) -> Task:
    """Keep only the examples of some classes, numbered anew in the given order.

    Args:
        task: any task that predicts classes.
        classes: two or more of its classes, by number or by name.

    Raises:
        DataError: there are fewer than two, one occurs twice, or one has no examples to train or score on.
    """
    numbers = class_numbers(classes, task.label_names)
    if task.train.kind != CLASSES:
        raise DataError(
            f"{task.name}: data.classes chooses classes, but {task.train.kind.name} are predicted here"
        )
    kept: list[tuple[Dataset, NDArray[np.int64]]] = []
    for part in (task.train, task.test):
        absent = set(numbers) - {int(label) for label in np.unique(part.labels)}
        if absent:
            known = task.label_names or tuple(map(str, range(task.num_classes)))
            named = (known[number] if 0 <= number < len(known) else number for number in absent)
            raise DataError(
                f"{task.name}: data.classes names {', '.join(sorted(map(str, named)))}, of which there are "
                f"no examples to {'train on' if part is task.train else 'score on'}; the classes are "
                f"{', '.join(known[:20])}{', …' if len(known) > 20 else ''}"
            )
        rows = np.flatnonzero(np.isin(part.labels, numbers))
        # Classes are numbered anew in the order in which they were named.
        number = np.empty(task.outputs, np.int64)
        number[list(numbers)] = np.arange(len(numbers))
        chosen = part.subset(rows)
        kept.append((replace(chosen, labels=number[chosen.labels]), rows))
    (train, rows), (test, _) = kept
    owners, owner_names = None, task.owner_names
    if task.owners is not None:  # an owner without a remaining example is no client
        present, places = np.unique(task.owners[rows], return_inverse=True)
        owners = places.astype(np.int64)
        owner_names = tuple(owner_names[owner] for owner in present) if owner_names else ()
    about = f"{task.description}, classes {', '.join(map(str, classes))}"
    names = tuple(task.label_names[label] for label in numbers) if task.label_names else ()
    return replace(
        task,
        train=train,
        test=test,
        outputs=len(numbers),
        owners=owners,
        description=about,
        label_names=names,
        owner_names=owner_names,
    )


def class_numbers(classes: Sequence[int | str], names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of chosen classes.

    Args:
        classes: the chosen classes, by number or by name.
        names: names of all classes, in the order of their numbers; () if there are none.

    Raises:
        DataError: there are fewer than two, one occurs twice, or no class has that name.

    Example:
        >>> class_numbers(["yes", 0], ["no", "yes"])
        (1, 0)
    """
    place = {name: number for number, name in enumerate(names)}
    unknown = [name for name in classes if isinstance(name, str) and name not in place]
    if unknown:
        raise DataError(
            f"data.classes names {unknown[0]!r}; "
            + (
                offered(unknown[0], names, lead="the classes are")
                if names
                else "the classes have no names"
            )
        )
    numbers = tuple(place[name] if isinstance(name, str) else name for name in classes)
    if len(numbers) < 2 or len(set(numbers)) != len(numbers):
        raise DataError(
            f"data.classes must name two labels or more, each once, not {list(classes)}"
        )
    return numbers
