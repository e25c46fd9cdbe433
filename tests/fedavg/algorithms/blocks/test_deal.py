"""The deal of clients to blocks and the sizes of rosters that follow from it; refusals of plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from fedavg.algorithms.blocks.deal import assigned_block, check_seats, dealt_bounds
from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.random_k import RandomK
from fedavg.algorithms.scaffold import Scaffold
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from tests.e2e.small import SUMS, plan
from tests.fedavg.support.block_plans import CUTS, LAYOUT, resolution_with

PRIVATE = {"encoding": FixedPoint(0.5, 9), "noise": DistributedGaussian(1.0)}


def blocks_of(count, seed=0):
    return LayerBlocks(tuple(map(str, range(count))), (1,) * count, tuple(range(count)), seed)


@given(n=st.integers(1, 40), count=st.integers(1, 6), start=st.integers(0, 50), seed=st.integers(0))
@settings(max_examples=60)
def test_every_block_gets_its_part_of_the_clients_and_every_client_all_blocks(
    n, count, start, seed
):
    blocks = blocks_of(count, seed % 2**63)
    for index in range(start, start + 2):
        held = [assigned_block(blocks, client, index, n) for client in range(n)]
        sizes = np.bincount(held, minlength=count)
        assert sizes.max() - sizes.min() <= 1
    epoch = (start // count) * count
    for client in range(n):
        own = {assigned_block(blocks, client, index, n) for index in range(epoch, epoch + count)}
        assert own == set(range(count))


def test_the_deal_follows_the_public_seed():
    a, b = ([assigned_block(blocks_of(4, seed), c, 0, 40) for c in range(40)] for seed in (1, 2))
    assert a != b
    with pytest.raises(LocalProtocolError, match="no seat"):
        assigned_block(blocks_of(2), 40, 0, 40)


def test_ids_without_a_gap_are_needed():
    check_seats({2: "", 0: "", 1: ""})
    with pytest.raises(PlanError, match="without a gap"):
        check_seats({1: "", 2: ""})


@pytest.mark.parametrize("n", [1000, 1003])
def test_bounds_hold_the_roster_of_a_block_as_often_as_they_say(n):
    """Poisson: Bin(clients of the block, rate), for the neighbouring populations too."""
    found = dealt_bounds(PoissonCohort(0.3), 4, n, 8, 1e-6, 1.0)
    for group in (n // 4 - 1, n // 4, -(-n // 4), -(-n // 4) + 1):
        low, high = binom.cdf(found.floor - 1, group, 0.3), binom.sf(found.cap, group, 0.3)
        assert 4 * (low + high) <= found.outside
    assert found.outside < 1e-5
    assert found.floor >= 8


def test_bounds_of_a_cohort_of_fixed_size():
    found = dealt_bounds(FixedCohort(200), 4, 1000, 8, 1e-6, 0.9)
    for group in (249, 250, 251):
        came = hypergeom.cdf(np.ceil(found.floor / 0.9) - 1, 1000, group, 200)
        assert 4 * (came + hypergeom.sf(found.cap, 1000, group, 200)) <= found.outside * (1 + 1e-9)
    assert found.outside < 1e-5
    assert 8 <= found.floor < 50 < found.cap < 200


@dataclass(frozen=True)
class _Other:
    def expected_size(self, n):
        return float(n)


def test_an_unknown_sampler_and_too_many_blocks_are_refused():
    with pytest.raises(PlanError, match="_Other are not known"):
        dealt_bounds(_Other(), 2, 10, 1, 1e-6, 1.0)
    with pytest.raises(PlanError, match="cannot be dealt"):
        dealt_bounds(PoissonCohort(1.0), 11, 10, 1, 1e-6, 1.0)


@pytest.mark.parametrize("name", list(CUTS))
@pytest.mark.parametrize(
    "noise",
    [
        DistributedGaussian(1.3),
        DistributedSkellam(1.3),
        DistributedDiscreteGaussian(1.3),
        CentralGaussian(1.3),
    ],
    ids=lambda noise: noise.kind,
)
def test_the_blocks_of_a_round_cost_what_the_whole_model_costs(name, noise):
    """One event a round at the same multiplier: a client adds to one block, and each has the full noise."""
    changes = {"encoding": FixedPoint(0.5, 12), "noise": noise, "cohort": PoissonCohort(0.2)}
    sizes = {"n": 1000, "rounds": 20, "name": "secagg"}
    whole, cut = (resolution_with(blocks, **changes, **sizes) for blocks in (None, CUTS[name]))
    assert cut.epsilon_at_end() == pytest.approx(whole.epsilon_at_end(), rel=1e-4)
    one = cut.of_block(1)
    assert one.sensitivity == cut.sensitivity
    assert one.sensitivity.l2 >= cut.plan.encoding.l2_sensitivity(one.update_length)
    assert one.release_event() == cut.release_event()
    assert one.ring_bits == cut.ring_bits
    assert cut.sensitivity.dimension == sum(CUTS[name].lengths)
    assert cut.expected_roster == 100
    assert cut.failure().shared >= cut.bounds.outside


def test_the_servers_own_view_counts_the_least_roster_of_a_block():
    sizes = {"n": 1000, "rounds": 20, "name": "secagg", "cohort": PoissonCohort(0.2)}
    whole, cut = (resolution_with(b, **PRIVATE, **sizes) for b in (None, CUTS["layers"]))
    assert cut.bounds.floor < whole.bounds.floor
    assert cut.server_epsilon(4) >= whole.server_epsilon(4)
    assert cut.max_participations == whole.max_participations


def test_blocks_with_too_few_clients_are_refused_before_any_round():
    with pytest.raises(PlanError, match="one block of 2 asks about"):
        resolution_with(CUTS["layers"], n=5, name="secagg")


def test_what_does_not_go_with_blocks_is_refused_with_the_reason():
    with pytest.raises(PlanError, match="adaptive clipping"):
        plan(SUMS["secagg"], blocks=CUTS["layers"], clipping=AdaptiveClipping(), **PRIVATE)
    sums = Selective(Bfv(), SecAgg(), SensitivityMap.random(LAYOUT.size, 0.5, seed=0))
    with pytest.raises(PlanError, match="map of what to encrypt"):
        plan(sums, blocks=CUTS["layers"])
    for traffic in ({"stages": (RandomK(0.5),)}, {"stages": (ErrorFeedback(),)}):
        with pytest.raises(PlanError, match="random-k and error feedback"):
            plan(SUMS["secagg"], blocks=CUTS["layers"], **traffic)
    with pytest.raises(PlanError, match="SCAFFOLD or blocks"):
        plan(SUMS["secagg"], blocks=CUTS["layers"], stages=(Scaffold(),))
    with pytest.raises(PlanError, match="this one has 40"):
        resolution_with(CUTS["layers"], length=40)


def test_clients_and_server_agree_on_the_blocks():
    digests = {
        resolution_with(blocks).digest
        for blocks in (None, *CUTS.values(), LayerBlocks.by_count(LAYOUT, 2, seed=1))
    }
    assert len(digests) == 5
