"""R13: a clip that follows the median moves nothing but what the noise is made for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedavg.data.dataset import Dataset
from fedavg.records.clip import MedianClip
from tests.fedavg.records.small import federation, records, silos, softmax

QUANTILE = {"clip_quantile": 0.5, "clip_noise": 0.2}


def _far(count: int, seed: int) -> Dataset:
    """Records with long gradients: each is shortened to the clip, and counts as longer."""
    data = records(count, seed)
    return Dataset(data.features * 50, (data.labels + 1) % 3)


def _moved(more: Dataset, fewer: Dataset, clip: float, **changes) -> float:
    """Norm of the difference of two neighbouring silos' integers ÷ the claimed sensitivity, at rate 1."""
    vectors = []
    for data in (more, fewer):
        run = federation(
            silos() | {10: data}, model=softmax(), rate=1.0, clip=1.0, micro_batch=50, **changes
        )
        silo = run._parties.silos[10]
        silo._last = (0, 0)
        vectors.append(silo._drawn_sum(run.released, clip))
    return float(np.linalg.norm(vectors[0] - vectors[1])) / run.resolution.sensitivity.l2


CLIPS = (0.01, 1.0, 100.0)  # the bounds of the clip, and its start: the server says which


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("data", [records(40, 1), _far(40, 1)], ids=["near", "far"])
def test_r13_one_unit_moves_gradient_and_balance_together_by_at_most_the_sensitivity(clip, data):
    for left_out in range(6):
        fewer = data.subset(np.delete(np.arange(40), left_out))
        assert _moved(data, fewer, clip, **QUANTILE) <= 1


def test_r13_the_bound_is_attained():
    data = _far(40, 1)
    assert _moved(data, data.subset(np.arange(39)), 0.01, **QUANTILE) > 0.99


@pytest.mark.parametrize("clip", CLIPS)
def test_r13_a_replaced_unit_moves_them_by_at_most_twice_the_sensitivity(clip):
    data = _far(40, 1)
    other = Dataset(
        np.concatenate([data.features[:39], np.zeros((1, 5))]),
        np.concatenate([data.labels[:39], [0]]),
    )
    assert _moved(data, other, clip, **QUANTILE) <= 2


def test_r13_mutant_with_the_balance_left_out_of_the_sensitivity_is_passed(monkeypatch):
    monkeypatch.setattr(MedianClip, "unit_length", property(lambda rule: rule.gradient_length))
    data = _far(40, 1)
    assert _moved(data, data.subset(np.arange(39)), 0.01, **QUANTILE) > 1.1


def test_r13_mutant_that_rounds_gradients_of_their_own_length_moves_more_at_a_larger_clip(
    monkeypatch,
):
    """A grid that is not in units of the clip: a server that says a larger clip gets less noise."""

    def vector(rule, total, _clip):
        return np.append(total[:-1] / rule.start, total[-1] * rule.weight)

    monkeypatch.setattr(MedianClip, "vector", vector)
    data = _far(40, 1)
    assert _moved(data, data.subset(np.arange(39)), 100.0, **QUANTILE) > 10


def test_r13_the_noise_is_made_for_both(monkeypatch):
    """The share of the noise is z times the joint sensitivity, at every clip; d and C do not matter."""
    run = federation(clip=0.3, noise_multiplier=2.0, **QUANTILE)
    found = run.resolution
    counted = found.account.counted(4)
    variance = found.account.share_variance(4) * counted - found.account.noise.held_back
    joint = math.hypot(1, found.clipping.weight / 2) * found.scale
    assert math.sqrt(variance) >= 2.0 * joint
    assert math.sqrt(variance) == pytest.approx(2.0 * joint, rel=2e-3)
