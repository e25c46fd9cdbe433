"""Models by name, by import path, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.errors import ConfigError
from fedavg.models.zoo import FeedForward, build_model, count_parameters


def tiny(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), num_classes))


def wrong_signature():
    return nn.Linear(1, 1)


def no_module(input_shape, num_classes):
    return input_shape, num_classes


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("softmax", (196,), 1970),
        ("mlp", (8, 8), 64 * 64 + 64 + 640 + 10),
        ("2nn", (784,), 199_210),  # McMahan et al. 2017, §3
        ("cnn", (28, 28), 1_663_370),  # the same
    ],
)
def test_built_in_models_have_the_published_sizes_and_give_logits(name, shape, size):
    model = build_model(name, shape, 10, seed=0)
    assert count_parameters(model) == size
    assert model(torch.rand(3, *shape)).shape == (3, 10)


@pytest.mark.parametrize("name", ["mlp", "2nn", "cnn"])
def test_weights_are_a_function_of_the_seed_and_leave_torch_alone(name):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, same, other = (build_model(name, (784,), 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    weights = [next(model.parameters()) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_softmax_starts_at_zero():
    assert all(not part.any() for part in build_model("softmax", (4,), 3, seed=5).parameters())


def test_the_cnn_takes_28_by_28_only():
    for shape in ((784,), (28, 28), (1, 28, 28)):
        assert build_model("cnn", shape, 4, seed=0)(torch.rand(2, *shape)).shape == (2, 4)
    with pytest.raises(ConfigError, match="28×28"):
        build_model("cnn", (196,), 10, seed=0)


def test_an_import_path():
    model = build_model(f"{__name__}:tiny", (2, 3), 4, seed=0)
    assert count_parameters(model) == 28


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("sofmax", r"softmax, mlp, 2nn, cnn.*Do you mean 'softmax'\?"),
        ("linear", r"Do you mean 'softmax', which is linear: logistic regression for classes"),
        ("LogisticRegression", r"Do you mean 'softmax', which is linear"),
        ("neural_network", r"Do you mean 'mlp'\?"),
        ("resnet900", "there is no model"),
        ("no_such_package:f", "put no_such_package.py beside"),
        (f"{__name__}:missing", "has no 'missing'"),
        (":f", "is no import path"),
        ("os:sep", "not a function"),
        (f"{__name__}:wrong_signature", r"factory\(input_shape, outputs\).*TypeError"),
        (f"{__name__}:no_module", "gave a tuple"),
    ],
)
def test_what_gives_no_model(name, word):
    with pytest.raises(ConfigError, match=word):
        build_model(name, (4,), 2, seed=0)


@pytest.mark.parametrize(("shape", "classes"), [((), 2), ((0,), 2), ((4,), 0)])
def test_impossible_shapes(shape, classes):
    with pytest.raises(ConfigError, match="no model goes from"):
        build_model("softmax", shape, classes, seed=0)


def test_feed_forward_is_what_a_sequential_computes():
    model = FeedForward((5, 7, 3))
    first, last = model.dense()
    inputs = torch.rand(4, 5)
    expected = nn.Sequential(first, nn.ReLU(), last)(inputs)
    assert torch.equal(model(inputs), expected)


def test_frozen_parameters_do_not_count():
    model = FeedForward((5, 7, 3))
    for part in model.dense()[0].parameters():
        part.requires_grad_(False)
    assert count_parameters(model) == 24


def test_widths_of_the_mlp_can_be_chosen_and_others_keep_theirs():
    model = build_model("mlp", (10,), 2, seed=0, hidden=(64, 32))
    assert [layer.out_features for layer in model.dense()] == [64, 32, 2]
    for name in ("softmax", "2nn", "cnn", f"{__name__}:tiny"):
        with pytest.raises(ConfigError, match="has its own widths"):
            build_model(name, (784,), 2, seed=0, hidden=(8,))
    with pytest.raises(ConfigError, match="a hidden width must be at least 1"):
        build_model("mlp", (10,), 2, seed=0, hidden=(8, 0))
