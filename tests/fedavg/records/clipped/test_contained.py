"""A unit whose gradient cannot be computed counts as zero, and changes nothing for the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.records.clipped import contained
from fedavg.records.clipped.contained import contained_sum
from fedavg.records.clipped.gradients import UnitGradients
from tests.fedavg.records.small import units_of
from tests.hostile.mutants import without

CLIP, COUNT = 0.5, 12


class Coded(nn.Module):
    """Looks up the first feature in a table of ten, and raises for every other code."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 3)
        with torch.no_grad():
            self.table.weight.copy_(torch.linspace(-1, 1, 30).reshape(10, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.table(rows[:, 0].long())


def gradients() -> tuple[UnitGradients, int]:
    model = Coded()
    layout = Layout.of(model)
    own = UnitGradients(model, layout, CrossEntropy())
    own.at(layout.flatten(model))
    return own, layout.size


def units(*, bad: tuple[int, ...] = (), drawn: np.ndarray | None = None):
    codes = np.arange(COUNT, dtype=float) % 10
    codes[list(bad)] = 77.0
    labels = np.arange(COUNT, dtype=np.int64)[:, None] % 3
    return units_of(codes[:, None, None], labels, np.ones((COUNT, 1)), drawn)


def test_sums_without_failures_are_those_of_the_gradients():
    own, length = gradients()
    found, error = contained_sum(own, units(), CLIP, length)
    assert error is None
    assert np.array_equal(found, own.clipped_sum(units(), CLIP))


@pytest.mark.parametrize("bad", [(3,), (0, 11), tuple(range(COUNT))])
def test_a_failing_unit_counts_as_zero_and_the_others_as_before(bad):
    own, length = gradients()
    found, error = contained_sum(own, units(bad=bad), CLIP, length)
    rest = np.ones(COUNT, bool)
    rest[list(bad)] = False
    assert isinstance(error, IndexError)
    assert np.allclose(found, own.clipped_sum(units(drawn=rest), CLIP), rtol=0, atol=1e-7)


def test_a_failing_unit_that_was_not_drawn_changes_nothing():
    own, length = gradients()
    drawn = np.arange(COUNT) != 5
    found, _ = contained_sum(own, units(bad=(5,), drawn=drawn), CLIP, length)
    assert np.allclose(found, own.clipped_sum(units(drawn=drawn), CLIP), rtol=0, atol=1e-7)


def moved(own: UnitGradients, length: int) -> float:
    """How far a failing unit moves the sum of eleven others."""
    rest = np.arange(COUNT) != 3
    with_it, _ = contained.contained_sum(own, units(bad=(3,)), CLIP, length)
    without_it, _ = contained.contained_sum(own, units(drawn=rest), CLIP, length)
    return float(np.linalg.norm(with_it - without_it))


def test_a_unit_moves_the_sum_by_its_clip_at_most_even_if_it_fails(monkeypatch):
    """Mutant: the whole micro-batch is given up, so that one unit moves the sum by all the others."""
    own, length = gradients()
    assert moved(own, length) <= CLIP
    without(monkeypatch, contained, "contained_sum", "range(len(units.drawn))", "()")
    assert moved(own, length) > CLIP


def test_places_of_units_do_not_matter():
    """A unit alone in a micro-batch has the gradient that it has beside others."""
    own, length = gradients()
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    given = units(bad=(7,))
    turned = replace(
        given,
        features=given.features[order],
        labels=given.labels[order],
        weights=given.weights[order],
        drawn=given.drawn[order],
    )
    one, _ = contained_sum(own, given, CLIP, length)
    other, _ = contained_sum(own, turned, CLIP, length)
    assert np.allclose(one, other, rtol=0, atol=1e-7)
