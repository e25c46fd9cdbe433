"""Losses are torch's, their closed forms are autograd's, and every door leads to the same value."""

from __future__ import annotations

import math
import sys

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fedavg.errors import ConfigError, DataError, PlanError
from fedavg.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    Huber,
    ImportedLoss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    loss_of,
)
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import Part, register

WEIGHTS = (0.5, 2.0, 1.0)


def _focal(outputs, labels):
    """Lin et al. 2017, eq. 4, from the probabilities themselves."""
    true = outputs.softmax(1)[torch.arange(len(labels)), labels]
    return -((1 - true) ** 1.5) * true.log()


CASES = {
    "cross-entropy": (
        CrossEntropy(),
        "classes",
        lambda o, y: functional.cross_entropy(o, y, reduction="none"),
    ),
    "smoothed": (
        CrossEntropy(label_smoothing=0.2),
        "classes",
        lambda o, y: functional.cross_entropy(o, y, reduction="none", label_smoothing=0.2),
    ),
    "focal": (Focal(1.5), "classes", _focal),
    "focal without focus": (
        Focal(0.0),
        "classes",
        lambda o, y: functional.cross_entropy(o, y, reduction="none"),
    ),
    "bce": (
        BinaryCrossEntropy(),
        "multi-label",
        lambda o, y: functional.binary_cross_entropy_with_logits(o, y.to(o), reduction="none").mean(
            1
        ),
    ),
    "weighted bce": (
        BinaryCrossEntropy(WEIGHTS),
        "multi-label",
        lambda o, y: functional.binary_cross_entropy_with_logits(
            o, y.to(o), reduction="none", pos_weight=torch.tensor(WEIGHTS, dtype=o.dtype)
        ).mean(1),
    ),
    "mse": (
        MeanSquaredError(),
        "numbers",
        lambda o, y: functional.mse_loss(o, y, reduction="none").mean(1),
    ),
    "mae": (
        MeanAbsoluteError(),
        "numbers",
        lambda o, y: functional.l1_loss(o, y, reduction="none").mean(1),
    ),
    "huber": (
        Huber(0.7),
        "numbers",
        lambda o, y: functional.huber_loss(o, y, reduction="none", delta=0.7).mean(1),
    ),
    "poisson": (
        Poisson(),
        "numbers",
        lambda o, y: functional.poisson_nll_loss(o, y, reduction="none").mean(1),
    ),
}


def _examples(kind, count, seed, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(count, 3, generator=rng, dtype=dtype)
    if kind == "classes":
        return outputs, torch.randint(0, 3, (count,), generator=rng)
    if kind == "multi-label":
        return outputs, torch.randint(0, 2, (count, 3), generator=rng, dtype=torch.int8)
    return outputs, torch.randn(count, 3, generator=rng, dtype=dtype).abs()


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 9), seed=st.integers(0, 999))
def test_each_example_has_torchs_loss_and_autograds_slope(name, count, seed):
    """In float64: a wrong sign, factor or mean over outputs is off by far more than 1e-9."""
    loss, kind, theirs = CASES[name]
    outputs, labels = _examples(kind, count, seed)
    outputs.requires_grad_()
    each = loss.each(outputs, labels)
    assert each.shape == (count,)
    torch.testing.assert_close(each, theirs(outputs, labels), rtol=1e-9, atol=1e-9)
    (expected,) = torch.autograd.grad(each.sum(), outputs)
    form = loss.closed_form
    wanted = form.wanted(labels, 3)
    assert wanted.dtype == torch.float32
    found = form.slope(outputs.detach().clone(), wanted.double())
    if kind == "numbers":  # float32 labels round
        wanted = labels
        found = form.slope(outputs.detach().clone(), labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(2.0), Focal(0.5), BinaryCrossEntropy()])
def test_losses_of_logits_that_are_huge_stay_finite(loss):
    outputs = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    multi = isinstance(loss, BinaryCrossEntropy)
    labels = torch.tensor([[1, 0], [1, 0]], dtype=torch.int8) if multi else torch.tensor([0, 0])
    each = loss.each(outputs, labels)
    (slope,) = torch.autograd.grad(each.sum(), outputs)
    by_hand = loss.slope(outputs.detach().clone(), loss.wanted(labels, 2))
    for values in (each, slope, by_hand):
        assert torch.isfinite(values).all()
    assert each[0].item() == pytest.approx(0, abs=1e-6)
    assert each[1].item() > 100


def test_weights_of_classes_are_weights_of_examples():
    """Torch divides by the sum of the weights, here the mean is over the examples: Σ wᵢ·ℓᵢ ÷ n."""
    loss = CrossEntropy(class_weights=WEIGHTS)
    outputs, labels = _examples("classes", 7, 1)
    weights = torch.from_numpy(loss.label_weights(labels.numpy())).double()
    ours = (loss.each(outputs, labels) * weights).sum()
    theirs = functional.cross_entropy(
        outputs, labels, weight=torch.tensor(WEIGHTS, dtype=torch.float64), reduction="sum"
    )
    torch.testing.assert_close(ours, theirs)
    assert CrossEntropy().label_weights(labels.numpy()) is None


