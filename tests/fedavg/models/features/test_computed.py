"""Features of tables: each row by itself, beside any other rows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.errors import DataError, PlanError
from fedavg.models.features.computed import FeaturedModel, computed
from fedavg.models.features.images import Scattering


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).random((count, 8, 8), dtype=np.float32)


class Part:
    """Features by a module of the test's own."""

    kind: ClassVar[str] = "own"

    def __init__(self, forward) -> None:
        self._forward = forward

    def shape(self, input_shape):
        return input_shape

    def module(self, input_shape):
        del input_shape
        module = nn.Module()
        module.forward = self._forward
        return module


def test_rows_have_the_features_that_they_have_alone():
    given = images(130)
    whole = computed(Scattering(), given)
    assert whole.shape == (130, 324)
    np.testing.assert_allclose(
        whole[[3, 77, 129]], computed(Scattering(), given[[3, 77, 129]]), atol=1e-4
    )


def test_features_that_compare_records_are_refused():
    with pytest.raises(PlanError, match="depend on the other records of its batch"):
        computed(Part(lambda rows: rows - rows.mean(0)), images(5))


def test_an_error_of_features_names_them():
    with pytest.raises(DataError, match="the features 'own' raised RuntimeError"):
        computed(Part(lambda rows: rows @ torch.zeros(3, 3)), images(5))


def test_a_featured_model_goes_from_examples_to_outputs():
    given, head = images(3), nn.Linear(324, 2)
    model = FeaturedModel(Scattering().module((8, 8)), head)
    wanted = head(torch.from_numpy(computed(Scattering(), given)))
    torch.testing.assert_close(model(torch.from_numpy(given)), wanted, atol=1e-4, rtol=0)
