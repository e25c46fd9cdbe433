"""R1, R5, R6, R8: what one unit may do to a sum, and what would let it do more."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr
from scipy.stats import norm
from torch import nn

from dp import gaussian_epsilon
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import CapacityError, PlanError
from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.records import table
from fedavg.records.clipped import modules
from fedavg.records.clipped.gradients import UnitGradients
from fedavg.records.clipped.layers import LayeredGradients
from fedavg.records.clipped.modules import check_independent
from fedavg.records.privacy import RecordPrivacy
from fedavg.records.silo import rounded
from fedavg.records.table import Silo, UnitTable
from tests.fedavg.records.small import federation, privacy, records, silos, softmax, units_of
from tests.hostile.mutants import FOUND, without

TRIALS, BLOCK = 1_000_000, 20_000
CLIP = 1.0


def _sums(rng, kind: str, count: int, d: int) -> np.ndarray:
    """Silos' sums: ordinary ones, and ones whose coordinates lie where rounding turns."""
    if kind == "random":
        return rng.normal(0, 30, (count, d))
    halves = rng.integers(-50, 50, (count, d)) + 0.5
    return halves + rng.normal(0, 1e-9, (count, d))


def _units(rng, kind: str, count: int, d: int) -> np.ndarray:
    """Clipped gradients of one unit, of the full norm: in any direction, or the same in all coordinates."""
    same = rng.choice([-1.0, 1.0], (count, d))
    directions = rng.normal(size=(count, d)) if kind == "random" else same
    return CLIP * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _proven(scale: float, d: int) -> float:
    return CLIP * scale + math.sqrt(d)


