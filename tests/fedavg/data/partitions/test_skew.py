"""Feature skew: each client's own change, by a public seed, and labels as they were."""

import numpy as np
import pytest

from fedavg.data.dataset import Dataset
from fedavg.data.partitions.skew import skew_features
from fedavg.errors import DataError


def _clients(count=5, shape=(6, 16)):
    rng = np.random.default_rng(0)
    return {10 * i: Dataset(rng.random(shape), np.arange(shape[0])) for i in range(count)}


@pytest.mark.parametrize("kind", ["affine", "rotation", "noise"])
def test_a_skew_is_a_function_of_its_seed_and_leaves_labels_and_input_alone(kind):
    clients = _clients()
    before = {i: data.features.copy() for i, data in clients.items()}
    one, same, other = (skew_features(clients, kind, strength=0.4, seed=s) for s in (1, 1, 2))
    assert list(one) == list(clients)
    assert all((clients[i].features == before[i]).all() for i in clients)
    assert all((one[i].labels == clients[i].labels).all() for i in clients)
    assert all((one[i].features == same[i].features).all() for i in clients)
    assert any((one[i].features != other[i].features).any() for i in clients)


@pytest.mark.parametrize(("kind", "strength"), [("none", 3.0), ("affine", 0.0), ("noise", 0.0)])
def test_no_skew_changes_nothing(kind, strength):
    clients = _clients()
    assert skew_features(clients, kind, strength=strength, seed=0) == clients


def test_affine_is_one_gain_and_one_offset_a_client():
    clients = _clients()
    skewed = skew_features(clients, "affine", strength=0.3, seed=4)
    lines = []
    for i, data in clients.items():
        x, y = data.features.ravel().astype(float), skewed[i].features.ravel().astype(float)
        gain, offset = np.polyfit(x, y, 1)
        np.testing.assert_allclose(y, gain * x + offset, atol=1e-5)
        assert gain > 0
        lines.append((round(gain, 6), round(offset, 6)))
    assert len(set(lines)) == len(clients)


def test_noise_grows_from_none_to_its_strength():
    """Standard deviation of 40,000 draws within 3 % of its value: 8.5 sigma, false alarm < 1e-16."""
    clients = {i: Dataset(np.zeros((200, 200)), np.zeros(200, int)) for i in range(3)}
    skewed = skew_features(clients, "noise", strength=2.0, seed=0)
    spreads = [skewed[i].features.std() for i in range(3)]
    assert spreads[0] == 0
    np.testing.assert_allclose(spreads[1:], [1.0, 2.0], rtol=0.03)


def test_rotation_turns_each_client_by_one_angle_and_keeps_the_centre():
    image = np.zeros((2, 9, 9))
    image[:, 4, 4] = 1.0
    image[:, 4, 8] = 1.0
    labels = np.zeros(2, int)
    flat = {0: Dataset(image.reshape(2, 81), labels), 1: Dataset(image.reshape(2, 81), labels)}
    square = {i: Dataset(image, labels) for i in flat}
    turned = skew_features(flat, "rotation", strength=1.0, seed=3)
    np.testing.assert_allclose(turned[0].features[:, 40], 1.0, atol=1e-6)
    assert (turned[0].features[0] == turned[0].features[1]).all()
    assert (turned[0].features != turned[1].features).any()
    again = skew_features(square, "rotation", strength=1.0, seed=3)
    assert again[1].features.shape == (2, 9, 9)
    assert (again[1].features.reshape(2, 81) == turned[1].features).all()


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_is_a_size(strength):
    with pytest.raises(DataError, match="strength"):
        skew_features(_clients(), "affine", strength=strength, seed=0)


def test_what_cannot_be_rotated():
    with pytest.raises(DataError, match="no square images"):
        skew_features(_clients(shape=(3, 7)), "rotation", strength=0.5, seed=0)
    with pytest.raises(DataError, match="at most 1"):
        skew_features(_clients(), "rotation", strength=1.5, seed=0)
