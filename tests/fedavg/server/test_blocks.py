"""Federations whose clients train one block each: the same sums, the right means, what is skipped stays."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch.nn import functional

from fedavg.algorithms.blocks.deal import assigned_block
from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.blocks.rolling import RollingBlocks
from fedavg.client.blocks import part_to_train
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.errors import PlanError
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAdam, FedMomentum
from fedavg.privacy.noise import DistributedGaussian, guaranteed_variance
from fedavg.simulation.faults import Faults
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update
from tests.e2e.small import SUMS, clients, examples, federation
from tests.fedavg.support.block_plans import CUTS, LAYOUT, MODEL, resolution_with

N = 24


def trained(blocks, name="insecure-plain", *, rounds=3, **options):
    changes = {"blocks": blocks, **options.pop("changes", {})}
    run = federation(SUMS[name], n=N, model=MODEL, changes=changes, **options)
    return run, list(run.run(rounds))


@functools.cache
def in_the_clear(cut):
    """The model, read-only, and the rounds of a plain sum, with which several tests compare."""
    run, results = trained(CUTS[cut])
    model = run.released.copy()
    model.flags.writeable = False
    return model, tuple(results)


@pytest.mark.parametrize(
    "one",
    [LayerBlocks.by_count(LAYOUT, 1), RollingBlocks(LAYOUT.shapes, 1)],
    ids=["layers", "rolling"],
)
def test_one_block_is_the_plain_run_to_the_bit(one):
    changes = {"server_optimizer": FedMomentum(1.0, 0.9)}
    plain, cut = (trained(blocks, changes=changes)[0] for blocks in (None, one))
    assert np.array_equal(plain.released, cut.released)


@pytest.mark.parametrize("kind", ["layers", "rolling"])
def test_one_block_of_the_cnn_is_the_plain_client_to_the_bit(kind):
    model = build_model("cnn", (784,), 10, seed=0)
    layout = Layout.of(model)
    one = RollingBlocks(layout.shapes, 1) if kind == "rolling" else LayerBlocks.by_count(layout, 1)
    public = np.random.default_rng(0)
    data = Dataset(public.random((6, 784), dtype=np.float32), np.arange(6))
    vector, updates = layout.flatten(model), []
    for blocks in (None, one):
        resolution = resolution_with(blocks, layout.size)
        with part_to_train(
            resolution if blocks is None else resolution.of_block(0), model, layout, vector
        ) as part:
            updates.append(
                local_update(
                    TrainingJob(
                        part.model,
                        part.layout,
                        part.vector,
                        data,
                        LocalTraining(batch_size=3),
                        round_index=0,
                        num_rounds=1,
                        seed=0,
                    )
                )
            )
    assert np.array_equal(*updates)
    assert updates[0].any()
    assert all(part.requires_grad for part in model.parameters())


@pytest.mark.parametrize(
    ("cut", "name"),
    [
        *(("layers", name) for name in ("secagg", "ckks", "bfv", "encrypted-secagg")),
        ("rolling", "secagg"),
        ("rolling", "bfv"),
        ("rolling, overlapping", "ckks"),
    ],
)
def test_every_secure_sum_trains_the_same_model_to_the_bit(cut, name):
    plain, results = in_the_clear(cut)
    run, _ = trained(CUTS[cut], name)
    assert np.array_equal(run.released, plain)
    assert results[-1].accuracy > 0.9
    assert all(r.survivors == N and not r.skipped_blocks for r in results)


def test_worker_processes_give_the_same_model():
    plain, results = in_the_clear("rolling")
    run, others = trained(CUTS["rolling"], workers=2)
    assert np.array_equal(plain, run.released)
    assert [r.bytes_up for r in results] == [r.bytes_up for r in others]


@pytest.mark.parametrize("cut", ["layers", "rolling"])
def test_blocks_go_with_few_bits_both_ways(cut):
    """A scale for each channel of the network that is sent; rounding and rotation within a block."""
    changes = {"encoding": Quantised(0.5, 8, rotate=True), "broadcast": "int8"}
    plain, results = trained(CUTS[cut], changes=changes)
    masked, _ = trained(CUTS[cut], "secagg", changes=changes)
    assert np.array_equal(masked.released, plain.released)
    assert results[-1].accuracy > 0.9


def test_a_block_moves_as_its_clients_would_move_it_with_the_rest_held_still():
    """All clients hold the same examples, so each block's mean is one update, computed here by hand."""
    data = examples(9, 5)
    training = LocalTraining(epochs=3, lr=0.3, l2=0.01)
    run, _ = trained(
        CUTS["layers"],
        rounds=1,
        clients=dict.fromkeys(range(N), data),
        changes={"local_training": training},
    )
    begun = LAYOUT.flatten(MODEL.build())
    expected = begun.copy()
    inputs, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
    for block in range(2):
        values = {
            name: value.requires_grad_(name in CUTS["layers"].tensors(block))
            for name, value in LAYOUT.unflatten(begun).items()
        }
        w0, b0, w1, b1 = values.values()
        mine = [value for value in values.values() if value.requires_grad]
        for _ in range(3):
            logits = functional.linear(torch.relu(functional.linear(inputs, w0, b0)), w1, b1)
            for value, slope in zip(
                mine,
                torch.autograd.grad(functional.cross_entropy(logits, labels), mine),
                strict=True,
            ):
                value.data.sub_(0.3 * (slope + 0.01 * value.data))
        places = CUTS["layers"].coordinates(block, 0)
        expected[places] = LAYOUT.flatten({k: v.detach() for k, v in values.items()})[places]
    assert np.abs(expected - begun).max() > 0.01
    assert np.abs(run.released - expected).max() < 1.0 / run.plan.encoding.scale


