"""A frozen result does not change: the arrays that it hands out are read-only, and are no copies."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest

import fedavg.contrib
import fedavg.sums
import he
import he.onetime
import secagg
from fedavg.sums.sides.opening import OpenedSum
from secagg.committee import CommitteeParams, CommitteeResult, simulate_committee
from tests.fedavg.contract.sums import BACKENDS, secure_sum, spec_for

INPUTS = {i: np.array([i, -i, 5]) for i in range(4)}
TOTAL = [6, -6, 20]


def values(*packages):
    """The dataclasses of some packages that have an array, without those for a module's own use."""
    found = set()
    for package in packages:
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for one in vars(importlib.import_module(info.name)).values():
                if isinstance(one, type) and dataclasses.is_dataclass(one):
                    held = any("NDArray" in str(field.type) for field in dataclasses.fields(one))
                    if held and not one.__name__.startswith("_"):
                        found.add(one)
    return found


RESULTS = (secagg.SumResult, CommitteeResult, he.SumResult, OpenedSum)


def test_no_other_value_of_these_packages_has_an_array():
    """A class that joins them belongs in the tests below."""
    assert values(secagg, he, fedavg.sums, fedavg.contrib) == set(RESULTS)


def check_read_only(total):
    for write in (
        lambda: total.__setitem__(0, 7),
        lambda: np.add(total, 1, out=total),
        total.sort,
        lambda: total[1:].fill(3),
    ):
        with pytest.raises(ValueError, match="read-only"):
            write()


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_frozen_value_hands_out_what_nobody_can_write(kind):
    array = np.arange(3)
    total = kind(array, (1, 2)).total
    assert np.shares_memory(total, array)
    check_read_only(total)
    array[0] = 1  # its maker's array is as before
    assert total.tolist() == [1, 1, 2]


def of_secagg():
    params = secagg.Params.for_cohort(4, 3, max_abs=9, dropout_rate=0.25)
    return secagg.simulate(INPUTS, params)


def of_a_committee():
    shape = {"vector_length": 3, "max_clients": 4, "max_abs": 9, "min_clients": 3}
    params = CommitteeParams.for_committee(4, corrupt=1, absent=0, **shape)
    return simulate_committee(INPUTS, params)


def of_a_key_holder():
    secret = he.SecretContext.generate(he.Params.for_sum(4, max_abs=100))
    server = he.Server(secret.public(), context=b"round 1")
    for i, vector in INPUTS.items():
        for chunk in he.Client(secret, i, context=b"round 1").encrypt(vector):
            server.receive(i, chunk)
    return he.KeyHolder(secret, min_clients=2, context=b"round 1").decrypt(server.result())


SUMS = {"secagg": of_secagg, "committee": of_a_committee, "he": of_a_key_holder}
SUMS |= {
    f"fedavg, {name}": lambda backend=backend: secure_sum(
        backend, INPUTS, spec_for(INPUTS, max_abs=9)
    )
    for name, backend in BACKENDS.items()
}


@pytest.mark.parametrize("name", SUMS)
def test_every_sum_is_read_only(name):
    result = SUMS[name]()
    result = result[0] if isinstance(result, tuple) else result
    assert result.total.tolist() == TOTAL
    check_read_only(result.total)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.total = result.total + 1
