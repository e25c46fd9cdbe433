"""Layouts: named tensors to one vector and back, what they refuse, and model files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedavg.errors import LocalProtocolError, PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model

SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@settings(deadline=None, max_examples=50)
@given(shapes=SHAPES, seed=st.integers(0, 99))
def test_unflatten_undoes_flatten(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    state = {f"t{i}": torch.randn(shape, generator=generator) for i, shape in enumerate(shapes)}
    layout = Layout.of(state)
    vector = layout.flatten(state)
    assert vector.dtype == np.float64
    assert vector.shape == (layout.size,)
    back = layout.unflatten(vector)
    assert list(back) == list(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("name", ["softmax", "2nn", "cnn"])
def test_a_model_takes_a_vector_and_gives_it_back(name):
    model = build_model(name, (784,), 10, seed=0)
    layout = Layout.of(model)
    vector = np.random.default_rng(0).normal(size=layout.size).astype(np.float32)
    layout.load_vector(model, vector)
    assert (layout.flatten(model) == vector).all()
    state = layout.unflatten(vector)
    assert all(torch.equal(part, state[key]) for key, part in model.named_parameters())


def test_flatten_and_unflatten_copy():
    model = build_model("mlp", (4,), 2, seed=0)
    layout = Layout.of(model)
    vector = layout.flatten(model)
    before = vector.copy()
    layout.unflatten(vector)["layers.0.weight"].fill_(9)
    layout.load_vector(model, vector * 2)
    vector[:] = 0
    assert (layout.flatten(model) == before.astype(np.float32) * 2).all()


def test_read_only_vectors_are_fine():
    model = nn.Linear(2, 1)
    layout = Layout.of(model)
    received = np.frombuffer(np.arange(3, dtype="<f4").tobytes(), "<f4")
    layout.load_vector(model, received)
    assert layout.flatten(model).tolist() == [0, 1, 2]


def test_frozen_parameters_stay_out():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    assert Layout.of(model).names == ("1.weight", "1.bias")


def test_tied_parameters_count_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert Layout.of(model).size == 9 + 3 + 3


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4)])
def test_buffers_stay_out(norm):
    assert Layout.of(nn.Sequential(nn.Linear(4, 4), norm)).size == 28


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_only_floating_point_is_averaged(dtype):
    with pytest.raises(PlanError, match="count holds torch"):
        Layout.of({"weight": torch.zeros(2), "count": torch.zeros(1, dtype=dtype)})


def test_half_precision_goes_through_float64():
    model = nn.Linear(2, 2).half()
    layout = Layout.of(model)
    vector = layout.flatten(model)
    layout.load_vector(model, vector)
    assert (layout.flatten(model) == vector).all()


def test_nothing_to_train():
    with pytest.raises(PlanError, match="nothing to train"):
        Layout.of(nn.ReLU())
    with pytest.raises(PlanError, match="one shape for each name"):
        Layout(("a", "a"), ((1,), (2,)))


def test_a_misfit_changes_nothing():
    model = nn.Linear(2, 1)
    layout, before = Layout.of(model), Layout.of(model).flatten(model)
    for wrong in (np.zeros(2), np.zeros(4), np.zeros((3, 1))):
        with pytest.raises(LocalProtocolError, match="does not fill 3 parameters"):
            layout.load_vector(model, wrong)
    assert (layout.flatten(model) == before).all()
    with pytest.raises(LocalProtocolError, match="'bias' is missing"):
        layout.flatten(nn.Linear(2, 1, bias=False))
    with pytest.raises(LocalProtocolError, match="'weight' has shape"):
        layout.load_vector(nn.Linear(3, 1), np.zeros(3))
