"""Records behind fixed features, which are computed once for each row and kept by its silo."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.dataset import Dataset
from fedavg.models.features.computed import computed
from fedavg.records.table import Silo

if TYPE_CHECKING:
    from fedavg.models.features.interface import FixedFeatures

__all__ = ["blank", "featured", "prepared"]


def featured(data: Dataset, features: FixedFeatures | None) -> Dataset:
    """The same examples with their fixed features in place of their own; without such, the examples.

    Raises:
        PlanError: there are no such features of these examples.
        DataError: the features' module raises an error, or gives NaN or infinity.
    """
    if features is None:
        return data
    return replace(data, features=computed(features, data.features))


def prepared(silo: Silo, features: FixedFeatures | None) -> Silo:
    """The silo with its rows' features; whose each row is stays as it was."""
    if features is None:
        return silo
    return Silo(featured(silo.records, features), silo.person)


def blank(data: Dataset, features: FixedFeatures | None) -> Dataset:
    """One made-up example of the shape that the model is given; no record is read.

    Raises:
        PlanError: there are no such features of examples of this shape.
    """
    shape = data.features.shape[1:]
    used = shape if features is None else features.shape(shape)
    labels = np.zeros((1, *data.labels.shape[1:]), data.labels.dtype)
    return Dataset(np.zeros((1, *used), np.float32), labels, data.target)
