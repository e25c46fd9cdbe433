"""Losses, which a client's steps minimise, as registered values of a plan.  Importing them loads no torch."""

from __future__ import annotations

from fedavg.losses.choice import loss_of
from fedavg.losses.classification import BinaryCrossEntropy, CrossEntropy, Focal
from fedavg.losses.imported import ImportedLoss
from fedavg.losses.interface import ClosedForm, Loss
from fedavg.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError, Poisson

__all__ = [
    "BinaryCrossEntropy",
    "ClosedForm",
    "CrossEntropy",
    "Focal",
    "Huber",
    "ImportedLoss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "loss_of",
]
