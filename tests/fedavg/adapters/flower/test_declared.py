"""A run's config that states noise: it must be the agreed one, and misspelt keys are named."""

from __future__ import annotations

import pytest

from fedavg.adapters.flower.declared import mismatch
from tests.fedavg.adapters.exchange.parties import noisy, terms

NOISY = terms(records={"train": noisy()})


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"lr": 0.1},
        {"fedavgm-momentum": 0.9},
        {"fedavg-clip": 1.0},
        {"fedavg-clip": 1, "fedavg-noise": "gaussian", "fedavg-noise-multiplier": 2.0},
    ],
)
def test_configs_that_fit(config):
    assert not mismatch(config, NOISY)


@pytest.mark.parametrize(
    ("config", "agreed", "what"),
    [
        ({"fedavg-noise-multiplier": 2.0}, terms(), "the agreement has no noise"),
        ({"fedavg-noise-multiplier": 0.0}, NOISY, "the agreement says 2.0 for record 'train'"),
        ({"fedavg-clip": "1.0"}, NOISY, "states fedavg-clip='1.0', and the agreement says 1.0"),
        ({"fedavg-noise": "skellam"}, NOISY, "agreement says 'gaussian'"),
        ({"fedavg-epsilon": 3.0}, NOISY, "unknown key 'fedavg-epsilon'"),
        ({"fedavg-clipp": 1.0}, NOISY, "Do you mean 'fedavg-clip'?"),
        ({"fedavg_noise_multiplier": 2.0}, NOISY, "Do you mean 'fedavg-noise-multiplier'?"),
        ({"FedAvg-Noise": "gaussian"}, NOISY, "Do you mean 'fedavg-noise'?"),
    ],
)
def test_configs_that_do_not_fit_are_told_why(config, agreed, what):
    assert what in mismatch(config, agreed)
