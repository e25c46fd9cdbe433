"""The clip that follows the median: its arithmetic against oracles, and where it comes to on known norms."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dp import update_noise_multiplier
from fedavg.data.dataset import Dataset
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.records.clip import FixedClip, MedianClip
from fedavg.records.clipped.gradients import UnitGradients, clipped_sum
from fedavg.records.clipped.layers import LayeredGradients
from fedavg.records.clipped.portions import Portions
from fedavg.records.federation import RecordFederation
from fedavg.records.steps.mean import OpenedSum, mean_of
from fedavg.robust.rules import MedianOfGroups
from fedavg.sums.masked import SecAgg
from tests.fedavg.records.small import (
    LENGTH,
    federation,
    no_noise,
    one_by_one,
    plan,
    privacy,
    records,
    resolved,
    shortened,
    softmax,
    units_of,
)

USUAL = {"rate": 0.2, "noise_share": 0.01, "span": 100.0}
shares = st.floats(1e-6, 1.0)


@given(shares, st.floats(1e-20, 1e20))
def test_the_sensitivity_covers_a_gradient_and_half_the_weight_exactly(share, start):
    """In rational arithmetic: the square of the length is at least 1 + (w/2)², and at most 2^-46 above."""
    rule = MedianClip(start, **USUAL | {"noise_share": share})
    exact = 1 + (Fraction(rule.weight) / 2) ** 2
    square = Fraction(rule.unit_length) ** 2
    assert exact <= square <= exact * (1 + Fraction(1, 2**46))
    assert rule.unit_length == pytest.approx(1 + share, rel=1e-9)


@given(shares, st.floats(0.3, 50.0))
def test_the_split_of_the_budget_is_that_of_the_paper(share, multiplier):
    """Oracle: z = (z_Δ^-2 + (2σ_b)^-2)^-1/2 (Andrew et al. 2021, theorem 1)."""
    rule = MedianClip(1.0, **USUAL | {"noise_share": share})
    noise = multiplier * rule.unit_length  # on every coordinate, in clips
    assert update_noise_multiplier(multiplier, noise / rule.weight) == pytest.approx(
        noise, rel=1e-9
    )


@given(st.floats(-1e9, 1e9), st.floats(0.01, 100.0))
def test_a_step_moves_the_clip_within_its_bounds(balance, at):
    rule = MedianClip(1.0, **USUAL)
    moved = rule.moved(at, np.array([balance]))
    assert 0.01 * (1 - 1e-6) <= moved <= 100 * (1 + 1e-6)
    assert abs(math.log(moved / at)) <= 0.1 + 1e-6
    assert rule.given(rule.sent(moved)) == moved


def test_shorter_units_lower_the_clip_and_longer_ones_raise_it():
    rule = MedianClip(1.0, **USUAL)
    for side, factor in ((0.5, math.exp(-0.1)), (-0.5, math.exp(0.1)), (0.0, 1.0)):
        mean = rule.vector(np.array([9.0, side * 70]), 1.0)[1:] / 70
        assert rule.moved(1.0, mean) == pytest.approx(factor, rel=1e-6)


def test_a_constant_clip_has_no_coordinate_and_sends_nothing():
    rule = FixedClip(0.5)
    total = np.arange(3.0)
    assert (rule.coordinates, rule.sent(0.5).size, rule.told(1.0)) == (0, 0, "")
    assert rule.vector(total, 0.5) is total
    assert rule.moved(0.5, np.empty(0)) == rule.given(np.empty(0)) == rule.largest == 0.5


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0, 0.0, 0.009, 101.0])
def test_a_silo_refuses_a_clip_out_of_the_public_range(number):
    with pytest.raises(LocalProtocolError, match="is not within 0.01 … 100"):
        MedianClip(1.0, **USUAL).given(np.array([number], np.float32))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip_quantile": 0.9}, "only 0.5 is offered"),
        ({"clip_quantile": 1.0}, "clip_quantile"),
        ({"clip_quantile": True}, "clip_quantile"),
        ({"clip_lr": 0.2}, "clip_lr has no effect on a constant clip"),
        ({"clip_quantile": 0.5, "clip_lr": 3.0}, "clip_lr must lie in"),
        ({"clip_quantile": 0.5, "clip_noise": 0.0}, "clip_noise"),
        ({"clip_quantile": 0.5, "clip_noise": 2.0}, "clip_noise must lie in"),
        ({"clip_quantile": 0.5, "clip_span": 0.5}, "clip_span must lie in"),
        ({"clip_quantile": 0.5, "clip": 1e-30}, "clip must lie in"),
        (
            {"clip_quantile": 0.5, "noise": "own", "local_steps": 2, "local_lr": 0.1},
            "one gradient a sum",
        ),
    ],
)
def test_what_is_refused_is_refused_with_its_reason(changes, said):
    with pytest.raises(PlanError, match=said):
        privacy(**changes)


def _wanted(norms: np.ndarray, clip: float) -> float:
    return float(np.clip((1 - norms / clip) * 8, -0.5, 0.5).sum())


@pytest.mark.parametrize("way", [UnitGradients, LayeredGradients])
@pytest.mark.parametrize("cut", [Portions.whole, Portions.by_layer])
def test_both_ways_give_the_balance_of_whole_norms(way, cut):
    model, rng = softmax(), np.random.default_rng(1)
    units = units_of(
        rng.normal(size=(70, 1, 5)),
        rng.integers(0, 3, (70, 1)),
        np.ones((70, 1)),
        rng.random(70) < 0.6,
    )
    layout, loss = Layout.of(model), CrossEntropy()
    each = one_by_one(model, loss, units)[units.drawn.numpy()]
    norms = np.linalg.norm(each, axis=1)
    gradients = way(model, layout, loss, cut(layout))
    gradients.at(layout.flatten(model))
    for clip in (0.3, float(np.median(norms)), 5.0):
        found = gradients.clipped_sum(units, clip, balanced=True)
        assert found.size == layout.size + 1
        assert found[-1] == pytest.approx(_wanted(norms, clip), abs=1e-3)
        np.testing.assert_allclose(found[:-1], gradients.clipped_sum(units, clip), atol=1e-12)
    clip = 0.3
    np.testing.assert_allclose(
        found := gradients.clipped_sum(units, clip, balanced=True)[:-1],
        shortened(each, clip).sum(0),
        atol=1e-4,
    )
    assert found.size == layout.size


def test_a_gradient_that_is_not_finite_is_longer_and_one_that_is_not_drawn_is_neither():
    gradients = torch.tensor([[float("nan"), 0.0], [math.inf, 0.0], [0.1, 0.0], [0.1, 0.0]])
    drawn = torch.tensor([True, True, True, False])
    found = clipped_sum(gradients, drawn, 1.0, balanced=True)
    assert found[-1] == -0.5
    assert np.isfinite(found).all()


def test_a_last_digit_of_a_norm_moves_no_whole_count():
    norms = torch.tensor([1.0, 1.0 + 2**-50])
    found = [
        clipped_sum(norm.reshape(1, 1).double(), torch.tensor([True]), 1.0, balanced=True)[-1]
        for norm in norms
    ]
    assert abs(found[0] - found[1]) < 1e-13


# What a plan with such a clip is.


def test_the_grid_the_noise_and_the_ledger_follow_from_the_joint_vector():
    fixed, moving = resolved(clip=0.3), resolved(clip=0.3, clip_quantile=0.5)
    other = resolved(clip=30.0, clip_quantile=0.5)
    assert moving.summed_length == LENGTH + 1
    assert moving.spec(4, b"").vector_length == LENGTH + 1
    assert moving.unit_norm == pytest.approx(1.01 * moving.scale)
    # Nothing depends on the clip itself.
    assert (moving.scale, moving.sensitivity, moving.clamp, moving.ring_bits) == (
        other.scale,
        other.sensitivity,
        other.clamp,
        other.ring_bits,
    )
    # The charge is that of the noise multiplier: the clip costs noise, and no ε.
    assert moving.epsilons({4: 3}).release == pytest.approx(
        fixed.epsilons({4: 3}).release, rel=1e-3
    )
    relative = [found.account.share_stddev(4) / found.gradient_norm for found in (fixed, moving)]
    assert relative[1] / relative[0] == pytest.approx(1.01, rel=2e-3)
    assert "1.0% longer" in moving.clip_told
    assert fixed.clip_told == ""
    assert moving.digest != fixed.digest


def test_the_told_precision_is_that_of_the_noise():
    """4,000 sums of noise alone: a standard deviation is off by 1.1 %; 6 of these have probability 2e-9."""
    found, trials = resolved(clip_quantile=0.5, noise_multiplier=3.0), 4000
    rule, account = found.clipping, found.account
    noise = sum(account.noise.sample(account.share_stddev(4), trials) for _ in range(4))
    measured = np.std(noise) / (found.scale * rule.weight * found.plan.divisor)
    told = float(found.clip_told.rsplit(" ", 1)[1].rstrip("%")) / 100
    assert measured == pytest.approx(told, rel=0.07)


class _Rows:
    """Gradients that are the rows themselves, so that their norms are known."""

    def at(self, vector) -> None:
        """Every model has the same gradients."""

    def clipped_sum(self, units, clip, *, balanced=False):
        rows = units.features[:, 0]
        return clipped_sum(
            torch.nn.functional.pad(rows, (0, LENGTH - rows.shape[1])),
            units.drawn,
            clip,
            balanced=balanced,
        )


SIZE, STEPS, RATE, LEARN = 500, 160, 0.5, 0.2


def _known(seed: int) -> dict[int, Dataset]:
    """Four silos of 500 rows with log-normal norms, a median of about 2 and a spread of ½."""
    rng = np.random.default_rng(seed)
    found = {}
    for silo in range(4):
        rows = rng.standard_normal((SIZE, 5))
        norms = 2.0 * np.exp(0.5 * rng.standard_normal((SIZE, 1)))
        found[silo] = Dataset(
            rows / np.linalg.norm(rows, axis=1, keepdims=True) * norms, rng.integers(0, 3, SIZE)
        )
    return found


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_the_clip_finds_the_median_of_known_norms(factor):
    """From ten times too small or too large, in 160 steps of 1,000 drawn units of 2,000.

    Near the median the logarithm follows x ← x − η·(k·x + e), with the slope k = 0.8 of the share of shorter
    units, and e the coins' deviation (½/√1000 = 1.6 %) and the noise's (told by the plan, 0.7 %). The mean of
    the last 80 values has a standard deviation of at most 0.6 %, that of one value; the threshold is 6 of
    these beside the ramp's root, which a Gaussian passes with probability 2e-9, and so with less than 1e-6
    in both runs.
    """
    silos = _known(3)
    norms = np.concatenate([np.linalg.norm(data.features, axis=1) for data in silos.values()])
    candidates = np.linspace(1.0, 4.0, 6001)
    root = float(candidates[np.argmin([abs(_wanted(norms, clip)) for clip in candidates])])
    median = float(np.median(norms))
    assert abs(root / median - 1) < 1 / 16
    parts = plan(
        steps=STEPS,
        divisor=RATE * 4 * SIZE,
        rate=RATE,
        max_units=SIZE,
        clip=factor * median,
        clip_quantile=0.5,
        clip_lr=LEARN,
        micro_batch=200,
        colluders=0,
    )
    run = RecordFederation(softmax(), silos, parts, gradients=lambda _silo, _own: _Rows())
    seen = np.log([result.clip for result in run.run()])
    assert seen[0] == pytest.approx(math.log(factor * median), rel=1e-6)
    assert abs(seen[80:].mean() - math.log(root)) < 6 * 0.006
    assert np.abs(np.diff(seen)).max() <= LEARN / 2 + 1e-6


def test_every_sum_gives_the_same_clips(monkeypatch):
    """With all units drawn and without noise, to the bit."""
    no_noise(monkeypatch)
    monkeypatch.setattr("fedavg.records.table.random_uniform", np.zeros)
    seen = []
    for more in ({}, {"secure_sum": SecAgg(dropout_rate=0.0)}):
        run = federation(clip=4.0, clip_quantile=0.5, steps=4, **more)
        seen.append([result.clip for result in run.run()] + [run.clip])
    assert seen[0] == seen[1]
    assert sorted(seen[0], reverse=True) == seen[0]
    assert seen[0][-1] < 4.0


def test_a_mean_is_decoded_at_the_clip_of_its_step(monkeypatch):
    """Without noise a step with a moving clip is that of a constant clip of the same size."""
    no_noise(monkeypatch)
    monkeypatch.setattr("fedavg.records.table.random_uniform", np.zeros)
    runs = [federation(clip=0.25, steps=1, **more) for more in ({}, {"clip_quantile": 0.5})]
    for run in runs:
        list(run.run())
    np.testing.assert_allclose(runs[1].released, runs[0].released, atol=2e-4)
    assert runs[1].clip != runs[0].clip == 0.25


def test_groups_take_the_rule_over_their_balances():
    """One group of three says anything: the clip moves by what the others say."""
    found = resolved(9, clip_quantile=0.5, robust=MedianOfGroups(3))
    rule = found.clipping
    honest = np.zeros(LENGTH + 1, np.int64)
    honest[-1] = round(-0.25 * rule.weight * found.scale * found.plan.divisor / 3)
    bad = np.full(LENGTH + 1, 2 ** (found.ring_bits - 2))
    sums = [OpenedSum(total, 3, group) for group, total in enumerate((honest, bad, honest))]
    mean = mean_of(found, sums, 1.0)
    assert rule.moved(1.0, mean.balance) == pytest.approx(math.exp(0.2 * 0.25), rel=1e-3)
    assert mean.delta.size == LENGTH
    run = federation(
        {k: records(40, k) for k in range(9)}, clip_quantile=0.5, robust=MedianOfGroups(3), steps=2
    )
    assert len({result.clip for result in run.run()}) == 2


def test_a_clip_of_layers_follows_the_whole_gradient(monkeypatch):
    no_noise(monkeypatch)
    run = federation(clip=4.0, clip_quantile=0.5, clip_by="layer", steps=3, rate=1.0)
    clips = [result.clip for result in run.run()]
    assert clips[0] > clips[1] > clips[2]


def test_a_clip_is_part_of_what_silos_agree_on():
    """A model of another length is refused: the clip is one number beside the parameters."""
    run = federation(clip_quantile=0.5)
    party = run._parties.silos[10]
    from fedavg.protocol.messages import RoundStart, encode

    for length, said in ((LENGTH, "does not hold"), (LENGTH + 1, "is not within")):
        with pytest.raises(LocalProtocolError, match=said):
            party.handle(encode(RoundStart(0, np.zeros(length, "<f4").tobytes())))
    assert json.dumps(party.attempts) == "0"
