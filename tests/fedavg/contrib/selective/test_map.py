"""Maps of sensitive coordinates: the choice, its bounds, and scores that come together privately."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fedavg.contrib.selective.map import SensitivityMap
from fedavg.data.dataset import Dataset
from fedavg.errors import DataError, NonFiniteError, PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from fedavg.training.sensitivity import gradient_times_weight, label_sensitivity


@given(
    scores=st.lists(st.integers(0, 50), min_size=2, max_size=60),
    share=st.floats(0.01, 0.95),
)
@settings(max_examples=80, deadline=None)
def test_the_chosen_have_the_largest_scores(scores, share):
    vector = np.array(scores, dtype=np.float64)
    count = int(np.ceil(share * vector.size))
    if count == vector.size:
        with pytest.raises(PlanError, match="and not others"):
            SensitivityMap.from_scores(vector, share)
        return
    chosen = SensitivityMap.from_scores(vector, share)
    assert chosen.count == chosen.mask.sum() == count
    assert vector[chosen.mask].min() >= vector[~chosen.mask].max()
    assert chosen.exposed == pytest.approx(1 - count / vector.size)
    if vector.any():
        assert chosen.covered == pytest.approx(vector[chosen.mask].sum() / vector.sum())
    else:
        assert chosen.covered is None


def test_equal_scores_are_chosen_in_order():
    assert SensitivityMap.from_scores(np.ones(5), 0.4).mask.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_shares_that_choose_nothing_or_everything(share):
    with pytest.raises(PlanError, match="between 0 and 1"):
        SensitivityMap.from_scores(np.arange(10.0), share)
    with pytest.raises(PlanError, match="between 0 and 1"):
        SensitivityMap.random(10, share, seed=0)


def test_bad_scores():
    with pytest.raises(NonFiniteError):
        SensitivityMap.from_scores(np.array([1.0, np.nan, 2.0]), 0.5)
    with pytest.raises(PlanError, match="negative"):
        SensitivityMap.from_scores(np.array([1.0, -1.0, 2.0]), 0.5)
    with pytest.raises(PlanError, match="expected 3 scores"):
        SensitivityMap.from_scores(np.arange(3.0), 0.5).coverage(np.ones(4))


@pytest.mark.parametrize(
    ("length", "packed"),
    [(1, b"\x80"), (10, b"\xff"), (10, b"\x00\x00"), (10, b"\xff\xc0"), (10, b"\xf0\x01")],
    ids=["one coordinate", "too few bits", "nothing", "everything", "a bit of padding"],
)
def test_bits_that_are_no_map(length, packed):
    with pytest.raises(PlanError):
        SensitivityMap(length, packed, "public")


def test_other_fields_that_are_refused():
    with pytest.raises(PlanError, match="source"):
        SensitivityMap(8, b"\xf0", "a friend")
    with pytest.raises(PlanError, match="share"):
        SensitivityMap(8, b"\xf0", "public", 1.5)


def test_maps_that_differ_print_differently():
    """Plans are compared by what they print; two choices of one size must not be taken for each other."""
    one, two = SensitivityMap(16, b"\xf0\x00", "public"), SensitivityMap(16, b"\x0f\x00", "public")
    assert repr(one) != repr(two)
    assert len(repr(SensitivityMap.random(10**6, 0.5, seed=1))) < 200


def test_random_maps_follow_their_seed():
    maps = [SensitivityMap.random(100, 0.2, seed=seed) for seed in (1, 1, 2)]
    assert maps[0] == maps[1] != maps[2]
    assert maps[0].count == 20


def test_clients_scores_come_together_and_have_one_voice_each():
    """A client whose scores are 1000 times as large counts no more than another."""
    rng = np.random.default_rng(0)
    scores = {i: rng.exponential(size=40) for i in range(6)}
    chosen = SensitivityMap.from_clients(scores, 0.25, SecAgg())
    loud = {i: s * (1000.0 if i == 3 else 1.0) for i, s in scores.items()}
    assert SensitivityMap.from_clients(loud, 0.25, SecAgg()).packed == chosen.packed
    expected = sum(s / s.max() for s in scores.values())
    assert chosen.packed == SensitivityMap.from_scores(expected, 0.25).packed
    assert chosen.source == "clients"
    assert chosen.covered == pytest.approx(expected[chosen.mask].sum() / expected.sum(), abs=1e-4)


def test_clients_scores_never_go_in_the_clear():
    scores = {i: np.arange(4.0) for i in range(4)}
    with pytest.raises(PlanError, match="hides updates"):
        SensitivityMap.from_clients(scores, 0.5, InsecurePlain())


def test_fewer_clients_than_the_sum_needs_are_not_asked():
    with pytest.raises(PlanError, match="scores of 2 clients"):
        SensitivityMap.from_clients({i: np.arange(4.0) for i in range(2)}, 0.5, SecAgg())


def test_a_client_without_any_score_and_one_with_nan():
    scores = {i: np.arange(4.0) for i in range(4)} | {4: np.zeros(4)}
    assert SensitivityMap.from_clients(scores, 0.25, SecAgg()).mask.tolist() == [0, 0, 0, 1]
    with pytest.raises(NonFiniteError):
        SensitivityMap.from_clients(scores | {5: np.full(4, np.nan)}, 0.25, SecAgg())


def small():
    rng = np.random.default_rng(3)
    data = Dataset(rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 3, 7))
    return build_model("mlp", (5,), 3, seed=1), data


def test_label_sensitivity_is_the_derivative_of_gradients_by_labels():
    """Against differences of gradients at soft labels, by double precision autograd."""
    model, data = small()
    model = model.double()
    layout = Layout.of(model)
    features = torch.from_numpy(data.features).double()
    expected = np.zeros(layout.size)
    for example in features:
        for c in range(3):
            gradients = []
            for step in (0.0, 1.0):  # the loss is linear in y: any step gives the derivative
                label = torch.full((1, 3), 0.2, dtype=torch.float64)
                label[0, c] += step
                loss = -(label * functional.log_softmax(model(example[None]), dim=1)).sum()
                parts = torch.autograd.grad(loss, list(model.parameters()))
                names = [name for name, _ in model.named_parameters()]
                gradients.append(layout.flatten(dict(zip(names, parts, strict=True))))
            expected += np.abs(gradients[1] - gradients[0])
    model, data = small()
    assert label_sensitivity(model, data) == pytest.approx(expected / 7, rel=1e-4, abs=1e-6)


def test_pixels_that_are_always_dark_are_worth_nothing():
    model = build_model("softmax", (4,), 3, seed=0)
    features = np.array([[1, 0, 2, 0], [3, 0, 1, 0]], np.float32)
    scores = label_sensitivity(model, Dataset(features, np.array([0, 2])))
    weight = scores[: 3 * 4].reshape(3, 4)
    assert not weight[:, [1, 3]].any()
    assert (weight[:, [0, 2]] > 0).all()


def test_gradient_times_weight():
    model, data = small()
    scores = gradient_times_weight(model, data)
    loss = functional.cross_entropy(
        model(torch.from_numpy(data.features)), torch.from_numpy(data.labels)
    )
    loss.backward()
    expected = np.concatenate(
        [(p.grad * p).abs().detach().numpy().ravel() for p in model.parameters()]
    )
    assert scores == pytest.approx(expected, rel=1e-5, abs=1e-9)
    zero = build_model("softmax", (5,), 3, seed=1)
    assert not gradient_times_weight(zero, data).any()


def test_frozen_parameters_have_no_score():
    model, data = small()
    first = next(model.parameters())
    first.requires_grad_(False)
    assert label_sensitivity(model, data).size == Layout.of(model).size


def test_examples_are_needed():
    model, data = small()
    with pytest.raises(DataError, match="at least one"):
        label_sensitivity(model, data, max_examples=0)
    assert not np.array_equal(
        label_sensitivity(model, data, max_examples=1), label_sensitivity(model, data)
    )
