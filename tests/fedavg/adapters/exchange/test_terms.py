"""Terms refuse what cannot be summed, before anybody is asked."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg import (
    Bfv,
    Ckks,
    EncryptedSecAgg,
    FixedPoint,
    InsecurePlain,
    OneShot,
    Quantised,
    SecAgg,
)
from fedavg.adapters.exchange import Record
from fedavg.errors import CapacityError, PlanError
from fedavg.sums.interface import SumSpec
from tests.fedavg.adapters.exchange.parties import NEAREST, terms


@pytest.mark.parametrize(
    "given",
    [OneShot(keys="secagg"), Ckks(), Bfv(), EncryptedSecAgg(), InsecurePlain(), None, "one-shot"],
)
def test_sums_whose_parties_keep_secrets_are_refused_with_the_reason(given):
    with pytest.raises(PlanError, match="start a process for every message"):
        terms(sum=given)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"max_weight": 0}, "max_weight must be at least 1"),
        ({"max_weight": 2.0}, "max_weight must be an int"),
        ({"max_weight": True}, "max_weight must be an int"),
        ({"min_cohort": 2}, "min_cohort must be at least 3"),
        ({"attempts": 0}, "attempts must be at least 1"),
        ({"max_rounds": 0}, "max_rounds must be at least 1"),
        ({"records": {}}, "at least one"),
        ({"records": {"train": NEAREST}}, "must be a Record"),
        ({"records": {"": Record(NEAREST)}}, "non-empty text"),
        ({"records": {"train\x1b[2K": Record(NEAREST)}}, "must be printable"),
        ({"weight": ""}, "weight must be a non-empty text"),
        ({"weight": "n\r"}, "weight must be printable"),
        ({"weight": "loss"}, "is the weight"),
    ],
)
def test_terms_that_do_not_add_up(changes, what):
    with pytest.raises(PlanError, match=what):
        terms(**changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"arrays": "*"}, "arrays must be a tuple"),
        ({"arrays": (3,)}, "a pattern of arrays"),
        ({"arrays": ()}, "carries nothing"),
        ({"arrays": ("w\n",)}, "must be printable"),
        ({"ranges": {"w": 0.0}}, r"ranges\['w'\] must be positive"),
        ({"ranges": {"w": 5e-324}}, r"ranges\['w'\] must lie within 1e-30"),
        ({"ranges": {"w": 1e39}}, r"ranges\['w'\] must lie within 1e-30"),
        ({"metrics": {"loss": 1e-310}}, r"metrics\['loss'\] must lie within 1e-30"),
        ({"encoding": FixedPoint(1e-310, 20, rounding="nearest")}, r"encoding\.clip must lie"),
        ({"encoding": Quantised(1.0, 16, rotate=True)}, "mixes coordinates"),
        ({"encoding": FixedPoint(1.0, 20)}, "bounds the norm of the whole vector"),
        ({"metrics": {"loss": float("inf")}}, "must be finite"),
        ({"metrics": ["loss"]}, "metrics must map"),
        ({"relative": 1}, "relative must be True or False"),
        ({"beyond": "wrap"}, "beyond must be"),
        ({"encoding": 20}, "must be an encoding"),
    ],
)
def test_records_that_do_not_add_up(changes, what):
    with pytest.raises(PlanError, match=what):
        Record(**{"encoding": NEAREST, **changes})


def test_a_weight_that_the_bits_do_not_hold_names_the_bits_that_do():
    with pytest.raises(CapacityError, match="bits=21"):
        terms(max_weight=2**20 - 1)
    wide = Record(FixedPoint(1.0, 21, rounding="nearest"))
    assert terms(max_weight=2**20 - 1, records={"train": wide}).max_weight == 2**20 - 1


def test_the_floor_of_the_sum_is_the_floor_of_the_terms():
    assert terms(sum=OneShot(committee=6, corrupt_members=1, absent_members=1)).min_cohort == 4


def test_numpy_scalars_are_numbers():
    assert terms(max_weight=np.int32(9)).max_weight == 9
    assert Record(NEAREST, metrics={"loss": np.float32(2)}).metrics == {"loss": 2.0}


def test_the_first_pattern_that_fits_gives_the_range():
    record = Record(Quantised(0.5, 8), ranges={"bn.*": 9.0, "*.weight": 2.0})
    assert [record.range_of(name) for name in ("bn.weight", "fc.weight", "fc.bias")] == [9, 2, 0.5]


def test_a_name_names_itself_before_any_pattern():
    record = Record(NEAREST, arrays=("layers[0].w",), ranges={"layers*": 2.0, "layers[0].w": 7.0})
    assert record.carries("layers[0].w")
    assert record.range_of("layers[0].w") == 7.0
    assert record.range_of("layers[1].w") == 2.0


def test_the_assumptions_say_how_long_a_sealing_key_serves():
    found = terms(sum=OneShot(committee=6, corrupt_members=1, absent_members=1, epoch_rounds=4))
    assert found.sum.epoch_rounds == 4
    assert any(
        "serves for 4 rounds" in one
        for one in found.sum.assumptions(SumSpec(5000, 1000, None, 10, b"any sum"))
    )
    assert "more than 7 days ago" in found.assumptions_here[0]
    with pytest.raises(PlanError, match="key_days"):
        terms(key_days=0)
    with pytest.raises(PlanError, match="key_days must be at least 0.01"):
        terms(key_days=0.009)


def test_a_masked_sum_has_nodes_that_are_put_away_and_no_sealing_key():
    found = terms(sum=SecAgg(dropout_rate=0.25))
    assert found.suspends
    assert not terms().suspends
    assert found.sum == SecAgg(dropout_rate=0.25)
    assert found.min_cohort == 3
