"""Derived numbers: grid, sensitivity, ring, bounds of rosters, digest, and refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fedavg.errors import CohortSizeError, GridError, PlanError
from fedavg.losses import Focal
from fedavg.optimizers.server import FedAdam
from fedavg.records.resolution import ResolvedRecords, resolve_records
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.records.small import plan, resolved

SECURE = SecAgg(dropout_rate=0.0)


@pytest.mark.parametrize("length", [1, 18, 26_010, 10**6])
@pytest.mark.parametrize("rounding", [1e-4, 1e-2])
def test_rounding_adds_at_most_the_chosen_share_to_the_sensitivity(length, rounding):
    found = resolved(length=length, clip=0.1, rounding=rounding)
    assert math.log2(found.scale).is_integer()
    exact = 0.1 * found.scale + math.sqrt(length)
    assert exact <= found.sensitivity.l2 <= exact * (1 + 1e-6)
    assert found.sensitivity.l2 <= 0.1 * found.scale * (1 + rounding * (1 + 1e-6))


def test_the_error_of_float_sums_is_in_the_sensitivity_and_tiny():
    found = resolved(length=26_010, clip=0.1, max_units=6000, rate=0.034)
    assert 0 < found.float_error < 1e-4


def test_no_honest_sum_is_clamped():
    found = resolved()
    total = np.full(3, found.most_units * 1.0)
    assert np.abs(np.rint(total * found.scale)).max() <= found.clamp


def test_the_ring_holds_all_silos_and_their_noise():
    found = resolved(10)
    noise = 9 * math.sqrt(10) * found.account.share_stddev(10)
    assert 2 ** (found.ring_bits - 1) > 10 * found.clamp + noise / 3
    assert 2 ** (found.ring_bits - 3) < 10 * found.clamp + noise


def test_overheads_of_sharing_are_those_that_the_manual_says():
    overheads = [
        resolved(n, secure_sum=SecAgg(dropout_rate=rate)).noise_overhead
        for n, rate in ((10, 0.0), (10, 0.1), (3, 0.0))
    ]
    assert overheads == pytest.approx([math.sqrt(10 / 9), math.sqrt(10 / 8), math.sqrt(3 / 2)])
    assert resolved(10, noise="own").noise_overhead == pytest.approx(math.sqrt(10))


def test_the_budget_is_the_last_epsilon_and_the_largest():
    found = resolved(10, secure_sum=SECURE, steps=30)
    three = found.epsilons({10: 30})
    assert three.release == three.server < three.colluding
    assert three.colluding == found.account.budget_account(30).epsilon(1e-5).high
    assert found.epsilons({}).colluding == found.epsilons({10: 0}).release == 0.0


def test_a_server_that_sees_more_than_sums_has_no_epsilon():
    three = resolved(4).epsilons({4: 1})
    assert three.server is three.colluding is None
    assert three.release > 0


def test_a_person_of_two_silos_loses_more():
    """The report says it; the bound is the privacy of groups of two."""
    found = resolved(10, secure_sum=SECURE, rate=0.05, steps=20, epsilon=2.0, noise_multiplier=None)
    assert 2.0 < found.in_silos(2, 20) < 8.0
    assert found.in_silos(1, 20) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize(
    ("count", "changes", "said"),
    [
        (2, {"secure_sum": SECURE}, "2 silos are too few: this plan needs at least 3"),
        (1, {"secure_sum": SECURE}, "1 silo is too few: this plan needs at least 3"),
        (1, {}, "1 silo is too few: this plan needs at least"),
        (4, {"colluders": 3, "secure_sum": SECURE}, "withstands 1 of 4"),
        (3, {"secure_sum": InsecurePlain(dropout_rate=0.6)}, "silos are too few"),
    ],
)
def test_too_few_silos_are_refused(count, changes, said):
    with pytest.raises((CohortSizeError, PlanError), match=said) as refusal:
        resolved(count, **changes)
    assert " -" not in str(refusal.value)  # no number of silos is negative


def test_noise_that_the_samplers_cannot_draw_is_refused():
    with pytest.raises(GridError, match="raise rounding"):
        resolved(noise_multiplier=1000.0, rounding=1e-5)


def test_colluders_up_to_the_sums_own_number_may_be_chosen():
    sums = SecAgg(dropout_rate=0.0, corrupt_rate=0.2)
    assert resolved(10, secure_sum=sums).colluders == 2
    assert resolved(10, secure_sum=sums, colluders=0).colluders == 0


def test_the_digest_covers_every_field():
    one = resolved(5)
    others = [
        resolved(6),
        resolved(5, length=19),
        resolved(5, clip=2.0),
        resolved(5, rate=0.5),
        resolved(5, padded=False),
        resolved(5, divisor=41.0),
        resolved(5, steps=4),
        resolved(5, micro_batch=8),
        resolved(5, loss=Focal()),
        resolved(5, server_optimizer=FedAdam()),
        resolved(5, secure_sum=SECURE),
        replace(one, rest="frozen"),
        replace(one, noise_multiplier=2.0),
    ]
    assert len({found.digest for found in [one, *others]}) == len(others) + 1
    assert resolved(5).digest == one.digest


def test_derived_numbers_take_no_data():
    """R4: the derived numbers are a function of the plan, the number of silos and the model's length."""
    names = set(ResolvedRecords.__dataclass_fields__)
    expected = {"plan", "silos", "vector_length", "noise_multiplier", "colluders", "rest"}
    assert names == expected


def test_parameters_of_the_sum_are_checked_before_any_silo_is_asked():
    with pytest.raises(Exception, match="3|small|few"):
        resolve_records(plan(secure_sum=SecAgg(dropout_rate=0.0)), silos=2, vector_length=5)
