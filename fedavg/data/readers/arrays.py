"""Tasks from .npz files.  The kind of the labels is detected and reported; an ambiguous kind is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.data.dataset import CLASSES, MULTI_LABEL, NUMBERS, Dataset, numbers_of
from fedavg.data.partitions.split import held_out, rows_hash
from fedavg.data.task import Task
from fedavg.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedavg.data.dataset import TargetKind
    from fedavg.data.tables.schemas.schema import TaskName

__all__ = ["load_arrays", "read_arrays"]

_PAIRS = (("x", "y"), ("features", "labels"))
_MOST_CLASSES = 1000
_FEW_NUMBERS = 20  # up to this many different whole numbers of type float may also be classes


def load_arrays(path: Path, *, task: TaskName, test_fraction: float, seed: int) -> Task:
    """Read a task from an .npz file; the features are not scaled, except images.

    Args:
        path: a file with the arrays x_train, y_train, x_test, y_test, or x, y, or features, labels; features
            of type uint8 are read as images and scaled to [0, 1].
        task: kind of the labels; "auto" reads integers as classes and fractions as numbers, and refuses
            labels that could be either.
        test_fraction: share of the examples held out for scoring, if the file has no fixed split.
        seed: public seed of that split.

    Raises:
        DataError: the arrays are no examples, or the labels are ambiguous.
    """
    return read_arrays(path, task=task, test_fraction=test_fraction, seed=seed)[0]


def read_arrays(
    path: Path, *, task: TaskName, test_fraction: float, seed: int, declared: bool = True
) -> tuple[Task, bool]:
    """Do the work of `load_arrays`, and also return whether the features are floating-point numbers.

    Args:
        path: see `load_arrays`.
        task: see `load_arrays`.
        test_fraction: see `load_arrays`.
        seed: see `load_arrays`.
        declared: whether labels that are words may be numbered by the words that occur. Under noise they may
            not, unless the configuration names the classes.

    Raises:
        DataError: see `load_arrays`.
        ConfigError: the labels are words, and the classes are not declared.
    """
    arrays = _read(path)
    notes: list[str] = []
    # A file that names its own test set is divided as its author did.
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        pairs = [(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")]
        split = "as the file divides them"
    else:
        pairs, split = [_pair(path, arrays)], "by row, by a keyed hash of its content"
    given = [_words(label) for _, label in pairs]
    if not declared and given[0].dtype.kind == "U":
        words = ", ".join(f'"{word}"' for word in np.unique(np.concatenate(given))[:6])
        raise ConfigError(
            f"{path}: the labels are words. Under noise the classes are public and have to be declared: say "
            f"[data] classes = [{words}] with the public list of classes, or choose privacy.noise = 'none' "
            "(--noise none)"
        )
    kind, labels, names = _labels(path, given, task, notes)
    pixels = [_pixels(features, notes) for features, _ in pairs]
    sets = [Dataset(x, y, kind) for x, y in zip(pixels, labels, strict=True)]
    if len(sets) == 1:
        whole = sets[0]
        contents = rows_hash(whole.features, whole.labels)
        # Without a client column every row has one owner, so that its content alone decides.
        owners = np.zeros(len(whole), np.int64), ("",)
        held = held_out(contents, owners, fraction=test_fraction, seed=seed)
        sets = [whole.subset(np.flatnonzero(~held)), whole.subset(np.flatnonzero(held))]
    outputs = len(names) if not kind.columns else int(sets[0].labels.shape[1])
    floats = pairs[0][0].dtype.kind == "f"
    read = Task(
        str(path),
        sets[0],
        sets[1],
        outputs,
        *(f"examples of {path.name}", str(path), "unknown"),
        label_names=names,
        split=split,
        notes=tuple(dict.fromkeys(notes)),
    )
    return read, floats


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {str(key): archive[key] for key in archive.files}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen types on damaged files
        raise DataError(
            f"cannot read {path}: it is damaged, is no .npz file, or holds Python objects, which are never "
            f"unpickled. Store words with y.astype(str), and numbers with y.astype(float) ({error})"
        ) from error


def _pair(path: Path, arrays: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    pair = next((pair for pair in _PAIRS if set(pair) <= arrays.keys()), None)
    if pair is None:
        raise DataError(
            f"{path} holds the arrays {', '.join(sorted(arrays)) or '(none)'}; needed are "
            "x_train, y_train, x_test, y_test, or x, y, or features, labels"
        )
    return arrays[pair[0]], arrays[pair[1]]


def _pixels(array: NDArray[Any], notes: list[str]) -> NDArray[np.float32]:
    numbers = numbers_of(array, "features")
    if array.dtype != np.uint8:
        return numbers
    notes.append("features of type uint8 are taken for images: 0 … 255 becomes 0 … 1")
    return numbers / np.float32(255.0)


def _labels(
    path: Path, labels: list[NDArray[Any]], task: TaskName, notes: list[str]
) -> tuple[TargetKind, list[NDArray[Any]], tuple[str, ...]]:
    kind = _kind(path, np.concatenate(labels), task)
    if kind != CLASSES:
        return kind, labels, ()
    if labels[0].dtype.kind == "U":
        return kind, *_numbered(path, labels, notes)
    whole = [_whole(path, label) for label in labels]
    values = np.unique(np.concatenate(whole))
    _check_count(path, len(values))
    names: tuple[str, ...] = tuple(str(value) for value in values)
    # Labels that count from 0 need no renaming.
    if values[0] == 0 and values[-1] == len(values) - 1:
        return kind, whole, names
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    advice = ""
    # 255 and negative numbers often mark pixels or rows without a label.
    if int(values[-1]) == 255 or int(values[0]) < 0:
        odd = str(values[-1] if int(values[-1]) == 255 else values[0])
        advice = f"; {odd} often means no label: choose the others by [data] classes"
    notes.append(f"labels are {shown}: {len(names)} classes of these names{advice}")
    return kind, [np.searchsorted(values, label) for label in whole], names


def _words(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that are words, as a vector of text; any others as they are."""
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind != "U":
        return labels
    return np.char.strip(labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels)