def test_overlapping_windows_are_averaged_by_the_examples_of_all_who_trained_a_place():
    """With equal data the mean over blocks is the mean of windows' updates, weighted by examples."""
    blocks, population = CUTS["rolling, overlapping"], clients(N)
    run, _ = trained(blocks, rounds=1, clients=population)
    resolution, model = run.resolve(1), MODEL.build()
    begun = LAYOUT.flatten(model)
    total, weight = np.zeros_like(begun), np.zeros_like(begun)
    for client, data in population.items():
        block = assigned_block(blocks, client, 0, N)
        places = blocks.coordinates(block, 0)
        with part_to_train(resolution.of_block(block), model, LAYOUT, begun[places]) as part:
            update = part.in_model(
                local_update(
                    TrainingJob(
                        part.model,
                        part.layout,
                        part.vector,
                        data,
                        run.plan.local_training,
                        round_index=0,
                        num_rounds=1,
                        seed=client,
                    )
                )
            )
        total[places] += len(data) * update
        weight[places] += len(data)
    mean = np.divide(total, weight, where=weight > 0, out=np.zeros_like(total))
    assert set(weight) == {64.0, 128.0}  # the clients of one window, and of both where they overlap
    assert np.abs(run.released - (begun + mean)).max() < 1.0 / run.plan.encoding.scale


def falls_silent(monkeypatch, cut, block, index):
    """Let all clients of one block fall silent in one round."""

    def silent_from(_self, *, client_id, round_index, attempt=0):
        gone = round_index == index and assigned_block(cut, client_id, round_index, N) == block
        return 0 if gone else None

    monkeypatch.setattr(Faults, "silent_from", silent_from)


@pytest.mark.parametrize(
    "optimizer", [FedMomentum(1.0, 0.9), FedAdam(0.01)], ids=["momentum", "adam"]
)
def test_a_block_without_a_sum_keeps_model_and_optimiser_and_the_others_go_on(
    monkeypatch, optimizer
):
    cut = CUTS["layers"]
    falls_silent(monkeypatch, cut, 0, 2)
    run = federation(
        SUMS["secagg"], n=N, model=MODEL, changes={"blocks": cut, "server_optimizer": optimizer}
    )
    rounds = run.run(4)
    next(rounds), next(rounds)
    before, state = run.released.copy(), dict(run._global.optimizer)
    result = next(rounds)
    assert result.skipped is None
    assert len(result.skipped_blocks) == 1
    assert result.skipped_blocks[0].startswith("block 0: 0 clients are ready")
    still, moved = cut.coordinates(0, 2), cut.coordinates(1, 2)
    assert np.array_equal(run.released[still], before[still])
    assert (run.released[moved] != before[moved]).any()
    for name, old in state.items():
        assert np.array_equal(run._global.optimizer[name][still], old[still])
        assert (run._global.optimizer[name][moved] != old[moved]).any()
    following = next(rounds)
    assert not following.skipped_blocks
    assert (run.released[still] != before[still]).any()


