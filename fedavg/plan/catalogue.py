"""The parts that ship with the package; importing this module registers all of them by name."""

from __future__ import annotations

from fedavg.algorithms import error_feedback, random_k, scaffold
from fedavg.algorithms.blocks import layers, rolling
from fedavg.algorithms.personal import ditto, fedrep, finetune
from fedavg.contrib import masked_encrypted
from fedavg.contrib.selective import sum as selective
from fedavg.encoding import fixed_point, quantised
from fedavg.models.features import frozen, images
from fedavg.optimizers import server, wrapped
from fedavg.privacy import clipping, noise, sampling
from fedavg.robust import rules
from fedavg.sums import encrypted, masked, plain
from fedavg.sums.one_shot import part as one_shot

__all__ = ["OURS"]

OURS = (
    clipping,
    encrypted,
    error_feedback,
    fixed_point,
    frozen,
    images,
    layers,
    masked,
    masked_encrypted,
    noise,
    ditto,
    fedrep,
    finetune,
    one_shot,
    plain,
    quantised,
    random_k,
    rolling,
    rules,
    sampling,
    scaffold,
    selective,
    server,
    wrapped,
)
"""The modules that register parts."""
