"""Tasks: examples to train on and to score on, from installed packages or from files."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedavg import checks
from fedavg.data.dataset import CLASSES, Dataset, numbers_of
from fedavg.data.sources import SOURCES, columns_of
from fedavg.data.tables import TableOptions, encode_table, read_table
from fedavg.data.text import split_texts
from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.tables import Column, EncodedTable

__all__ = ["Task", "TaskInfo", "available_tasks", "keep_classes", "load_task"]

_NPZ_PAIRS = (("x", "y"), ("features", "labels"))


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Examples to train on and examples to score on, with the names that reports use.

    What is to be predicted is `train.kind`: classes, numbers, or several labels at once.

    Args:
        name: as given to `load_task`.
        train, test: disjoint examples of equal shape, and of one kind of labels.
        outputs: what a model for the task returns an example: K logits of classes, in which case labels lie
            in [0, K); or as many numbers, or logits of labels, as the labels have columns.
        description, source, licence: for reports.
        columns: of a table whose features are not preprocessed yet; None for what needs none.
        owners: int64[n], whose training example each is, counted from 0; None when nobody's.
        label_names: of the K classes in the order of their numbers, or of the columns of the labels; ()
            when they have none.
        feature_names: of the model's inputs; () when they have none.
        label_centre, label_scale: of numbers that were brought to unit scale for training: a prediction
            y stands for y·scale + centre in the table's own unit; () leaves them as they are.

    Raises:
        DataError: fewer than two classes, a label outside them, unequal shapes or kinds, or names that do
            not pair up.
    """

    name: str
    train: Dataset
    test: Dataset
    outputs: int
    description: str
    source: str
    licence: str
    columns: tuple[Column, ...] | None = None
    owners: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    label_centre: tuple[float, ...] = ()
    label_scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_labels(self)
        _check_names(self)
        if self.train.features.shape[1:] != self.test.features.shape[1:]:
            raise DataError(
                f"{self.name}: training examples have shape {self.train.features.shape[1:]}, "
                f"test examples {self.test.features.shape[1:]}"
            )
        if self.columns is not None and self.train.features.shape[1:] != (len(self.columns),):
            raise DataError(f"{self.name}: a table needs one description for each of its columns")
        if self.owners is not None and self.owners.shape != (len(self.train),):
            raise DataError(f"{self.name}: every training example needs one owner")

    @property
    def num_classes(self) -> int:
        """K, where classes are predicted; the outputs of a model otherwise."""
        return self.outputs