def test_a_round_without_any_sum_is_skipped_as_a_whole(monkeypatch):
    monkeypatch.setattr(Faults, "silent_from", lambda *_, **__: 0)
    run, results = trained(CUTS["layers"], "secagg", rounds=1)
    assert "block 0" in results[0].skipped
    assert "block 1" in results[0].skipped
    assert np.array_equal(run.released, LAYOUT.flatten(MODEL.build()))


@pytest.mark.parametrize("cut", ["layers", "rolling"])
def test_every_block_carries_the_full_noise(cut):
    """Updates of zero: sums are noise alone.  n ≥ 4·195 draws a block; each bound errs in 1e-6 of runs.

    Noise shared out among the blocks, σ²/2, would fall below the lower bound.
    """
    changes = {
        "encoding": FixedPoint(0.5, 12),
        "noise": DistributedGaussian(1.0),
        "local_training": LocalTraining(lr=1e-30),
    }
    blocks, n = CUTS[cut], 100
    run = federation(SUMS["secagg"], n=n, model=MODEL, changes={"blocks": blocks, **changes})
    resolution = run.resolve(4)
    variance = guaranteed_variance(run.plan.noise, resolution.sensitivity)
    variance /= resolution.honest_fraction  # nobody leaves
    sums = [[] for _ in blocks.lengths]
    for _ in run.run(4):
        parts = np.split(run.last_sum.total, np.cumsum(blocks.lengths)[:-1])
        for kept, part in zip(sums, parts, strict=True):
            kept.append(part.astype(np.float64))
    for kept in sums:
        noise = np.concatenate(kept)
        freedom = noise.size
        low, high = chi2.ppf([5e-7, 1 - 5e-7], freedom)
        assert low < float(noise @ noise) / variance < high
        assert float(noise @ noise) / (variance / 2) > high


def test_a_private_run_learns_and_charges_once_a_round():
    changes = {"encoding": FixedPoint(1.0, 12), "noise": DistributedGaussian(1.0)}
    population = clients(120)
    run = federation(
        SUMS["insecure-plain"],
        clients=population,
        model=MODEL,
        changes={"blocks": CUTS["layers"], **changes},
    )
    results = list(run.run(4))
    assert results[-1].accuracy > 0.8
    assert len(run.ledger.history) == 1 + 4  # cohort sizes and samplers, then a release a round


def test_uploads_shrink_by_the_share_and_rolling_downloads_too():
    whole = trained(None, rounds=2)[1]
    layers, rolling = (trained(CUTS[cut], rounds=2)[1] for cut in ("layers", "rolling"))
    up, down = whole[0].bytes_up, whole[0].bytes_down
    assert layers[0].bytes_up == pytest.approx(up / 2, rel=0.02)
    assert layers[0].bytes_down == pytest.approx(down, rel=0.02)
    assert rolling[0].bytes_up == pytest.approx(up / 2, rel=0.02)
    assert rolling[0].bytes_down == pytest.approx(down / 2, rel=0.05)


def test_a_federation_refuses_ids_with_gaps_and_foreign_models():
    run = federation(SUMS["secagg"], model=MODEL, changes={"blocks": CUTS["layers"]})
    run._sizes[99] = run._sizes.pop(3)
    with pytest.raises(PlanError, match="without a gap"):
        run.resolve(1)
    other = LayerBlocks(tuple("abcd"), (768, 64, 192, 3), (0, 0, 1, 1))
    with pytest.raises(PlanError, match="another model"):
        federation(SUMS["secagg"], model=MODEL, changes={"blocks": other}).resolve(1)
