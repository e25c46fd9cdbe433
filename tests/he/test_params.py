import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenseal import sealapi

from he import CapacityError, Params, UnsafeParametersError, WireFormatError
from he.params import DEGREE, MODULUS


def is_prime(number):
    """Fermat to many bases and trial division: independent of the package's own test."""
    return all(number % p for p in range(2, 5000)) and all(
        pow(b, number - 1, number) == 1 for b in range(2, 60)
    )


def test_modulus_is_the_prime_that_seal_picks_itself():
    (picked,) = sealapi.CoeffModulus.Create(DEGREE, [60])
    assert picked.value() == MODULUS
    assert sealapi.CoeffModulus.MaxBitCount(DEGREE, sealapi.SEC_LEVEL_TYPE.TC128) == 109


@pytest.mark.parametrize("n_clients", [2, 10, 47, 100, 1000, 5000])
def test_bfv_headroom_makes_a_wrong_digit_impossible(n_clients):
    params = Params.for_sum(n_clients, max_abs=1, scheme="bfv")
    t = params.plain_modulus
    assert 43 * n_clients * t <= MODULUS
    assert t % (2 * DEGREE) == 1
    assert is_prime(t)
    nothing_larger = range(t + 2 * DEGREE, MODULUS // (43 * n_clients), 2 * DEGREE)
    assert not any(is_prime(candidate) for candidate in nothing_larger)


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
@pytest.mark.parametrize("public_key", [False, True])
@pytest.mark.parametrize(("n_clients", "max_abs"), [(2, 2**30), (10, 2**15), (50, 127), (1000, 1)])
def test_fields_of_the_sum_fit_their_slot(n_clients, max_abs, scheme, public_key):
    params = Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme, public_key=public_key)
    assert params.radix == 2 * n_clients * max_abs + 1
    if scheme == "bfv":
        assert params.radix**params.fields <= params.plain_modulus
        assert params.rounding_error == 0
    else:
        assert params.rounding_error < 0.5
        assert 2 * 2**0.5 * params.slot_bound * params.scale < MODULUS
        assert math.log2(params.scale).is_integer()


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_forty_bits_fit_at_small_n(scheme):
    assert Params.for_sum(10, max_abs=2**40, scheme=scheme).fields == 1


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_too_large_a_sum_is_refused_with_a_remedy(scheme):
    with pytest.raises(CapacityError, match=r"reduce max_abs .* or n_clients"):
        Params.for_sum(1000, max_abs=2**40, scheme=scheme)


def test_public_key_mode_pays_with_room():
    symmetric = Params.for_sum(10, max_abs=100, scheme="bfv")
    public = Params.for_sum(10, max_abs=100, scheme="bfv", public_key=True)
    assert public.plain_modulus < symmetric.plain_modulus / 30


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_clients": 1, "max_abs": 1},
        {"n_clients": 2**20 + 1, "max_abs": 1},
        {"n_clients": 2, "max_abs": 0},
        {"n_clients": 2, "max_abs": 2**62},
        {"n_clients": 2.0, "max_abs": 1},
        {"n_clients": True, "max_abs": 1},
        {"n_clients": 2, "max_abs": 1.5},
        {"n_clients": 2, "max_abs": 1, "scheme": "paillier"},
    ],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(UnsafeParametersError):
        Params(**arguments)


def test_parameters_are_frozen_and_slotted():
    params = Params.for_sum(3, max_abs=10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.max_abs = 5
    assert not hasattr(params, "__dict__")


@given(
    st.integers(2, 2000),
    st.integers(1, 2**24),
    st.sampled_from(["ckks", "bfv"]),
    st.booleans(),
)
def test_bytes_round_trip(n_clients, max_abs, scheme, public_key):
    params = Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme, public_key=public_key)
    assert Params.from_bytes(params.to_bytes()) == params


@given(
    st.binary(min_size=0, max_size=30) | st.binary(min_size=14, max_size=14).map(b"HEP1".__add__)
)
def test_any_bytes_are_parameters_or_a_wire_error(data):
    try:
        params = Params.from_bytes(data)
    except WireFormatError:
        return
    assert params.to_bytes() == data


def test_identifier_depends_on_every_field():
    base = {"n_clients": 3, "max_abs": 10, "scheme": "bfv", "public_key": False}
    others = [{"n_clients": 4}, {"max_abs": 11}, {"scheme": "ckks"}, {"public_key": True}]
    identifiers = {Params(**{**base, **change}).identifier for change in [{}, *others]}
    assert len(identifiers) == 5


@pytest.mark.parametrize("n_clients", [2, 10, 100, 1000])
def test_ckks_margins_hold_wherever_capacity_ends(n_clients):
    """A fine scan of bounds, so that some fall just short of what a slot can take."""
    margins = []
    for exponent in range(700):
        try:
            params = Params.for_sum(n_clients, max_abs=int(1.045**exponent) + 1)
        except CapacityError:
            break
        margins.append(params.rounding_error)
    assert 0.3 < max(margins) < 0.5
    assert len(margins) < 700