@pytest.mark.parametrize(
    ("loss", "labels", "outputs", "said"),
    [
        (CrossEntropy(), np.array([0, 10**9]), 3, r"label 1000000000.*3 outputs.*0 … 2"),
        (CrossEntropy(), np.array([0, 1]), 1, r"an output for every class, or .*'bce'"),
        (CrossEntropy(class_weights=(1.0, 2.0)), np.array([0]), 3, "2 weights.*3 outputs"),
        (Focal(), np.array([3]), 3, "label 3"),
        (BinaryCrossEntropy(), np.array([0, 2]), 1, "label 2.*classes 0 and 1"),
        (BinaryCrossEntropy(), np.zeros((2, 4), np.int8), 3, "are 4 labels.*3"),
        (BinaryCrossEntropy((1.0, 2.0)), np.zeros((2, 3), np.int8), 3, "2 weights for 3 labels"),
        (MeanSquaredError(), np.zeros((2, 1), np.float32), 3, "model with 1 outputs"),
        (Poisson(), np.array([[-1.0]], np.float32), 1, "label -1"),
    ],
)
def test_labels_that_the_loss_is_not_defined_for_are_refused(loss, labels, outputs, said):
    with pytest.raises(DataError, match=said):
        loss.check(labels, outputs)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CrossEntropy(class_weights=(1.0, -1.0)), "class_weights"),
        (lambda: CrossEntropy(class_weights=(0.0, 0.0)), "class_weights"),
        (lambda: CrossEntropy(class_weights=(math.nan, 1.0)), "class_weights"),
        (lambda: CrossEntropy(label_smoothing=1.0), "label_smoothing"),
        (lambda: Focal(-1.0), "gamma"),
        (lambda: Huber(0.0), "delta"),
        (lambda: Huber(math.inf), "delta"),
        (lambda: ImportedLoss("no path"), "import path"),
        (lambda: Huber("wide"), "delta"),
    ],
)
def test_fields_out_of_range_are_named(make, said):
    with pytest.raises((ConfigError, PlanError), match=said):
        make()


def squared(outputs, labels):
    return (outputs - labels).square().sum(1)


def averaged(outputs, labels):
    return (outputs - labels).square().mean()


@register("loss")
class Cubed(Part, frozen=True, tag="cubed-of-the-test"):
    """A stranger's loss."""

    power: int = 3
    targets = frozenset({"numbers"})


def test_every_door_leads_to_the_same_value():
    here = f"{__name__}:squared"
    assert loss_of(squared) == loss_of(here) == ImportedLoss(here)
    assert loss_of("huber") == loss_of({"kind": "huber"}) == loss_of(Huber()) == Huber(1.0)
    assert loss_of({"kind": "cubed-of-the-test", "power": 5}) == Cubed(5)
    training = LocalTraining(loss={"kind": "huber", "delta": 2})
    assert training.loss == Huber(2.0)
    wire = msgspec.msgpack.encode(LocalTraining(loss=here))
    assert msgspec.msgpack.decode(wire, type=LocalTraining) == LocalTraining(loss=squared)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hubr", "no 'hubr'.*Do you mean 'huber'"),
        ({"kind": "huber", "dleta": 1}, "dleta"),
        ({"kind": "none of them"}, "none of them"),
        (lambda outputs, labels: outputs, "no import path"),
        (3, "no import path"),
    ],
)
def test_what_is_no_loss_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        LocalTraining(loss=given)


def test_an_imported_loss_gives_one_number_an_example():
    outputs, labels = _examples("numbers", 4, 0)
    loss = loss_of(squared)
    torch.testing.assert_close(loss.each(outputs, labels), squared(outputs, labels))
    with pytest.raises(DataError, match=r"shape \[\] for 4 examples.*reduction='none'"):
        loss_of(averaged).each(outputs, labels)
    with pytest.raises(ConfigError, match="cannot be imported"):
        ImportedLoss("fedavg.losses:nowhere").each(outputs, labels)


@pytest.mark.parametrize(
    ("link", "target", "expected"),
    [
        ("auto", "classes", [0.5, 0.5]),
        ("auto", "numbers", [0.0, 0.0]),
        ("auto", "multi-label", [0.5, 0.5]),
        ("exp", "numbers", [1.0, 1.0]),
    ],
)
def test_the_link_of_an_imported_loss(link, target, expected):
    loss = ImportedLoss(f"{__name__}:squared", link)
    assert loss.predictions(torch.zeros(1, 2), target)[0].tolist() == expected


def test_losses_load_no_torch():
    import subprocess

    names = "fedavg.losses, fedavg.metrics, fedavg.optimizers.custom"
    code = f"import sys, {names}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
