"""Where metrics and arrays stand among the reals."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg import FixedPoint
from fedavg.adapters.exchange import Record
from fedavg.adapters.exchange.vectors.layout import ArrayLayout
from fedavg.adapters.exchange.vectors.places import Places
from fedavg.errors import DataError, PlanError

SERVER = {"b": np.ones(2, np.float32), "a": np.zeros((1, 2))}
RECORD = Record(FixedPoint(1.0, 16, rounding="nearest"), metrics={"z": 2.0, "y": 3.0})
AT = Places(RECORD, ArrayLayout.of(SERVER))


def test_what_is_gathered_comes_back_in_the_servers_order():
    sent = {"b": np.array([3.0, 5.0], np.float32), "a": np.array([[1.0, 2.0]])}
    values = AT.gathered(sent, {"y": 7, "z": 8.0, "other": 1}, SERVER)
    assert values.tolist() == [7, 8, 1, 2, 2, 4]
    mean = AT.mean(values, 9, (4,), SERVER)
    assert list(mean.arrays) == ["b", "a"]
    assert mean.arrays["b"].tolist() == [3, 5]
    assert mean.metrics == {"y": 7, "z": 8}
    assert (mean.weight, mean.contributors) == (9, (4,))


def test_what_is_missing_or_new_is_named():
    with pytest.raises(DataError, match="no metric 'z'"):
        AT.gathered(SERVER, {"y": 1.0}, SERVER)
    with pytest.raises(PlanError, match="'c' is none of the server's"):
        AT.gathered({**SERVER, "c": np.ones(1)}, {"y": 1.0, "z": 1.0}, SERVER)
    with pytest.raises(PlanError, match="'a' is missing"):
        AT.gathered({"b": SERVER["b"]}, {"y": 1.0, "z": 1.0}, SERVER)
