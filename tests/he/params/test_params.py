import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenseal import sealapi

from he import CapacityError, Params, UnsafeParametersError, WireFormatError
from he.params import DEGREE, MODULUS


def test_modulus_is_the_prime_that_seal_picks_itself():
    (picked,) = sealapi.CoeffModulus.Create(DEGREE, [60])
    assert picked.value() == MODULUS
    assert sealapi.CoeffModulus.MaxBitCount(DEGREE, sealapi.SEC_LEVEL_TYPE.TC128) == 109


@pytest.mark.parametrize("n_clients", [2, 10, 47, 100, 1000, 5000])
@pytest.mark.parametrize("bits", [2, 8, 16, 20, 32])
def test_bfv_headroom_makes_a_wrong_digit_impossible(n_clients, bits):
    """n times (error 21, scaling 1, half of what is dropped) stays below q/2t; hence log2 q/t ≥ log2 43n."""
    params = Params.for_sum(n_clients, max_abs=2 ** (bits - 1), scheme="bfv")
    t, dropped = params.plain_modulus, 60 - params.word_bits
    assert t == params.radix**params.fields
    assert 2 * n_clients * (22 + (2**dropped) // 2) * t < MODULUS
    assert 43 * n_clients * t <= MODULUS
    assert 2 * n_clients * 22 * t * params.radix >= MODULUS or params.fields == 16
    assert 2 * n_clients * (22 + 2 ** (dropped + 3)) * t >= MODULUS or dropped == 28


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
@pytest.mark.parametrize("public_key", [False, True])
@pytest.mark.parametrize(("n_clients", "max_abs"), [(2, 2**30), (10, 2**15), (50, 127), (1000, 1)])
def test_fields_of_the_sum_fit_their_slot(n_clients, max_abs, scheme, public_key):
    params = Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme, public_key=public_key)
    if params.limbs == 1:
        assert params.radix == 2 * n_clients * max_abs + 1
    if scheme == "bfv":
        assert params.radix**params.fields <= params.plain_modulus
        assert params.rounding_error == 0
    else:
        assert params.rounding_error < 0.5
        assert 2 * 2**0.5 * params.slot_bound * params.scale < MODULUS
        assert math.log2(params.scale).is_integer()


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
@pytest.mark.parametrize("public_key", [False, True])
@pytest.mark.parametrize("n_clients", [2, 3, 10, 47, 100, 317, 1000])
def test_every_width_up_to_32_bits_has_parameters(n_clients, scheme, public_key):
    for bits in range(2, 33):
        params = Params.for_sum(
            n_clients, max_abs=2 ** (bits - 1), scheme=scheme, public_key=public_key
        )
        assert params.values_per_ciphertext >= DEGREE // 2


