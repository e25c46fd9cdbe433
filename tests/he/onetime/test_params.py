"""Layouts: inside the caps, with room for the noise, for every width; and parameters as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from he import CapacityError, UnsafeParametersError, WireFormatError
from he.onetime import MAX_CLIENTS, Params

SECURE_BITS = {2048: 53, 4096: 106, 8192: 214}


@given(st.integers(2, MAX_CLIENTS), st.integers(1, 62), st.integers(1, 2**24))
def test_every_layout_keeps_its_promises(n, bits, length):
    max_abs = (1 << bits) - 1
    if (2 * n * max_abs).bit_length() > 63:
        with pytest.raises(CapacityError, match="leave int64"):
            Params(n, max_abs, length)
        return
    params = Params(n, max_abs, length)
    layout = params.layout
    assert 8 * layout.word_bytes <= SECURE_BITS[layout.degree]
    assert 2**layout.field_bits > 2 * n * max_abs
    assert 4 * 21 * n <= 2**layout.noise_bits
    assert layout.noise_bits + layout.fields * layout.field_bits == 8 * layout.word_bytes
    held = sum(params.width(number) * layout.fields for number in range(params.polynomials))
    last = params.width(params.polynomials - 1)
    assert 0 <= held - length < (layout.fields if last > 128 else 128 * layout.fields)
    assert all(params.width(number) >= 128 for number in (0, params.polynomials - 1))
    assert [number for index in range(params.chunks) for number in params.in_chunk(index)] == list(
        range(params.polynomials)
    )


@pytest.mark.parametrize(("n", "bits"), [(10, 21.4), (100, 25.1), (1000, 28.6)])
def test_sixteen_bit_values_cost_few_bits(n, bits):
    params = Params(n, 2**15, 1_000_000)
    assert 8 * params.upload_bytes / 1_000_000 < bits


def test_short_vectors_take_a_small_ring():
    assert Params(100, 2**15, 100).degree == 2048
    assert Params(100, 2**15, 10**7).degree == 8192


def test_numpys_integers_are_integers():
    assert Params(np.int64(3), np.uint16(9), np.int32(5)) == Params(3, 9, 5)


@pytest.mark.parametrize(
    "values",
    [
        (1, 9, 5),
        (1561, 9, 5),
        (3, 0, 5),
        (3, 2**62, 5),
        (3, 9, 0),
        (3, 9, 2**32 + 1),
        (True, 9, 5),
        (3, 9.0, 5),
        (3, 9, "5"),
        (None, 9, 5),
    ],
)
def test_other_values_are_refused(values):
    with pytest.raises(UnsafeParametersError):
        Params(*values)


def test_parameters_travel_in_one_form():
    params = Params(5, 77, 1000)
    data = params.to_bytes()
    assert len(data) == 24
    assert Params.from_bytes(data) == params
    assert params.fingerprint != Params(5, 77, 1001).fingerprint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HE1P" + bytes(20),
        b"HE0P" + bytes(20),
        Params(5, 77, 9).to_bytes() + b"\0",
        Params(5, 77, 9).to_bytes()[:-8] + b"\xff" * 8,
    ],
)
def test_other_bytes_are_no_parameters(data):
    with pytest.raises(WireFormatError):
        Params.from_bytes(data)