def _worst(rounds, bound=_proven) -> float:
    """The largest move of the integers ÷ the bound, over a million neighbours."""
    rng, worst, done = np.random.default_rng(11), 0.0, 0
    while done < TRIALS:
        for d in (1, 8, 64):
            for kind in ("random", "worst"):
                scale = float(2.0 ** rng.integers(-1, 6))
                sums = _sums(rng, kind, BLOCK // 8, d) / scale
                more = sums + _units(rng, kind, BLOCK // 8, d)
                moved = rounds(more, scale) - rounds(sums, scale)
                longest = float(np.linalg.norm(moved, axis=1).max())
                worst = max(worst, longest / bound(scale, d))
                done += BLOCK // 8
    return worst


def test_r1_one_unit_moves_a_silos_integers_by_at_most_the_sensitivity():
    """A million neighbours, half of them where rounding turns; the bound is nearly attained, never passed."""
    worst = _worst(lambda total, scale: rounded(total, scale, 1000))
    assert 0.9 < worst <= 1


def test_r1_clamping_moves_no_two_vectors_apart():
    worst = _worst(lambda total, scale: rounded(total, scale, 3))
    assert worst <= 1


def test_r1_mutant_that_rounds_up_and_down_by_chance_passes_the_bound():
    rng = np.random.default_rng(2)
    worst = _worst(
        lambda total, scale: np.floor(total * scale + rng.random(total.shape)).astype(np.int64)
    )
    assert worst > 1


def test_r1_mutant_sensitivity_without_the_rounding_is_passed():
    worst = _worst(
        lambda total, scale: rounded(total, scale, 1000), bound=lambda scale, _d: CLIP * scale
    )
    assert worst > 1.5


def test_r1_conditional_rounding_of_a_sum_would_refuse_it_for_its_data():
    """`FixedPoint` bounds one client's update; a silo's sum of aligned records is longer than that."""
    encoding = FixedPoint(clip=0.1, bits=20)
    one = np.full(500, 0.1 / math.sqrt(500)) * (1 - 1e-9)
    assert np.linalg.norm(encoding.encode(one)) <= encoding.l2_sensitivity(500)
    with pytest.raises(CapacityError):
        encoding.encode(205 * one)


def _moved(more: Dataset, fewer: Dataset, model, *, loss=None, **changes) -> float:
    """Norm of the difference of two neighbouring silos' integers ÷ the claimed sensitivity, at rate 1."""
    vectors = []
    for data in (more, fewer):
        given = silos() | {10: data}
        run = federation(given, model=model(), rate=1.0, loss=loss, micro_batch=50, **changes)
        silo = run._parties.silos[10]
        silo._last = (0, 0)
        vectors.append(silo._drawn_sum(run.released, run.clip))
    return float(np.linalg.norm(vectors[0] - vectors[1])) / run.resolution.sensitivity.l2


def test_r1_whole_silos_that_differ_by_a_record_differ_by_at_most_the_sensitivity():
    data = records(30, 3)
    for left_out in range(10):
        fewer = data.subset(np.delete(np.arange(30), left_out))
        assert 0 < _moved(data, fewer, softmax, clip=0.5) <= 1


# R5: noise of local steps under shared noise, two exact counterexamples (docs/records.md).


def _epsilon(mu: float) -> float:
    return gaussian_epsilon(1 / mu, 1e-5)


def _contracting(silo_count: int, steps: int, z: float) -> tuple[float, float]:
    """(claimed µ, true µ) when the other silos' steps cancel their own earlier noise.

    All but one silo estimate a mean with the learning rate at which each step undoes the last noise, so that
    their updates hold the last noise alone. The first silo holds one record, whose clipped gradient is C in
    every step. C = 1 and q = 1.
    """
    share = z * z / silo_count
    true = steps / math.sqrt(share * steps + (silo_count - 1) * share)
    return math.sqrt(steps) / z, true


@pytest.mark.parametrize(("silo_count", "steps", "z"), [(10, 2, 5), (10, 10, 10), (10, 40, 20)])
def test_r5_others_that_cancel_their_noise_make_local_steps_cost_more(silo_count, steps, z):
    """The mutant charges S local steps as S releases; the closed form, and a simulation of 20,000 runs."""
    claimed, true = _contracting(silo_count, steps, z)
    assert true > 1.3 * claimed
    assert _epsilon(true) > 1.3 * _epsilon(claimed)
    rng, runs, share = np.random.default_rng(0), 20_000, z / math.sqrt(silo_count)
    sent = [rng.normal(0, share, runs) for _ in range(silo_count - 1)]  # the last noise of each
    own = rng.normal(0, share * math.sqrt(steps), runs)
    measured = steps / (sum(sent) + own).std()
    assert measured == pytest.approx(true, rel=0.05)  # six standard errors are 3 %


def test_r5_the_published_example():
    claimed, true = _contracting(10, 40, 20)
    assert _epsilon(claimed) == pytest.approx(1.20, abs=0.01)
    assert _epsilon(true) == pytest.approx(3.89, abs=0.01)


def test_r5_a_silos_own_records_amplify_its_own_noise():
    """One bit of the sum shows the sign of the first noisy step, which one share alone protects.

    400,000 runs a side. The claim allows a power of Φ(Φ⁻¹(α) + µ); the measured one is 20 standard errors
    above.
    """
    silo_count, z, others, runs = 10, 5.0, 2000, 400_000
    rng, share, rates = np.random.default_rng(1), z / math.sqrt(silo_count), []
    for world in (0, 1):
        first = world + rng.normal(0, share, runs)
        rest = rng.normal(0, share, runs) + rng.normal(0, z * math.sqrt(2 * 0.9), runs)
        opened = first + others * np.sign(first) + rest
        rates.append(float((opened > 0).mean()))
    alarm, power = rates
    allowed = norm.cdf(norm.ppf(alarm) + math.sqrt(2) / z)
    assert power > allowed + 20 * math.sqrt(0.25 / runs)
    implied = norm.ppf(power) - norm.ppf(alarm)
    assert implied == pytest.approx(math.sqrt(silo_count) / z, rel=0.05)
    assert log_ndtr(-implied) < 0


def test_r5_shared_noise_refuses_local_steps():
    with pytest.raises(PlanError, match="takes one gradient a sum, not local_steps=2"):
        privacy(local_steps=2, local_lr=0.1)


def test_r5_mutant_without_the_refusal_claims_one_release_a_step(monkeypatch):
    monkeypatch.setattr(RecordPrivacy, "_check_steps", lambda _self: None)
    with pytest.raises(FOUND), pytest.raises(PlanError):
        privacy(local_steps=2, local_lr=0.1)


# R6: layers and losses across records.


class Centred(nn.Module):
    """Subtracts the mean of the batch: no class that is known to take statistics, and yet it does."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(5, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        outputs = self.dense(rows)
        return outputs - 5 * outputs.mean(0, keepdim=True)


class Contrasted(CrossEntropy, frozen=True, tag="contrasted-in-tests"):
    """Pushes each record's outputs away from the other records'."""

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return super().each(outputs, labels) + (outputs @ outputs.T).sum(1)


ACROSS = {
    "BatchNorm1d": (
        nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)),
        CrossEntropy(),
        "BatchNorm1d",
    ),
    "no stored statistics": (
        nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(),
        CrossEntropy(),
        "statistics over several records",
    ),
    "stored by instance": (
        nn.Sequential(nn.Unflatten(1, (1, 5)), nn.InstanceNorm1d(1, track_running_stats=True)),
        CrossEntropy(),
        "InstanceNorm1d",
    ),
    "spectral norm": (
        nn.utils.spectral_norm(nn.Linear(5, 3)),
        CrossEntropy(),
        "changes the buffer",
    ),
    "a module of one's own": (Centred(), CrossEntropy(), "depends on the other records"),
    "a contrastive loss": (nn.Linear(5, 3), Contrasted(), "loss .* depends on the other records"),
}


@pytest.mark.parametrize("name", ACROSS)
def test_r6_whatever_couples_records_is_refused_by_name(name):
    model, loss, said = ACROSS[name]
    with pytest.raises(PlanError, match=said):
        check_independent(model, loss, records(4, 0))


def test_r6_mutant_without_the_check_moves_a_sum_further_than_the_sensitivity():
    """With gradients of a whole batch, one record changes all others': several times the claim."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the distance depends on the model's first weights
        model = Centred()
    layout, loss = Layout.of(model), CrossEntropy()
    fast = LayeredGradients(model, layout, loss)
    fast.at(layout.flatten(model) * 3)
    rng = np.random.default_rng(4)
    features = rng.standard_normal((40, 1, 5)) * 4
    labels, weights = rng.integers(0, 3, (40, 1)), np.ones((40, 1))
    with_it = fast.clipped_sum(units_of(features, labels, weights), 0.01)
    features[7] *= 50
    drawn = np.arange(40) != 7
    changed = fast.clipped_sum(units_of(features, labels, weights, drawn), 0.01)
    assert np.linalg.norm(with_it - changed) > 2 * 0.01


def test_r6_mutant_without_either_check_takes_the_module(monkeypatch):
    monkeypatch.setattr(modules, "_check_probe", lambda *_: None)
    with pytest.raises(FOUND), pytest.raises(PlanError):
        check_independent(Centred(), CrossEntropy(), records(4, 0))


def test_r6_the_usual_gradients_see_one_unit_alone():
    """`torch.func` gives each unit's gradient from its own rows, beside any other units."""
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    layout = Layout.of(model)
    usual = UnitGradients(model, layout, CrossEntropy())
    usual.at(layout.flatten(model))
    rng = np.random.default_rng(4)
    features, labels = rng.standard_normal((6, 1, 5)), rng.integers(0, 3, (6, 1))
    before = usual.of(units_of(features, labels, np.ones((6, 1))))[0]
    features[1:] *= 100
    after = usual.of(units_of(features, labels, np.ones((6, 1))))[0]
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-7)


# R8: twenty visits of one person.

VISITS = np.concatenate([np.zeros(20, int), np.arange(1, 21)])


def _visiting() -> tuple[Silo, Silo]:
    """A silo with a person of twenty rows, and without that person."""
    data = records(40, 5)
    same = np.where(np.arange(40)[:, None] < 20, data.features[0], data.features)
    labels = np.where(np.arange(40) < 20, data.labels[0], data.labels)
    whole = Dataset(same, labels)
    return Silo(whole, VISITS), Silo(whole.subset(np.arange(20, 40)), VISITS[20:])


def test_r8_record_sampling_of_named_persons_is_refused():
    silo, _ = _visiting()
    with pytest.raises(
        PlanError, match="a person of twenty rows would lose many times the printed ε"
    ):
        UnitTable(silo, privacy(), CrossEntropy())


def _silo_sum(silo: Silo, **changes) -> tuple[np.ndarray, object]:
    people = {silo_id: Silo(data, np.arange(len(data))) for silo_id, data in silos().items()}
    run = federation(people | {10: silo}, clip=0.05, rate=1.0, **changes)
    party = run._parties.silos[10]
    party._last = (0, 0)
    return party._drawn_sum(run.released, run.clip), run.resolution


@pytest.mark.parametrize("combine", ["mean", "sum"])
def test_r8_with_persons_the_whole_person_moves_a_sum_by_at_most_the_sensitivity(combine):
    vectors = [_silo_sum(silo, unit="person", rows=20, combine=combine) for silo in _visiting()]
    moved = np.linalg.norm(vectors[0][0] - vectors[1][0])
    assert 0.5 < moved / vectors[0][1].sensitivity.l2 <= 1


def test_r8_mutant_without_the_refusal_lets_twenty_rows_pay_twenty_times(monkeypatch):
    """The person moves the sum twenty times as far as is claimed: at z = 1 the true ε is beyond 100."""
    without(monkeypatch, table, "_rows_of_units", "silo.person is not None")
    vectors = [_silo_sum(silo) for silo in _visiting()]
    moved = np.linalg.norm(vectors[0][0] - vectors[1][0]) / vectors[0][1].sensitivity.l2
    assert moved > 15
    assert gaussian_epsilon(1 / moved, 1e-5) > 100 > gaussian_epsilon(1.0, 1e-5)


def _audit(strength: float) -> tuple[float, float, int]:
    """(power, most that the claim allows, runs) of the likeliest test for a person, at z = 1.

    The attacker knows all but the person's rows and the noise. The test is a threshold along the person's
    gradient with a false alarm in ten.

    Args:
        strength: the noise that is added ÷ the noise that the account counts.
    """
    runs = 4000
    with_it, found = _silo_sum(_visiting()[0], unit="person", rows=20)
    without_it, _ = _silo_sum(_visiting()[1], unit="person", rows=20)
    shift = (with_it - without_it).astype(float)
    account = found.account
    stddev, size = strength * account.share_stddev(found.silos), runs * shift.size
    counted = range(account.counted(found.silos))
    noise = sum(account.noise.sample(stddev, size) for _ in counted).reshape(runs, -1)
    seen = noise @ (shift / np.linalg.norm(shift))
    power = float((seen + np.linalg.norm(shift) > np.quantile(seen, 0.9)).mean())
    return power, float(norm.cdf(norm.ppf(0.1) + 1.0)), runs


def test_r8_audit_of_the_persons_claim():
    """4,000 runs a side; five standard errors are passed with probability below 1e-6.

    The threshold is a quantile of the same runs, so that the power's standard error is 0.010:
    √(0.389·0.611 + 2.186²·0.09 − 2·2.186·0.061)/√runs, with 2.186 the ratio of the densities at both places.
    """
    power, allowed, runs = _audit(1.0)
    error = math.sqrt((0.389 * 0.611 + 2.186**2 * 0.09 - 2 * 2.186 * 0.061) / runs)
    assert power <= allowed + 5 * error
    assert power > allowed - 0.1  # the attack is nearly the best


def test_r8_mutant_with_half_of_the_noise_is_found_by_the_audit():
    power, allowed, runs = _audit(0.5)
    assert power > allowed + 5 * math.sqrt(0.25 / runs)