def possible(n_clients, max_abs, scheme, *, public_key, limbs):
    """(upload, download) bits of an integer in `limbs` limbs, from the formulas of docs/he.md."""
    if limbs == 1:
        bound = max_abs
    else:  # balanced limbs of k bits; the last one takes the rest and a carry
        k = math.ceil((max_abs.bit_length() + 1) / limbs)
        bound = max(2 ** (k - 1), max_abs // 2 ** (k * (limbs - 1)) + 1)
    digit = 2 * n_clients * bound + 1
    variance = 10.5 * (2 * DEGREE + 1 if public_key else 1)
    found = None
    for fields in range(1, 17):
        bits = None
        if scheme == "bfv":
            error = math.ceil(12 * variance**0.5) if public_key else 21
            drops = (0,) if public_key else (28, 24, 20, 16, 12, 8, 4, 0)
            fits = (
                60 - d
                for d in drops
                if 2 * n_clients * (error + 1 + 2**d // 2) * digit**fields < MODULUS
            )
            bits = next(fits, None)
        else:
            bound = (digit**fields - 1) // 2
            room = math.log2(MODULUS / 2) - 0.5 - math.log2(bound + 1)
            if room >= 0:
                scale = 2.0 ** min(30, math.floor(room))
                noise = (12 * (variance * DEGREE / 2) ** 0.5 + DEGREE / math.pi) / scale
                bits = 60 if n_clients * noise + bound * 2.0**-47 < 0.5 else None
        if bits is not None:
            found = bits * limbs / fields, 60 * limbs / fields
    return found


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
@pytest.mark.parametrize("public_key", [False, True])
@pytest.mark.parametrize("n_clients", [2, 3, 10, 47, 100, 1000])
def test_no_number_of_limbs_takes_fewer_bytes(n_clients, scheme, public_key):
    for bits in range(2, 33):
        options = (
            possible(n_clients, 2 ** (bits - 1), scheme, public_key=public_key, limbs=limbs)
            for limbs in range(1, 9)
        )
        least = min(option for option in options if option is not None)
        params = Params.for_sum(
            n_clients, max_abs=2 ** (bits - 1), scheme=scheme, public_key=public_key
        )
        share = params.limbs / params.fields
        assert (params.word_bits * share, 60 * share) == pytest.approx(least)


@pytest.mark.parametrize(
    ("scheme", "public_key", "upload"), [("ckks", False, 5.0), ("bfv", True, 10.0)]
)
def test_twenty_bits_share_slots_in_limbs(scheme, public_key, upload):
    """One integer a slot would take 7.5 and 15 bytes."""
    params = Params.for_sum(10, max_abs=2**19, scheme=scheme, public_key=public_key)
    assert (params.limbs, params.fields) == (2, 3)
    assert params.parts * params.word_bits * params.limbs / params.fields / 8 == upload


@pytest.mark.parametrize(("scheme", "limbs"), [("ckks", 2), ("bfv", 1)])
def test_integers_too_wide_for_a_slot_take_two(scheme, limbs):
    assert Params.for_sum(1000, max_abs=2**31, scheme=scheme).limbs == limbs
    assert Params.for_sum(1000, max_abs=2**40, scheme=scheme).limbs == 2


def test_sums_that_fit_nothing_are_refused_with_a_remedy():
    with pytest.raises(CapacityError, match=r"reduce max_abs .* or n_clients"):
        Params.for_sum(2**20, max_abs=2**40, scheme="ckks", public_key=True)
    with pytest.raises(CapacityError, match="leave int64; reduce max_abs or n_clients"):
        Params.for_sum(1000, max_abs=2**54)


def test_public_key_mode_pays_with_room():
    symmetric = Params.for_sum(10, max_abs=2**19, scheme="bfv")
    public = Params.for_sum(10, max_abs=2**19, scheme="bfv", public_key=True)
    assert (symmetric.limbs, symmetric.fields) == (1, 2)
    assert (public.limbs, public.fields) == (2, 3)


@pytest.mark.parametrize(("n_clients", "bits"), [(2, 16), (10, 24), (100, 40), (1000, 20)])
def test_residues_wrap_in_the_plain_modulus(n_clients, bits):
    params = Params.for_sum(n_clients, ring_bits=bits, scheme="bfv")
    assert params.layout.modular
    assert params.max_abs == 2**bits - 1
    width = params.radix.bit_length() - 1
    assert 2**width >= n_clients * 2**bits
    assert params.plain_modulus == 2 ** ((params.fields - 1) * width + bits)
    assert 43 * n_clients * params.plain_modulus <= MODULUS


def test_residues_too_wide_for_a_plain_modulus_are_split():
    params = Params.for_sum(1000, ring_bits=60, scheme="bfv")
    assert (params.layout.modular, params.limbs) == (False, 2)
    assert Params.for_sum(100, ring_bits=24).limbs == 1


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
        {"n_clients": 2, "max_abs": 1, "ring_bits": 1},
        {"n_clients": 2, "max_abs": 2, "ring_bits": 63},
        {"n_clients": 2, "max_abs": 2, "ring_bits": 2},
    ],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(UnsafeParametersError):
        Params(**arguments)


def test_one_of_the_two_bounds_is_needed():
    with pytest.raises(UnsafeParametersError, match="give max_abs, or ring_bits"):
        Params.for_sum(3)


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
    st.binary(min_size=0, max_size=30) | st.binary(min_size=15, max_size=15).map(b"HEP3".__add__)
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
        params = Params.for_sum(n_clients, max_abs=int(1.045**exponent) + 1)
        margins.append(params.rounding_error)
    assert 0.25 < max(margins) < 0.5