def _numbered(
    path: Path, labels: list[NDArray[Any]], notes: list[str]
) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    """Words as numbers of classes, in alphabetical order, and the names of the classes."""
    if labels[0].ndim != 1:
        raise DataError(
            f"{path}: labels that are words are a vector, one word for each example, not an array of shape "
            f"{labels[0].shape}"
        )
    names = np.unique(np.concatenate(labels))
    _check_count(path, len(names))
    if "" in names:
        raise DataError(f"{path}: there are examples whose label is empty: leave them out")
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    notes.append(
        f"labels are words: {shown}; they are {len(names)} classes in alphabetical order, which [data] "
        "classes can change"
    )
    return [np.searchsorted(names, label) for label in labels], tuple(map(str, names))


def _check_count(path: Path, classes: int) -> None:
    if classes > _MOST_CLASSES:
        raise DataError(
            f"{path} has {classes:,} different labels, too many for classes; if they are numbers to predict, "
            'say [data] task = "numbers"'
        )
    if classes < 2:
        raise DataError(
            f"{path} has examples of {classes} class only: a task needs two classes or more"
        )


def _kind(path: Path, labels: NDArray[Any], task: TaskName) -> TargetKind:
    """The kind of the labels; an ambiguous array is refused, and the message names both readings."""
    if labels.dtype.kind == "U" and task != "classes":
        # Words can only be names of classes.
        if task == "auto":
            return CLASSES
        raise DataError(
            f"{path}: the labels are words such as {str(labels.flat[0])!r}, which are names of classes: "
            f'leave out [data] task = "{task}", or store numbers'
        )
    if task != "auto":
        return {"classes": CLASSES, "numbers": NUMBERS, "multi-label": MULTI_LABEL}[task]
    if labels.ndim == 2 and labels.shape[1] > 1:
        indicators = labels.dtype.kind in "iub" and bool(np.isin(labels, (0, 1)).all())
        # One 1 in each row may be classes or several labels, and the two are trained differently.
        if indicators and bool((labels.sum(axis=1) == 1).all()):
            raise DataError(
                f"{path}: every row of labels holds a single 1. If these are classes, give their numbers "
                '(y.argmax(1)); if an example can have several labels, say [data] task = "multi-label"'
            )
        return MULTI_LABEL if indicators else NUMBERS
    if labels.dtype.kind == "f":
        values = np.unique(labels)
        # Few whole numbers may be classes or counts, and the two are trained differently.
        if len(values) <= _FEW_NUMBERS and bool((values == np.floor(values)).all()):
            raise DataError(
                f"{path}: labels are {len(values)} different whole numbers of type {labels.dtype}: say "
                '[data] task = "classes" if they are names of classes, or task = "numbers" to predict the '
                "number"
            )
        return NUMBERS
    return CLASSES


def _whole(path: Path, labels: NDArray[Any]) -> NDArray[Any]:
    """Labels of classes, as a vector of whole numbers."""
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or flat.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: labels of classes are a vector of whole numbers, not {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if flat.dtype.kind == "f":
        if not bool(np.isfinite(flat).all()) or not bool((flat == np.floor(flat)).all()):
            raise DataError(
                f"{path}: labels of classes are whole numbers; there are fractions or NaN"
            )
        return flat.astype(np.int64)
    # Unsigned numbers stay unsigned, so that a huge one is refused and not wrapped.
    return flat.astype(np.uint64 if flat.dtype.kind == "u" else np.int64)
