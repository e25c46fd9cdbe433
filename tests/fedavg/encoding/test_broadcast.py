"""Broadcasts in fewer bytes: sizes, errors, one form only, and refusals at the client."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.encoding.broadcast import FORMATS, ModelCodec
from fedavg.errors import FedAvgError, LocalProtocolError, NonFiniteError, PlanError
from fedavg.models.layout import Layout

LAYOUT = Layout(("w", "b", "k", "s"), ((3, 5), (3,), (2, 1, 2, 2), ()))  # 15 + 3 + 8 + 1
SIZES = {"float32": 108, "float16": 54, "int8": 4 * 7 + 27, "int4": 4 * 7 + 14}
LEVELS = {"int8": 127, "int4": 7}


def codec(kind):
    return ModelCodec(kind, LAYOUT)


def model(seed, scale=1.0):
    return np.random.default_rng(seed).standard_normal(LAYOUT.size) * scale


@pytest.mark.parametrize("kind", FORMATS)
def test_sizes_are_the_stated_ones(kind):
    assert codec(kind).size == len(codec(kind).encode(model(0))) == SIZES[kind]


def test_a_large_layer_takes_a_quarter_and_an_eighth():
    layout = Layout(("w",), ((10, 784),))
    whole = ModelCodec("float32", layout).size
    assert whole / ModelCodec("int8", layout).size == pytest.approx(4, rel=0.01)
    assert whole / ModelCodec("int4", layout).size == pytest.approx(8, rel=0.02)


@given(
    st.sampled_from(FORMATS),
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=27, max_size=27),
)
@settings(max_examples=100, deadline=None)
def test_any_finite_model_has_one_form(kind, values):
    """Subnormal, zero and huge values included: what was read is written as the same bytes."""
    if kind == "float32":
        values = np.clip(values, -1e38, 1e38)
    data = codec(kind).encode(np.array(values))
    back = codec(kind).decode(data)
    assert back.shape == (27,)
    assert codec(kind).encode(back) == data


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_each_channel_errs_by_half_a_step_of_its_own(kind):
    vector = model(1)
    vector[5:10] *= 1000  # one row of w
    error = np.abs(codec(kind).decode(codec(kind).encode(vector)) - vector)
    for rows in (slice(0, 5), slice(5, 10), slice(10, 15), slice(15, 18), slice(18, 22)):
        assert error[rows].max() <= np.abs(vector[rows]).max() / LEVELS[kind] / 2 * (1 + 1e-6)
    assert error[5:10].max() > error[0:5].max() * 100


def test_known_bytes():
    tiny = Layout(("w",), ((1, 3),))
    vector = np.array([3.5, -0.5, 1.0])
    assert ModelCodec("int4", tiny).encode(vector).hex() == "0000003f" + "f7" + "02"
    scale = np.float32(3.5 / 127).tobytes().hex()
    assert ModelCodec("int8", tiny).encode(vector).hex() == scale + "7fee24"
    assert ModelCodec("float16", tiny).encode(vector).hex() == "0043" + "00b8" + "003c"


def test_half_floats_saturate():
    layout = Layout(("w",), ((2,),))
    half = ModelCodec("float16", layout)
    assert half.decode(half.encode(np.array([1e9, -1e9]))).tolist() == [65504.0, -65504.0]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_model_of_another_size_is_refused(kind, change):
    data = codec(kind).encode(model(0))
    with pytest.raises(LocalProtocolError, match="bytes, but the model's 27 parameters take"):
        codec(kind).decode(data[:change] if change < 0 else data + b"\0")


@pytest.mark.parametrize(
    ("kind", "at", "byte"),
    [
        ("int8", 28 + 2, 0x80),  # −128 is no level
        ("int4", 28, 0x08),  # nor is −8
        ("int4", 28 + 13, 0x11),  # padding that is not zero
        ("int8", 3, 0xBF),  # a negative scale
        ("int8", 3, 0x7F),  # a scale of NaN or beyond 2^100
        ("int8", 3, 0x00),  # a scale below 2^−100 with values
        ("float16", 1, 0x7C),  # NaN or infinity
    ],
)
def test_another_form_is_refused(kind, at, byte):
    data = bytearray(codec(kind).encode(model(0)))
    data[at] = byte
    with pytest.raises(LocalProtocolError, match="no canonical"):
        codec(kind).decode(bytes(data))


@given(st.sampled_from(["float16", "int8", "int4"]), st.data())
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_model_of_that_very_form_or_a_typed_error(kind, data):
    sent = data.draw(st.binary(min_size=SIZES[kind], max_size=SIZES[kind]))
    try:
        vector = codec(kind).decode(sent)
    except FedAvgError:
        return
    assert codec(kind).encode(vector) == sent


def test_the_check_of_the_form_is_what_refuses(monkeypatch):
    """Mutant: a client that does not re-encode takes a scale without its largest value."""
    data = bytearray(codec("int8").encode(model(0)))
    data[28:33] = bytes([1, 1, 1, 1, 1])
    with pytest.raises(LocalProtocolError):
        codec("int8").decode(bytes(data))
    monkeypatch.setattr(ModelCodec, "encode", lambda self, vector: bytes(data))
    assert codec("int8").decode(bytes(data)).shape == (27,)


@pytest.mark.parametrize("kind", ["float16", "int8", "int4"])
def test_a_model_that_is_not_finite_is_not_sent(kind):
    vector = model(0)
    vector[4] = np.nan
    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        codec(kind).encode(vector)


def test_other_formats_are_refused():
    with pytest.raises(PlanError, match="int2"):
        codec("int2")
