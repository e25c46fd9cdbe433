"""Our step rules are torch's optimisers, on parameters some of which get no gradient."""

import math

import numpy as np
import pytest
import torch

from fedavg.optimizers.local import LocalTraining
from fedavg.training.local.steps import Descent

_OPTIMIZERS = {
    "sgd": (LocalTraining(), lambda parts: torch.optim.SGD(parts, lr=0.03)),
    "momentum": (
        LocalTraining(optimizer="momentum", momentum=0.7),
        lambda parts: torch.optim.SGD(parts, lr=0.03, momentum=0.7),
    ),
    "nesterov": (
        LocalTraining(optimizer="momentum", momentum=0.7, nesterov=True),
        lambda parts: torch.optim.SGD(parts, lr=0.03, momentum=0.7, nesterov=True),
    ),
    "adam": (
        LocalTraining(optimizer="adam"),
        lambda parts: torch.optim.Adam(parts, lr=0.03),
    ),
    "adam-betas": (
        LocalTraining(optimizer="adam", beta1=0.5, beta2=0.9),
        lambda parts: torch.optim.Adam(parts, lr=0.03, betas=(0.5, 0.9)),
    ),
    "adamw": (
        LocalTraining(optimizer="adamw"),
        lambda parts: torch.optim.AdamW(parts, lr=0.03),
    ),
    "adamw-decay": (
        LocalTraining(optimizer="adamw", weight_decay=0.4),
        lambda parts: torch.optim.AdamW(parts, lr=0.03, weight_decay=0.4),
    ),
    "adam-l2": (
        LocalTraining(optimizer="adam", l2=0.4),
        lambda parts: torch.optim.Adam(parts, lr=0.03, weight_decay=0.4),
    ),
    "sgd-decay": (  # without a memory the two kinds of weight decay are one
        LocalTraining(weight_decay=0.4),
        lambda parts: torch.optim.SGD(parts, lr=0.03, weight_decay=0.4),
    ),
}


def _parts(rng):
    return [torch.from_numpy(rng.normal(size=shape)) for shape in ((4, 3), (4,), (2, 2))]


def _both(training, theirs_of, steps=6, clip=None):
    rng = np.random.default_rng(0)
    begun = _parts(rng)
    ours = [part.clone() for part in begun]
    theirs = [part.clone().requires_grad_() for part in begun]
    optimizer, descent = theirs_of(theirs), Descent(training, 0.03)
    for step in range(steps):
        used = [None if step < 2 and i == 1 else g for i, g in enumerate(_parts(rng))]
        for part, slope in zip(theirs, used, strict=True):
            part.grad = None if slope is None else slope.clone()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(theirs, clip)
        optimizer.step()
        descent.step(ours, used)
    return begun, ours, [part.detach() for part in theirs]


@pytest.mark.parametrize("name", list(_OPTIMIZERS))
def test_steps_are_those_of_torch(name):
    for first, mine, part in zip(*_both(*_OPTIMIZERS[name]), strict=True):
        torch.testing.assert_close(mine, part, rtol=1e-12, atol=1e-12)
        assert not torch.equal(mine, first)


def test_decoupled_decay_is_not_a_penalty():
    """With a memory the two differ: the penalty enters the velocity, the decay does not."""
    decayed = LocalTraining(optimizer="momentum", weight_decay=0.4)
    theirs = lambda parts: torch.optim.SGD(parts, lr=0.03, momentum=0.9, weight_decay=0.4)  # noqa: E731
    _, ours, coupled = _both(decayed, theirs)
    assert not torch.allclose(ours[0], coupled[0], atol=1e-3)
    weight, velocity = torch.ones(1), torch.zeros(1)
    descent = Descent(decayed, 0.1)
    mine = [weight.clone()]
    for gradient in (1.0, -2.0, 0.5):
        descent.step(mine, [torch.tensor([gradient])])
        velocity = 0.9 * velocity + gradient
        weight = (1 - 0.1 * 0.4) * weight - 0.1 * velocity
    torch.testing.assert_close(mine[0], weight)


@pytest.mark.parametrize("clip", [0.5, 1.5, 100.0])
def test_clipping_is_by_the_norm_of_all_gradients(clip):
    """Torch divides by the norm + 1e-6, so to 1e-5."""
    training = LocalTraining(optimizer="adam", clip_gradient=clip)
    begun, ours, theirs = _both(training, _OPTIMIZERS["adam"][1], clip=clip)
    for mine, part in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, part, rtol=1e-5, atol=1e-6)
    plain = _both(LocalTraining(clip_gradient=clip), _OPTIMIZERS["sgd"][1], steps=1, clip=clip)
    moved = [(mine - first) / 0.03 for first, mine in zip(plain[0], plain[1], strict=True)]
    norm = math.sqrt(sum(float(part.square().sum()) for part in moved))
    assert norm <= clip * (1 + 1e-9)
    assert (norm == pytest.approx(clip, rel=1e-9)) == (clip < 100)
    assert len(begun) == 3


def test_penalties_come_before_the_clipping():
    """Gradient 3, l2 penalty 1·4: the whole is 7, clipped to 2."""
    weight = [torch.tensor([4.0])]
    Descent(LocalTraining(l2=1.0, clip_gradient=2.0), 0.5).step(weight, [torch.tensor([3.0])])
    assert weight[0].item() == pytest.approx(4.0 - 0.5 * 2.0)


def test_what_is_not_finite_stays_so():
    weight = [torch.tensor([4.0])]
    Descent(LocalTraining(clip_gradient=2.0), 0.5).step(weight, [torch.tensor([math.nan])])
    assert math.isnan(weight[0].item())
