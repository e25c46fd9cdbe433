"""Examples in the forms of other libraries: pairs of arrays, and torch data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fedavg.data.dataset import CLASSES, Dataset, array_of
from fedavg.errors import DataError
from fedavg.parts.imports import said

if TYPE_CHECKING:
    from fedavg.data.dataset import TargetKind

__all__ = ["as_dataset"]


def as_dataset(source: object, target: TargetKind | str = CLASSES) -> Dataset:
    """Convert examples to a `Dataset`.

    Args:
        source: a `Dataset`, which is returned unchanged; a pair (features, labels) or a triple (features,
            labels, weights) of arrays, tensors or data frames; or a map-style torch data set, which has a
            length and whose items are pairs of features and a label.  Each item is read once, so a random
            transform is applied once.
        target: kind of the labels, see `Dataset`.

    Raises:
        DataError: `source` is none of these, its items differ in shape, or `Dataset` refuses them.

    Example:
        >>> data = as_dataset((np.zeros((3, 2)), [0, 1, 1]))
        >>> len(data), as_dataset(data) is data
        (3, True)
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, tuple):
        parts = cast("tuple[Any, ...]", source)
        if len(parts) not in {2, 3}:
            raise DataError(
                "a tuple of examples must be (features, labels) or (features, labels, weights), and this one "
                f"has {len(parts)} parts"
            )
        return Dataset(parts[0], parts[1], target, *parts[2:])
    if hasattr(source, "columns"):
        raise DataError(
            "a data frame does not say which column is predicted: give the pair "
            "(frame.drop(columns='y'), frame['y'])"
        )
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(
        source, np.ndarray | str | bytes
    ):
        raise DataError(
            f"a {type(source).__name__} is no data set: give a Dataset, a pair (features, labels), or a data "
            "set of torch with a length"
        )
    return _of_items(cast("Any", source), target)


def _of_items(source: Any, target: TargetKind | str) -> Dataset:  # noqa: ANN401 - of torch
    name, features, labels = type(source).__name__, list[Any](), list[Any]()
    # A data set of torch may have no iterator, but it has a length and items.
    for index in range(len(source)):
        try:
            item = source[index]
            features.append(array_of(item[0], "features"))
            labels.append(array_of(item[1], "labels"))
        # The message about the array already says what is wrong.
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"item {index} of the {name} is no pair of features and a label: {said(error)}"
            ) from error
    if not features:
        raise DataError(f"the {name} holds no examples")
    try:
        return Dataset(np.stack(features), np.stack(labels), target)
    except ValueError as error:
        shapes = sorted({part.shape for part in features})
        raise DataError(
            f"the items of the {name} have features of unequal shapes, such as {shapes[0]} and {shapes[-1]}"
        ) from error
