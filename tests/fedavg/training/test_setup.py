"""A module is copied before anything is done with it, and what stays at the clients is set apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedavg.errors import ConfigError, DataError
from fedavg.training.setup import set_apart, set_up


def test_the_callers_module_is_copied_and_not_run():
    class Untouchable(nn.Linear):
        def forward(self, inputs):
            raise AssertionError

    given = Untouchable(12, 3)
    model, layout, kept = set_up(given, ())
    assert (layout.size, kept) == (39, frozenset())
    assert isinstance(model, Untouchable)
    assert model is not given
    with torch.no_grad():
        model.weight.zero_()
    assert given.weight.any()


def test_what_stays_at_the_clients_is_set_apart_in_the_copy():
    given = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    model, layout, kept = set_up(given, ("1.*",))
    assert kept == {"1.weight", "1.bias"}
    assert layout.names == ("0.weight", "0.bias")
    assert not any(part.requires_grad for part in model[1].parameters())
    assert all(part.requires_grad for part in given.parameters())


@pytest.mark.parametrize(
    ("patterns", "said"),
    [(("2.*",), "no tensor is called"), (("*",), "nothing to average")],
)
def test_patterns_that_do_not_fit_are_refused(patterns, said):
    with pytest.raises(ConfigError, match=said):
        set_apart(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), patterns)


def test_a_frozen_parameter_cannot_stay_at_the_clients():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    model[1].requires_grad_(False)
    with pytest.raises(ConfigError, match=r"1.bias, 1.weight is frozen"):
        set_apart(model, ("1.*",))


def test_a_module_that_cannot_be_copied_is_refused():
    class Pinned(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("held by a handle")

    with pytest.raises(DataError, match=r"Pinned.*cannot be copied.*held by a handle"):
        set_up(Pinned(2, 2), ())


def test_a_module_that_begins_with_nan_is_refused():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.bias[0] = float("nan")
    with pytest.raises(DataError, match=r"'bias' holds NaN"):
        set_up(model, ())


def test_parameters_without_a_shape_or_with_a_hook_are_refused():
    """A copy has no hooks of its parameters: a mask of gradients would be left out in silence."""
    with pytest.raises(DataError, match="'0.weight' has no shape yet: pass one batch"):
        set_up(nn.Sequential(nn.LazyLinear(3)), ())
    masked = nn.Linear(4, 3)
    masked.weight.register_hook(lambda slope: slope * 0)
    with pytest.raises(DataError, match="'weight' has a hook.*write it into forward"):
        set_up(masked, ())
    masked = nn.Linear(4, 3)
    masked.bias.register_post_accumulate_grad_hook(lambda part: None)
    with pytest.raises(DataError, match="'bias' has a hook"):
        set_up(masked, ())