def _check_labels(task: Task) -> None:
    """Compare the labels with what a model for the task returns."""
    train, test = task.train, task.test
    if train.kind != test.kind:
        raise DataError(
            f"{task.name}: the labels to train on are {train.kind.name}, those to score on "
            f"{test.kind.name}"
        )
    if train.kind.columns:
        widths = (train.labels.shape[1], test.labels.shape[1])
        if widths != (task.outputs, task.outputs):
            raise DataError(
                f"{task.name}: labels of {widths[0]} and {widths[1]} columns, for {task.outputs} outputs"
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
        raise DataError(f"{task.name}: every output needs one centre and one scale, or none any")
    if any(not scale > 0 for scale in task.label_scale):
        raise DataError(f"{task.name}: the scale of a label must be positive")


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What is known of a built-in task before it is loaded.

    Args:
        name: for `load_task`.
        description: one line.
        examples, classes, shape: of the whole set.
        extra: the package extra that brings it.
        available: whether that extra is installed.
    """

    name: str
    description: str
    examples: int
    classes: int
    shape: tuple[int, ...]
    extra: str
    available: bool


def available_tasks() -> list[TaskInfo]:
    """List the built-in tasks; only those whose size depends on a version are read.

    Example:
        >>> [task.name for task in available_tasks()]
        ['mnist-14x14', 'mnist-5k', 'mnist-8x8', 'digits', 'breast-cancer', 'credit-default', 'python-topics']
    """
    return [
        TaskInfo(
            name,
            source.description,
            source.size,
            source.classes,
            source.shape,
            source.extra,
            source.installed,
        )
        for name, source in SOURCES.items()
    ]


def load_task(
    name_or_path: str | Path,
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
    table: TableOptions | None = None,
) -> Task:
    """Load a built-in task by name, or a task of your own from a file.

    Tables (`Task.columns` is not None) come with measurements as they are and categories as numbers;
    `fedavg.data.preprocessing` makes model inputs of them, by the clients' own statistics.

    Args:
        name_or_path: a name out of `available_tasks`; the path of a .csv or .parquet table, read as
            `table` says; or of an .npz file whose arrays are called x_train, y_train, x_test, y_test, or
            x, y, or features, labels.  There, uint8 features are taken for images and scaled to [0, 1].
        test_fraction: share of each class that is kept for scoring, where there is no fixed split.
        seed: public seed of that split.
        table: target, client key, bounds and vocabularies of a table; of a built-in one, the last two
            take the place of what is built in when they are given.

    Raises:
        DataError: unknown name, missing file or extra, arrays or columns that are no examples.
    """
    test_fraction = checks.data.proper_fraction("test_fraction", test_fraction)
    options, path = table or TableOptions(), Path(name_or_path)
    if path.suffix.lower() in {".csv", ".parquet"}:
        encoded = encode_table(read_table(path), options)
        about = (f"rows of {path.name}", str(path), "unknown")
        return _table_task(str(path), encoded, about, test_fraction, seed)
    if options.target or options.client:
        raise DataError(
            f"{name_or_path} is no .csv or .parquet: leave out data.target and data.client"
        )
    if path.suffix.lower() == ".npz":
        return _load_npz(path, test_fraction, seed)
    return _load_built_in(str(name_or_path), options, test_fraction, seed)


def keep_classes(task: Task, classes: Sequence[int]) -> Task:
    """Keep the examples of some classes, numbered anew in the order given.

    Args:
        task: any.
        classes: two of its labels, or more.

    Raises:
        DataError: fewer than two, one twice, or one that has no examples to train and to score on.
    """
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise DataError(
            f"data.classes must name two labels or more, each once, not {list(classes)}"
        )
    if task.train.kind != CLASSES:
        raise DataError(
            f"{task.name}: data.classes chooses classes, but {task.train.kind.name} are predicted here"
        )
    kept: list[tuple[Dataset, NDArray[np.int64]]] = []
    for part in (task.train, task.test):
        absent = set(classes) - {int(label) for label in np.unique(part.labels)}
        if absent:
            raise DataError(
                f"{task.name}: data.classes names {sorted(absent)}, of which there are no examples; "
                f"labels go from 0 to {task.num_classes - 1}"
            )
        rows = np.flatnonzero(np.isin(part.labels, classes))
        number = np.empty(task.outputs, np.int64)
        number[list(classes)] = np.arange(len(classes))
        chosen = part.subset(rows)
        kept.append((replace(chosen, labels=number[chosen.labels]), rows))
    (train, rows), (test, _) = kept
    owners = None
    if task.owners is not None:  # who has no example left is no client
        owners = np.unique(task.owners[rows], return_inverse=True)[1].astype(np.int64)
    about = f"{task.description}, classes {', '.join(map(str, classes))}"
    names = tuple(task.label_names[label] for label in classes) if task.label_names else ()
    return replace(
        task,
        train=train,
        test=test,
        outputs=len(classes),
        owners=owners,
        description=about,
        label_names=names,
    )


def _load_built_in(name: str, options: TableOptions, test_fraction: float, seed: int) -> Task:
    source = SOURCES.get(name)
    if source is None:
        near = difflib.get_close_matches(name.lower(), SOURCES, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"there is no data set {name!r}; {hint}Built in are {', '.join(SOURCES)}; "
            "or give the path of an .npz, .csv or .parquet file"
        )
    about = (source.description, source.source, source.licence)
    if source.table is not None:
        chosen = replace(
            source.table,
            bounds=options.bounds or source.table.bounds,
            vocabulary=options.vocabulary or source.table.vocabulary,
        )
        encoded = encode_table(columns_of(name), chosen)
        return _table_task(name, encoded, about, test_fraction, seed)
    columns = columns_of(name)
    whole = Dataset(numbers_of(columns["features"], "features"), columns["labels"])
    owners = None
    if "owners" in columns:
        train, test = split_texts(columns, test_fraction)
        owners = np.unique(columns["owners"][train], return_inverse=True)[1].astype(np.int64)
    else:
        train, test = _split(whole.labels, test_fraction, seed, name)
    parts = (whole.subset(train), whole.subset(test))
    return Task(name, *parts, source.classes, *about, owners=owners)


def _table_task(
    name: str, table: EncodedTable, about: tuple[str, str, str], test_fraction: float, seed: int
) -> Task:
    whole = Dataset(numbers_of(table.features, "features"), table.labels)
    train, test = _split(whole.labels, test_fraction, seed, name)
    owners = None
    if table.owners is not None:  # who has no training example is no client
        owners = np.unique(table.owners[train], return_inverse=True)[1].astype(np.int64)
    return Task(
        name,
        whole.subset(train),
        whole.subset(test),
        len(table.classes),
        *about,
        columns=table.columns,
        owners=owners,
        label_names=table.classes,
    )


def _split(
    labels: NDArray[np.int64], test_fraction: float, seed: int, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train and to score on: the same share of every class is kept for scoring."""
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    held = np.rint(test_fraction * counts).astype(np.int64)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_test = rank < np.repeat(held, counts)
    if bool(is_test.all()) or not bool(is_test.any()):
        raise DataError(
            f"{name}: test_fraction={test_fraction} of {len(labels)} examples leaves nothing to "
            f"{'train' if is_test.all() else 'score'} on"
        )
    chosen = np.zeros(len(labels), bool)
    chosen[by_class[is_test]] = True
    return order[~chosen[order]], order[chosen[order]]


def _load_npz(path: Path, test_fraction: float, seed: int) -> Task:
    arrays = _read_npz(path)
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        train = Dataset(_pixels(arrays["x_train"]), arrays["y_train"])
        test = Dataset(_pixels(arrays["x_test"]), arrays["y_test"])
    else:
        pair = next((pair for pair in _NPZ_PAIRS if set(pair) <= arrays.keys()), None)
        if pair is None:
            raise DataError(
                f"{path} holds the arrays {', '.join(sorted(arrays)) or '(none)'}; needed are "
                "x_train, y_train, x_test, y_test, or x, y, or features, labels"
            )
        features, labels = (arrays[key] for key in pair)
        whole = Dataset(_pixels(features), labels)
        chosen, held = _split(whole.labels, test_fraction, seed, str(path))
        train, test = whole.subset(chosen), whole.subset(held)
    classes = 1 + max(int(train.labels.max()), int(test.labels.max()))
    return Task(str(path), train, test, classes, f"examples of {path.name}", str(path), "unknown")


def _pixels(array: NDArray[np.generic]) -> NDArray[np.float32]:
    numbers = numbers_of(array, "features")
    return numbers / np.float32(255.0) if array.dtype == np.uint8 else numbers


def _read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {str(key): archive[key] for key in archive.files}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen types on damaged files
        raise DataError(
            f"cannot read {path}: it is damaged, no .npz file, or holds Python objects, which are "
            f"never unpickled ({error})"
        ) from error
