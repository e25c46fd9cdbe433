import numpy as np
import pytest
from tenseal import sealapi

from he import Params, RemoteProtocolError, UnsafeParametersError, WireFormatError
from he import scheme as scheme_module
from he.layout import pack_coefficients, read_body
from he.params import DEGREE, MODULUS
from he.scheme import Decryptor, Encryptor, Ring, ring_for

SCHEMES = ["ckks", "bfv"]


def parts(scheme, n_clients=10, max_abs=1000, *, public_key=False):
    ring = ring_for(
        Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme, public_key=public_key)
    )
    key = ring.generate_key()
    encryptor = Encryptor(ring, ring.public_key(key) if public_key else key)
    return ring, encryptor, Decryptor(ring, key)


def random_slots(ring, seed=0):
    bound = ring.params.slot_bound // ring.params.n_clients
    return np.random.default_rng(seed).integers(
        -bound, bound, DEGREE, dtype=np.int64, endpoint=True
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("public_key", [False, True])
def test_what_is_sent_is_what_is_tagged_and_opens_to_the_slots(scheme, public_key):
    ring, encryptor, decryptor = parts(scheme, public_key=public_key)
    slots = random_slots(ring)
    encrypted = encryptor.encrypt(slots)
    ciphertext = ring.ciphertext(*read_body(encrypted.body))
    assert np.array_equal(ring.coefficients(ciphertext), encrypted.coefficients)
    assert np.array_equal(decryptor.decrypt(encrypted.coefficients), slots)
    assert len(encrypted.body) == (61440 if public_key else 30784)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_coefficients_are_seals_own(scheme):
    ring, encryptor, _ = parts(scheme)
    ciphertext = ring.ciphertext(*read_body(encryptor.encrypt(random_slots(ring)).body))
    array = ciphertext.dyn_array()
    ours = ring.coefficients(ciphertext)
    assert [array.at(i) for i in range(array.size())] == ours.tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_addition_is_coefficient_by_coefficient(scheme):
    ring, encryptor, decryptor = parts(scheme)
    left, right = (encryptor.encrypt(random_slots(ring, seed)).coefficients for seed in (1, 2))
    total = ring.coefficients(ring.add(ring.ciphertext(left), ring.ciphertext(right)))
    assert np.array_equal(total, (left + right) % np.uint64(MODULUS))
    assert np.array_equal(decryptor.decrypt(total), random_slots(ring, 1) + random_slots(ring, 2))


def test_squeezed_files_take_the_slow_way_to_the_same_end(monkeypatch):
    ring, encryptor, decryptor = parts("bfv")
    slots = random_slots(ring)
    monkeypatch.setattr(scheme_module, "stored_content", lambda _: None)
    encrypted = encryptor.encrypt(slots)
    assert len(encrypted.body) == 61440
    assert encrypted.body == pack_coefficients(encrypted.coefficients)
    assert np.array_equal(decryptor.decrypt(encrypted.coefficients), slots)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_temporary_files_stand_in_for_memory_files(scheme, monkeypatch):
    monkeypatch.delattr(scheme_module.os, "memfd_create")
    ring, encryptor, decryptor = parts(scheme)
    slots = random_slots(ring)
    assert np.array_equal(decryptor.decrypt(encryptor.encrypt(slots).coefficients), slots)


def test_one_ciphertext_a_thousand_times_opens_to_the_exact_product():
    """BFV's bound is for the worst case: equal errors, which no 12-sigma argument covers."""
    ring, encryptor, decryptor = parts("bfv", 1000, 1000)
    slots = random_slots(ring)
    fresh = ring.ciphertext(encryptor.encrypt(slots).coefficients)
    total = fresh
    for _ in range(999):
        total = ring.add(total, fresh)
    assert np.array_equal(decryptor.decrypt(ring.coefficients(total)), 1000 * slots)


@pytest.mark.parametrize("public_key", [False, True])
def test_ckks_noise_is_what_the_margin_was_computed_from(public_key):
    """Standard deviation of the slot error against the formula behind `rounding_error`.

    16 ciphertexts, 65,536 slot errors; those of one ciphertext are uncorrelated, so the estimate's
    relative deviation is about 1/√131072 = 0.3 %. Refused outside ±5 %: over 15 deviations, false
    alarm below 1e-40.
    """
    ring, encryptor, _ = parts("ckks", 10, 1, public_key=public_key)
    key = ring.generate_key()
    encryptor = Encryptor(ring, ring.public_key(key) if public_key else key)
    opener = sealapi.Decryptor(ring.context, ring.load_secret_key(key))
    encoder = sealapi.CKKSEncoder(ring.context)
    errors = []
    for _ in range(16):
        plain = sealapi.Plaintext()
        fresh = encryptor.encrypt(np.zeros(DEGREE, np.int64)).coefficients
        opener.decrypt(ring.ciphertext(fresh), plain)
        values = np.array(encoder.decode_complex(plain))
        errors += [values.real, values.imag]
    measured = float(np.std(np.concatenate(errors)))
    factor = 4 * DEGREE / 3 + 1 if public_key else 1
    # zeros are encoded without a rounding error
    predicted = (10.5 * factor * DEGREE / 2) ** 0.5 / ring.params.scale
    assert 0.95 < measured / predicted < 1.05
    assert 12 * predicted * 10**0.5 <= ring.params.rounding_error


def test_noise_that_no_honest_sum_carries_is_refused():
    ring, encryptor, decryptor = parts("ckks", 2, 2**30)
    coefficients = encryptor.encrypt(random_slots(ring)).coefficients
    coefficients[:8] += np.uint64(round(ring.params.scale) // 2)
    with pytest.raises(RemoteProtocolError, match="noise"):
        decryptor.decrypt(coefficients % np.uint64(MODULUS))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_seal_refuses_coefficients_beyond_q(scheme):
    ring, _, _ = parts(scheme)
    with pytest.raises(WireFormatError, match="SEAL refuses to load"):
        ring.ciphertext(np.full(2 * DEGREE, MODULUS, np.uint64))


def test_sums_that_cancel_out_are_a_typed_error():
    ring, encryptor, _ = parts("bfv")
    fresh = encryptor.encrypt(random_slots(ring)).coefficients
    negated = (np.uint64(MODULUS) - fresh) % np.uint64(MODULUS)
    with pytest.raises(RemoteProtocolError, match="refuses to add"):
        ring.add(ring.ciphertext(fresh), ring.ciphertext(negated))


def test_parameters_that_seal_refuses_are_unsafe(monkeypatch):
    params = Params.for_sum(3, max_abs=10, scheme="bfv")
    monkeypatch.setattr(scheme_module, "MODULUS", MODULUS + 2)  # not a prime ≡ 1 mod 2N
    with pytest.raises(UnsafeParametersError, match="SEAL refuses"):
        Ring(params)
    monkeypatch.setattr(scheme_module, "MODULUS", MODULUS)
    monkeypatch.setattr(scheme_module, "DEGREE", 1024)  # log2 q ≤ 27 at 128 bits
    with pytest.raises(UnsafeParametersError, match="SEAL refuses"):
        Ring(params)


def test_fresh_randomness_each_time():
    ring, encryptor, _ = parts("bfv")
    slots = random_slots(ring)
    first, second = encryptor.encrypt(slots), encryptor.encrypt(slots)
    assert first.body[-64:] != second.body[-64:]
    assert not (first.coefficients == second.coefficients).any()
