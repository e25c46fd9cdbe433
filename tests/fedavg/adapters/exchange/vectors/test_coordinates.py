"""Weights and ranges in integers: the weighted mean comes out, and what does not fit is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg import FixedPoint, Quantised
from fedavg.adapters.exchange import Record
from fedavg.adapters.exchange.vectors.coordinates import Coordinates
from fedavg.adapters.exchange.vectors.layout import ArrayLayout
from fedavg.errors import CapacityError, DataError, NonFiniteError, PlanError, RoundAbortedError

_CAP = 1000
_W = {"w": np.zeros(3)}


def at(record: Record | None = None, model=_W) -> Coordinates:
    record = record or Record(FixedPoint(1.0, 20, rounding="nearest"), metrics={"loss": 10.0})
    return Coordinates(record, ArrayLayout.of(model, record.carries), _CAP, "n")


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(-1, 1), min_size=3, max_size=3),
            st.floats(-10, 10),
            st.integers(1, _CAP),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_mean_is_the_weighted_mean_up_to_rounding(nodes):
    here = at()
    total = sum(here.encode({"w": np.array(x)}, {"loss": loss, "n": n}, _W) for x, loss, n in nodes)
    mean = here.decode(total, (), _W)
    weight = sum(n for *_, n in nodes)
    assert mean.weight == weight
    # Each node's rounding is half a grid unit of its weighted value.
    unit = len(nodes) * 0.5 / (2**19 - 1) * _CAP / weight * (1 + 1e-6)
    expected = sum(n * np.array(x) for x, _, n in nodes) / weight
    assert np.abs(mean.arrays["w"] - expected).max() <= unit
    assert abs(mean.metrics["loss"] - sum(n * at for _, at, n in nodes) / weight) <= 10 * unit


@pytest.mark.parametrize("encoding", [Quantised(1.0, 12), Quantised(2.0, 14)])
def test_other_encodings_give_the_mean_too(encoding):
    here = at(Record(encoding, relative=False))
    total = sum(here.encode({"w": np.full(3, 0.5)}, {"n": 1000}, _W) for _ in range(50))
    np.testing.assert_allclose(here.decode(total, (), _W).arrays["w"], 0.5, atol=2e-3)


def test_differences_are_summed_and_counters_have_their_own_range():
    model = {"w": np.full(2, 7.0, np.float32), "steps": np.array(500)}
    record = Record(FixedPoint(0.1, 20, rounding="nearest"), ranges={"steps": 50.0})
    here = at(record, model)
    one = {"w": model["w"] + np.float32(0.05), "steps": np.array(520)}
    mean = here.decode(here.encode(one, {"n": 1000}, model), (), model)
    np.testing.assert_allclose(mean.arrays["w"], 7.05, atol=1e-6)
    assert mean.arrays["w"].dtype == np.float32
    assert mean.arrays["steps"] == pytest.approx(520, abs=1e-4)
    assert list(mean.arrays) == ["w", "steps"]  # the server's order


def test_arrays_that_are_not_carried_and_metrics_that_are_not_listed_stay():
    model = {"head.w": np.zeros(2), "body.w": np.zeros(2)}
    here = at(Record(FixedPoint(1.0, 20, rounding="nearest"), arrays=("head.*",)), model)
    sent = {"head.w": np.ones(2), "body.w": np.full(2, 0.77)}
    one = here.encode(sent, {"n": 1000, "age": 41}, model)
    assert one.size == 1 + 2
    assert list(here.decode(one, (), model).arrays) == ["head.w"]


@pytest.mark.parametrize(
    ("arrays", "metrics", "error", "what"),
    [
        ({"w": np.full(3, 1.01)}, {}, CapacityError, "array 'w' has a value"),
        ({}, {"loss": -10.5}, CapacityError, "metric 'loss' has a value"),
        ({"w": np.array([0, np.nan, 0])}, {}, NonFiniteError, "array 'w' holds NaN"),
        ({"w": np.array([0, np.inf, 0])}, {}, NonFiniteError, "array 'w' holds NaN or infinity"),
        ({}, {"loss": np.nan}, NonFiniteError, "metric 'loss' holds NaN"),
        ({}, {"loss": "low"}, DataError, "metric 'loss' must be a number"),
        ({}, {"loss": [1.0]}, DataError, "metric 'loss' must be a number"),
        ({}, {"loss": None}, DataError, "metric 'loss' must be a number"),
        ({}, {"n": _CAP + 1}, CapacityError, "'n' is above"),
        ({}, {"n": -1}, DataError, "'n' must be a whole number"),
        ({}, {"n": 1.5}, DataError, "'n' must be a whole number"),
        ({}, {"n": np.nan}, DataError, "'n' must be finite"),
        ({}, {"n": True}, DataError, "'n' must be a number"),
        ({"v": np.zeros(1)}, {}, PlanError, "array 'v' is none of the server's"),
    ],
)
def test_what_does_not_fit_is_named(arrays, metrics, error, what):
    given_ = {"w": np.zeros(3), **arrays}, {"loss": 1.0, "n": 5, **metrics}
    with pytest.raises(error, match=what):
        at().encode(*given_, _W)


@pytest.mark.parametrize("missing", ["loss", "n"])
def test_a_missing_metric_is_named(missing):
    metrics = {"loss": 1.0, "n": 5}
    del metrics[missing]
    with pytest.raises(DataError, match=f"no metric '{missing}'"):
        at().encode(_W, metrics, _W)


def test_values_are_clipped_where_the_agreement_says_so():
    record = Record(FixedPoint(1.0, 20, rounding="nearest"), metrics={"loss": 10.0}, beyond="clip")
    here = at(record)
    one = here.encode({"w": np.array([3.0, -9.0, 0.5])}, {"loss": 99.0, "n": 5000}, _W)
    mean = here.decode(one, (), _W)
    assert mean.weight == _CAP
    np.testing.assert_allclose(mean.arrays["w"], [1, -1, 0.5], atol=1e-6)
    assert mean.metrics["loss"] == pytest.approx(10)
    with pytest.raises(NonFiniteError):
        here.encode({"w": np.array([np.nan, 0, 0])}, {"loss": 0.0, "n": 5}, _W)


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_the_end_of_a_range_is_within_it(value):
    here = at(Record(FixedPoint(0.1, 20, rounding="nearest"), ranges={"w": 0.7}))
    full = here.encode({"w": np.full(3, 0.7 * value)}, {"n": _CAP}, _W)
    assert full[1:].tolist() == [value * (2**19 - 1)] * 3


def test_no_weight_is_no_mean():
    here = at()
    with pytest.raises(RoundAbortedError, match="no weight"):
        here.decode(here.encode(_W, {"loss": 1.0, "n": 0}, _W), (), _W)


def test_the_caller_keeps_its_arrays():
    given_ = {"w": np.full(3, 0.5)}
    at().encode(given_, {"loss": 1.0, "n": 5}, _W)
    assert given_["w"].tolist() == [0.5] * 3
