"""The examples of one client: features, labels of a stated kind, and weights.

The conversions of arrays from outside are here too, so that every public function refuses the same inputs.
`fedavg.data.tasks` loads the examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.errors import DataError
from fedavg.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from fedavg.metrics import CLASS_FIGURES, LABEL_FIGURES, NUMBER_FIGURES
from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fedavg.losses import Loss
    from fedavg.metrics import Suite

__all__ = [
    "CLASSES",
    "MULTI_LABEL",
    "NUMBERS",
    "Dataset",
    "TargetKind",
    "strata_names",
    "target_kind",
]

_EXACT = 1 << 24  # float32 represents every integer up to here exactly


@dataclass(frozen=True, slots=True)
class TargetKind:
    """The meaning of a label, which decides what a model predicts.

    Args:
        name: "classes", "numbers" or "multi-label".
        dtype: type of the labels of a `Dataset`.
        columns: whether labels are a matrix [n, k] with a column for each output, or a vector [n].
        convert: converts an array to such labels, or raises `DataError`.
        loss: the training loss if a plan names none.
        suite: the metrics that fit, and the constant prediction that they are compared with.
        strata: computes int64[n] from such labels: a class for each example, by which partitions skew and
            reports count. It is the class itself, the tenth of the range of ranks of the first number, or the
            combination of labels.

    Example:
        >>> target_kind("numbers").convert(np.array([0.5, 2.0])).tolist()
        [[0.5], [2.0]]
    """

    name: str
    dtype: type[np.generic]
    columns: bool
    convert: Callable[[NDArray[np.generic]], NDArray[np.generic]]
    loss: Loss
    suite: Suite
    strata: Callable[[NDArray[Any]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Examples with their labels.

    Args:
        features: float32[n, ...]; other real numbers are converted.
        labels: the form depends on `target`:

            - "classes": int64[n], counted from 0; other integers are converted.
            - "numbers" (regression): float32[n, k], one column for each output; a vector [n] becomes [n, 1],
              so that it never broadcasts against a model's outputs.
            - "multi-label": int8[n, k] of 0 and 1, one column for each label; booleans are converted.
        target: kind of the labels, as a name or a `TargetKind`.
        weights: float32[n], weight of each example in the loss: finite, not negative, not all zero; None
            weighs all examples equally.

    Raises:
        DataError: there are no examples, lengths differ, values are NaN or infinite, the labels are not of
            the kind `target`, or float32 cannot represent an integer.

    Example:
        >>> data = Dataset(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))
        >>> len(data), len(data.subset(np.array([2])))
        (3, 1)
        >>> Dataset(np.zeros((2, 2)), np.array([4.5, 7.25]), target="numbers").labels.tolist()
        [[4.5], [7.25]]
    """

    features: NDArray[np.float32]
    labels: NDArray[Any]
    target: TargetKind | str = "classes"
    weights: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        kind = target_kind(self.target)
        features = numbers_of(self.features, "features")
        labels = kind.convert(array_of(self.labels, "labels"))
        if features.ndim < 2 or len(features) != len(labels):
            raise DataError(
                f"features of shape {features.shape} do not go with labels of shape {labels.shape}: "
                "give one row of features and one label an example"
            )
        if not features.size:
            raise DataError("a data set needs at least one example with at least one feature")
        # NaN would reach every weight in one step; how to fill gaps is the owner's decision.
        if not bool(np.isfinite(features).all()):
            row, *place = (int(index[0]) for index in np.nonzero(~np.isfinite(features)))
            raise DataError(
                f"features hold NaN or infinity, first in row {row}, feature {', '.join(map(str, place))} "
                "(counted from 0); fill or drop those examples first"
            )
        object.__setattr__(self, "target", kind)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "labels", labels)
        if self.weights is not None:
            object.__setattr__(self, "weights", _weights(self.weights, len(features)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> TargetKind:
        """The kind of the labels, as a `TargetKind`."""
        return target_kind(self.target)

    def subset(self, indices: NDArray[np.int64]) -> Dataset:
        """Return a copy of the examples at `indices`.

        Args:
            indices: int64[m], m ≥ 1, each in [0, n).

        Raises:
            DataError: `indices` is empty, an index is out of range, or all chosen weights are zero.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu":
            raise DataError("a subset needs a non-empty vector of integer indices")
        if int(chosen.min()) < 0 or int(chosen.max()) >= len(self):
            # numpy takes negative indices from the end, and a slip would go unnoticed.
            raise DataError(
                f"indices of a subset must lie in 0 … {len(self) - 1}, and they lie in {chosen.min()} … "
                f"{chosen.max()}"
            )
        weights = None if self.weights is None else self.weights[chosen]
        return Dataset(self.features[chosen], self.labels[chosen], self.target, weights)

    def with_features(self, features: NDArray[np.floating]) -> Dataset:
        """Return a data set with other features and the same labels and weights.

        Args:
            features: real[n, ...], one row for each example, in the same order.

        Raises:
            DataError: the features are refused, as by `Dataset`.
        """
        return Dataset(np.asarray(features, np.float32), self.labels, self.target, self.weights)


def target_kind(kind: TargetKind | str) -> TargetKind:
    """The kind of labels with this name; a `TargetKind` is returned unchanged.

    Raises:
        DataError: there is no such kind; the message names the most similar one.
    """
    if isinstance(kind, TargetKind):
        return kind
    found = _KINDS.get(kind)
    if found is None:
        raise DataError(f"there is no kind of labels {kind!r}; {offered(kind, _KINDS)}")
    return found


def array_of(values: object, what: str) -> NDArray[np.generic]:
    """An array from anything that numpy converts; tensors are first detached and moved to the CPU.

    Args:
        values: an array, tensor, data frame or list.
        what: name of the values in messages.

    Raises:
        DataError: `values` is no array, or a masked array with masked elements.
    """
    # Tensors of torch are recognised by their methods, so that torch is not loaded here.
    for step in ("detach", "cpu"):
        values = getattr(values, step, lambda same=values: same)()
    # numpy would return the values under the mask.
    if np.ma.is_masked(values):
        count = int(np.ma.count_masked(values))  # pyright: ignore[reportArgumentType] - it is masked
        raise DataError(
            f"{what} have {count} masked elements, whose values mean nothing: fill them, or drop those "
            "examples"
        )
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what} cannot be read as an array: {error}") from error


def numbers_of(values: object, what: str) -> NDArray[np.float32]:
    """Real numbers as float32, the type that models take.

    Args:
        values: see `array_of`.
        what: name of the values in messages.

    Returns:
        An array that is C-contiguous and writeable.

    Raises:
        DataError: `values` are no real numbers, or float32 would round an integer.
    """
    array = array_of(values, what)
    if array.dtype.kind not in "fiub":
        advice = ""
        if array.dtype.kind in "OUS":
            advice = "; code text as numbers first, or give a .csv or .parquet table with a schema"
        raise DataError(f"{what} of type {array.dtype} are no real numbers{advice}")
    with np.errstate(
        over="ignore"
    ):  # a number too large for float32 becomes infinite, and is then refused
        numbers = np.require(array, np.float32, ["C", "W"])  # torch shares writeable memory only
    if array.dtype.kind in "iu" and array.dtype.itemsize > 2 and array.size:
        _refuse_rounded(array, numbers, what)
    return numbers


def _refuse_rounded(array: NDArray[np.generic], numbers: NDArray[np.float32], what: str) -> None:
    """Refuse integers that float32 rounds, because two identifiers could become equal."""
    if int(array.max()) <= _EXACT and int(array.min()) >= -_EXACT:
        return
    changed = numbers.astype(np.float64) != array.astype(np.float64)
    # From 2**53 on, float64 cannot detect the rounding either, so such integers are refused as well.
    changed |= np.abs(numbers.astype(np.float64)) >= float(1 << 53)
    if bool(changed.any()):
        first = array[tuple(index[0] for index in np.nonzero(changed))]
        raise DataError(
            f"{what} hold integers such as {first} that float32 cannot tell from their neighbours: leave "
            "identifiers out, and scale counts first"
        )


def _class_numbers(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.ndim != 1 or array.dtype.kind not in "iub":
        advice = "number the classes from 0"
        if array.dtype.kind == "f":
            advice += ", or say target='numbers' to predict the numbers themselves"
        elif array.ndim == 2 and array.dtype.kind in "iub":
            advice += ", or say target='multi-label' if an example can have several labels"
        raise DataError(
            f"labels must be a vector of integers, not {array.dtype} of shape {array.shape}: {advice}"
        )
    if array.size and int(array.min()) < 0:
        raise DataError(
            f"there is a label {array.min()}, but classes are counted from 0: number them anew, and leave "
            "out examples without a label"
        )
    # Unsigned integers of 64 bits would wrap to negative numbers.
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"label {array.max()} is no class: classes are counted from 0")
    return np.require(array, np.int64, ["C", "W"])


def _outputs(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.ndim not in {1, 2} or (array.ndim == 2 and not array.shape[1]):
        raise DataError(
            f"labels of numbers must have the shape [n] or [n, k], not {list(array.shape)}"
        )
    numbers = numbers_of(array, "labels")
    if not bool(np.isfinite(numbers).all()):
        raise DataError("labels hold NaN or infinity; drop those examples first")
    return numbers.reshape(len(numbers), -1)


def _indicators(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiub":
        raise DataError(
            f"multi-label targets are an array [n, k] of 0 and 1, not {array.dtype} of shape "
            f"{list(array.shape)}"
        )
    # Values other than 0 and 1 would be truncated by the integer type.
    if not bool(np.isin(array, (0, 1)).all()):
        raise DataError(
            "multi-label targets are 0 or 1 for each label, and there are other values: store whether each "
            "label holds, or say target='numbers' to predict the values themselves"
        )
    return np.require(array, np.int8, ["C", "W"])


def _weights(values: ArrayLike, count: int) -> NDArray[np.float32]:
    weights = numbers_of(values, "weights")
    if weights.shape != (count,):
        raise DataError(
            f"weights of shape {weights.shape} do not go with {count} examples: give one number each"
        )
    if not bool(np.isfinite(weights).all()) or float(weights.min()) < 0:
        raise DataError("weights of examples must be finite and not negative")
    if not bool(weights.any()):
        raise DataError("weights of examples are all zero: nothing would be learnt")
    return weights


def strata_names(
    labels: NDArray[Any], strata: NDArray[np.int64], names: tuple[str, ...]
) -> tuple[str, ...]:
    """The names of the strata of labels, in the order of their numbers.

    Args:
        labels: the labels of a `Dataset`.
        strata: int64[n], strata of these labels, computed by their kind.
        names: names of the classes or of the columns; () if there are none.

    Example:
        >>> labels = np.array([[1, 1], [0, 1], [0, 0]], np.int8)
        >>> strata_names(labels, MULTI_LABEL.strata(labels), ("cough", "fever"))
        ('none', 'fever', 'cough, fever')
    """
    count = int(strata.max()) + 1
    if labels.ndim == 1:
        return names or tuple(str(number) for number in range(count))
    if labels.dtype.kind == "f":
        parts = [labels[strata == number, 0] for number in range(count)]
        return tuple(f"{part.min():.4g} … {part.max():.4g}" if len(part) else "" for part in parts)
    titles = names or tuple(str(column) for column in range(labels.shape[1]))
    rows = [labels[int(np.argmax(strata == number))] for number in range(count)]
    return tuple(
        ", ".join(title for title, is_set in zip(titles, row, strict=True) if is_set) or "none"
        for row in rows
    )


def _tenths(labels: NDArray[Any]) -> NDArray[np.int64]:
    order = np.argsort(labels.reshape(len(labels), -1)[:, 0], kind="stable")
    tenths = np.empty(len(labels), np.int64)
    # Tenths by rank have equal sizes for every distribution.
    tenths[order] = np.arange(len(labels)) * 10 // len(labels)
    return tenths


def _combinations(labels: NDArray[Any]) -> NDArray[np.int64]:
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


CLASSES = TargetKind(
    "classes", np.int64, False, _class_numbers, CrossEntropy(), CLASS_FIGURES, lambda labels: labels
)
NUMBERS = TargetKind(
    "numbers", np.float32, True, _outputs, MeanSquaredError(), NUMBER_FIGURES, _tenths
)
MULTI_LABEL = TargetKind(
    *("multi-label", np.int8, True, _indicators, BinaryCrossEntropy(), LABEL_FIGURES, _combinations)
)
_KINDS = {kind.name: kind for kind in (CLASSES, NUMBERS, MULTI_LABEL)}
