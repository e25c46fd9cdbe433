"""Our step rules are torch's optimisers, on parameters some of which get no gradient."""

import numpy as np
import pytest
import torch

from fedavg.local import LocalTraining
from fedavg.local_steps import step_rule

_THEIRS = {
    "sgd": lambda parts: torch.optim.SGD(parts, lr=0.03),
    "momentum": lambda parts: torch.optim.SGD(parts, lr=0.03, momentum=0.7),
    "adam": lambda parts: torch.optim.Adam(parts, lr=0.03),
}


@pytest.mark.parametrize("name", list(_THEIRS))
def test_steps_are_those_of_torch(name):
    rng = np.random.default_rng(0)
    begun = [torch.from_numpy(rng.normal(size=shape)) for shape in ((4, 3), (4,), (2, 2))]
    ours = [part.clone() for part in begun]
    theirs = [part.clone().requires_grad_() for part in begun]
    optimizer = _THEIRS[name](theirs)
    rule = step_rule(LocalTraining(optimizer=name, momentum=0.7), 0.03)
    for step in range(6):
        slopes = [torch.from_numpy(rng.normal(size=tuple(part.shape))) for part in begun]
        used = [None if step < 2 and i == 1 else g for i, g in enumerate(slopes)]
        for part, slope in zip(theirs, used, strict=True):
            part.grad = None if slope is None else slope.clone()
        optimizer.step()
        rule.step(ours, used)
    for mine, part, first in zip(ours, theirs, begun, strict=True):
        torch.testing.assert_close(mine, part.detach(), rtol=1e-12, atol=1e-12)
        assert not torch.equal(mine, first)
