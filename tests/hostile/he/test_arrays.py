"""E7: arrays in disguise. Whatever a client is given is summed exactly, or refused with an error of `he`."""

import numpy as np
import pytest

import he
from tests.he.support.rounds import fresh_context, keys

SECRET = keys(3, 1000)


class Sub(np.ndarray):
    """A subclass that changes nothing, as far as anyone can see."""


class Lying(np.ndarray):
    """A subclass whose extremes are not those of its memory."""

    def max(self, *_, **__):
        return 0

    def min(self, *_, **__):
        return 0


def encrypted(vector, context):
    return list(he.Client(SECRET, 0, context=context).encrypt(vector))


def summed(vector):
    """The vector plus a plain one of ones."""
    context = fresh_context()
    server = he.Server(SECRET.public(), context=context, vector_length=len(vector))
    for chunk in encrypted(vector, context):
        server.receive(0, chunk)
    for chunk in he.Client(SECRET, 1, context=context).encrypt(np.ones(len(vector), np.int64)):
        server.receive(1, chunk)
    return he.KeyHolder(SECRET, min_clients=2, context=context).decrypt(server.result()).total


def mapped(tmp_path):
    path = tmp_path / "vector"
    np.arange(6, dtype=np.int64).tofile(path)
    return np.memmap(path, np.int64, "r")


EXACT = {
    "plain": lambda _: np.arange(6),
    "strided": lambda _: np.arange(12)[::2],
    "reversed": lambda _: np.arange(6)[::-1],
    "read only": lambda _: np.frombuffer(np.arange(6).tobytes(), np.int64),
    "memory-mapped": mapped,
    "a column": lambda _: np.arange(18).reshape(6, 3)[:, 1],
    "a broadcast": lambda _: np.broadcast_to(np.int64(7), 6),
}

REFUSED = {
    "masked": np.ma.masked_array(np.arange(6), mask=[0, 1, 0, 0, 0, 0]),
    "masked, nothing hidden": np.ma.masked_array(np.arange(6)),
    "subclass": np.arange(6).view(Sub),
    "matrix": np.arange(6).view(np.matrix),
    "record": np.rec.array(np.arange(6)),
    "big-endian": np.arange(6, dtype=">i8"),
    "int32": np.arange(6, dtype=np.int32),
    "uint64": np.arange(6, dtype=np.uint64),
    "bool": np.ones(6, bool),
    "float": np.ones(6),
    "timedelta": np.arange(6).astype("m8[s]"),
    "object": np.arange(6).astype(object),
    "text": np.array(["1", "2"]),
    "structured": np.zeros(6, [("a", np.int64)]),
    "two dimensions": np.ones((2, 3), np.int64),
    "no dimension": np.array(3),
    "empty": np.empty(0, np.int64),
    "numpy scalar": np.int64(3),
    "list": [1, 2, 3],
    "tuple": (1, 2),
    "bytes": b"12345678",
    "str": "123",
    "None": None,
    "int": 3,
}


@pytest.mark.parametrize("name", EXACT)
def test_e7_arrays_of_any_memory_are_summed_exactly(name, tmp_path):
    vector = EXACT[name](tmp_path)
    assert summed(vector).tolist() == [1 + int(value) for value in vector]


@pytest.mark.parametrize("name", REFUSED)
def test_e7_arrays_in_disguise_are_refused_and_spend_nothing(name):
    client = he.Client(SECRET, 0, context=b"round")
    with pytest.raises(he.LocalProtocolError, match="the vector must"):
        client.encrypt(REFUSED[name])
    with pytest.raises(he.LocalProtocolError, match="the vector must"):
        he.encrypt_chunks(client, REFUSED[name])
    assert len(list(client.encrypt(np.array([1, 2, 3])))) == 1  # still unused


@pytest.mark.parametrize("value", [3000, -(2**63), 2**63 - 1])
def test_e7_a_masked_entry_hides_no_value_from_the_range_check(value):
    hidden = np.ma.masked_array([1, value, 3], mask=[0, 1, 0])
    with pytest.raises(he.LocalProtocolError, match="MaskedArray"):
        encrypted(hidden, b"round")
    with pytest.raises(he.CapacityError):
        encrypted(hidden.data, b"round")


@pytest.mark.parametrize("kind", ["masked", "lying"])
def test_e7_mutant_that_takes_subclasses_encrypts_what_it_has_not_checked(kind, monkeypatch):
    """The hidden value passes the range check, and its digit carries into another coordinate."""
    monkeypatch.setattr(
        "he.coding.packing.is_int64_array", lambda value: isinstance(value, np.ndarray)
    )
    radix = SECRET.params.radix
    length = 2 * SECRET.params.slots
    vector = np.zeros(length, np.int64)
    vector[0] = radix  # one unit of coordinate N, and none of this one
    disguise = (
        np.ma.masked_array(vector, mask=vector != 0) if kind == "masked" else vector.view(Lying)
    )
    total = summed(disguise) - 1
    assert int(total[0]) == 0
    assert int(total[SECRET.params.slots]) == 1
