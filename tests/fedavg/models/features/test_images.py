"""The part `Scattering`: shapes, and refusals in the words of its user."""

from __future__ import annotations

import pytest

from fedavg.errors import PlanError
from fedavg.models.features.images import Scattering


@pytest.mark.parametrize(
    ("shape", "length"),
    [((28, 28), 3969), ((784,), 3969), ((1, 28, 28), 3969), ((3, 32, 32), 15552), ((14, 14), 729)],
)
def test_lengths_follow_from_shapes(shape, length):
    assert Scattering().shape(shape) == (length,)


@pytest.mark.parametrize(
    ("part", "shape", "said"),
    [
        (Scattering(), (30,), "an example of shape 30 is none: give images as"),
        (Scattering(), (9, 28, 28), "9×28×28 is none"),
        (Scattering(), (3, 28, 28, 2), "is none"),
        (Scattering(), (4, 28), "needs images of more than 4×4 pixels"),
        (Scattering(scales=5), (28, 28), "take fewer scales"),
        (
            Scattering(scales=1),
            (28, 28),
            "groups=27 does not divide the 9 maps .* take 1 or 3 or 9",
        ),
    ],
)
def test_examples_that_do_not_fit_are_refused_with_their_shape(part, shape, said):
    for asked in (part.shape, part.module):
        with pytest.raises(PlanError, match=said):
            asked(shape)


@pytest.mark.parametrize("wrong", [{"scales": 0}, {"angles": 1}, {"groups": 0}, {"scales": True}])
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(PlanError, match=next(iter(wrong))):
        Scattering(**wrong)
