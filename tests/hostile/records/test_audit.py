"""Audits of records by canary units: honest plans pass, and mutants without their defence are refuted (R12).

Each check of an audit refutes an honest plan with probability 1e-6 at most, by its own bounds: the p-value of
the guesses, which holds for every dependence among canaries, and the checks of the noise, which share 1e-6.
An audit makes two of them, and this file makes fewer than ten audits of honest mechanisms.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dp.audit import NoiseFault
from fedavg.audits import canaries as canaries_module
from fedavg.audits.records import RecordAudit, audit_records
from fedavg.data.dataset import Dataset
from fedavg.privacy.noise import DistributedGaussian
from fedavg.records.silo import SiloParty
from fedavg.robust.rules import MedianOfGroups
from fedavg.sums.masked import SecAgg
from tests.fedavg.records.small import plan

WIDTH, CLASSES = 400, 10  # 4,010 parameters


def _silos(count: int) -> dict[int, Dataset]:
    found = {}
    for silo in range(count):
        rng = np.random.default_rng(silo)
        labels = rng.integers(0, CLASSES, 50)
        found[10 + silo] = Dataset(rng.standard_normal((50, WIDTH)), labels)
    return found


def _audit(silos: int = 4, **changes) -> RecordAudit:
    """400 canaries, of which about half are units of one silo, each drawn with probability ½ in ten steps."""
    usual = {
        "secure_sum": SecAgg(dropout_rate=0.0),
        "steps": 10,
        "rate": 0.5,
        "max_units": 400,
        "epsilon": 6.0,
        "noise_multiplier": None,
        "micro_batch": 64,
    }
    return audit_records(nn.Linear(WIDTH, CLASSES), _silos(silos), plan(**usual | changes))


def _weaker(monkeypatch, factor: float) -> None:
    usual = DistributedGaussian.sample

    def sample(self, stddev, size):
        if not factor:
            return np.zeros(size, np.int64)
        return usual(self, stddev * factor, size)

    monkeypatch.setattr(DistributedGaussian, "sample", sample)


@pytest.mark.parametrize(
    ("silos", "changes"),
    [
        (4, {}),
        (4, {"unit": "record", "noise": "own"}),
        (4, {"rate": 1.0, "steps": 3}),
        (10, {"robust": MedianOfGroups(3)}),
    ],
)
def test_r12_an_honest_plan_is_consistent_with_its_claim(silos, changes):
    found = _audit(silos, **changes)
    assert not found.refutations, found.verdict
    assert 5.9 < found.budget <= 6.0
    assert found.epsilon_low < found.budget
    assert found.claimed.release < found.budget or changes.get("noise") == "own"
    assert found.noise.measured == pytest.approx(found.noise.stddev, rel=0.1)
    assert 0.99 < found.longest <= 1


def test_r12_mutant_without_noise_is_refuted_by_the_guesses_alone(monkeypatch):
    """The canaries show it, without a look at the noise: nearly all coins are guessed."""
    _weaker(monkeypatch, 0.0)
    found = _audit(epsilon=2.0)
    assert found.claim_p_value <= 1e-6
    assert found.correct > 0.95 * found.guesses
    assert found.epsilon_low > found.budget
    assert found.refutations[0].startswith("the attack was right")


def test_r12_mutant_with_half_of_the_noise_is_refuted(monkeypatch):
    _weaker(monkeypatch, 0.5)
    found = _audit()
    assert any(finding.fault is NoiseFault.WEAK for finding in found.noise.findings)
    assert found.verdict.startswith("REFUTED")
    assert found.noise.measured == pytest.approx(found.noise.stddev / 2, rel=0.1)


def test_r12_mutant_with_the_noise_for_other_sums_is_refuted(monkeypatch):
    """Groups of three whose shares are sized for nine silos: a quarter of the variance that is claimed."""

    def noised(self, vector, _roster):
        account = self._setting.resolution.account
        return vector + account.noise.sample(account.share_stddev(9), vector.size)

    monkeypatch.setattr(SiloParty, "_noised", noised)
    found = _audit(9, robust=MedianOfGroups(3))
    assert found.verdict.startswith("REFUTED")
    assert found.noise.measured == pytest.approx(found.noise.stddev / 2, rel=0.1)


def test_r12_an_honest_plan_with_a_moving_clip_is_not_refuted():
    """All canaries are longer than the clip, which grows; the noise of the balance is checked too."""
    found = _audit(clip_quantile=0.5)
    assert found.refutations == ()
    assert found.longest <= 1
    assert found.noise.measured == pytest.approx(found.noise.stddev, rel=0.1)


def test_r12_mutant_without_clipping_is_refuted(monkeypatch):
    monkeypatch.setattr(
        canaries_module,
        "clipped_sum",
        lambda gradients, drawn, _clip, **_: gradients[drawn].sum(0, dtype=torch.float64).numpy(),
    )
    found = _audit(epsilon=2.0)
    assert found.longest == pytest.approx(10.0, rel=1e-3)
    assert any("10 clips long" in text for text in found.refutations)
    assert found.claim_p_value <= 1e-6
