"""Local training in float64, with a bound on what rounding to float32 can do to it."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from fedavg.training.local.steps import Descent, forces

UNIT = 2.0**-24  # half the distance of float32 numbers next to 1


class Trajectory:
    """The autograd loop of one job in float64.

    Where the loss has no kink near the trajectory (`margin`), rounding moves the result about as far as
    random errors of its size do: `noise` adds them to every gradient and every parameter.

    Args:
        job: to be trained.
        noise: relative size of the errors, in units of float32's rounding; 0 for none.

    Attributes:
        update: float64[d].
        margin: how near the trajectory came to a kink: of a ReLU, of an l1 penalty, or of the loss.
    """

    def __init__(self, job, noise=0.0, seed=0):
        rng = torch.Generator().manual_seed(seed)
        model = copy.deepcopy(job.model)
        job.layout.load_vector(model, job.start)
        model = model.double()
        self._inputs, self.margin = [], np.inf
        for layer in _hidden(model):
            layer.register_forward_hook(lambda _m, _i, out: self._inputs.append(out.detach()))
        parameters = [part for part in model.parameters() if part.requires_grad]
        begun = [part.detach().clone() for part in parameters]
        split = lambda v: list(  # noqa: E731
            {name: part.double() for name, part in job.layout.unflatten(v).items()}.values()
        )
        descent = Descent(job.training, job.lr, begun, *forces(split, job))
        features = torch.from_numpy(job.dataset.features).double()
        labels = torch.from_numpy(job.dataset.labels)
        labels = labels.double() if labels.is_floating_point() else labels
        weights = None if job.weights is None else torch.from_numpy(job.weights).double()
        for batch in job.batches():
            rows = slice(None) if batch is None else batch
            outputs = model(features[rows])
            each = job.loss.each(outputs, labels[rows])
            loss = (each if weights is None else each * weights[rows]).mean()
            gradients = torch.autograd.grad(loss, parameters)
            self.margin = min(self.margin, self._kinks(job, outputs.detach(), labels[rows]))
            self._look(parameters, job.training.l1)
            with torch.no_grad():
                for part in (*gradients, *parameters):
                    scale = noise * UNIT * float(part.abs().max())
                    part.add_(torch.randn(part.shape, generator=rng, dtype=part.dtype), alpha=scale)
                descent.step(parameters, gradients)
        moved = [(part - old).flatten() for part, old in zip(parameters, begun, strict=True)]
        self.update = torch.cat(moved).detach().numpy()

    @staticmethod
    def _kinks(job, outputs, labels):
        """How near the outputs come to a kink of the loss: mae has one at 0, huber at delta."""
        places = {"mae": 0.0, "huber": getattr(job.loss, "delta", 0.0)}
        if job.loss.kind not in places:
            return np.inf
        return float(((outputs - labels).abs() - places[job.loss.kind]).abs().min())

    def _look(self, parameters, l1):
        near = [*self._inputs, *(parameters if l1 else [])]
        self.margin = min(self.margin, *(float(part.detach().abs().min()) for part in near), np.inf)
        self._inputs.clear()


def _hidden(model):
    """The layers whose outputs go through ReLU: all but the last."""
    layers = [part for part in model.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    return layers[:-1]


def tolerance(job, exact, terms):
    """How far float32 can end from `exact`: what errors of 2·terms roundings a step do, four times over.

    Args:
        job: to be trained.
        exact: its `Trajectory` without noise.
        terms: length of the longest sum in a step; a sum of k terms is off by at most k roundings.
    """
    spread = [
        Trajectory(job, noise=2.0 * terms, seed=seed).update - exact.update for seed in range(3)
    ]
    return 4 * max(float(np.abs(part).max()) for part in spread) + 4 * UNIT
