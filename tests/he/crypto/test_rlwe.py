import struct

import numpy as np
import pytest
from tenseal import sealapi

import he
from he import Params, RemoteProtocolError, UnsafeParametersError, WireFormatError
from he import scheme as scheme_module
from he.coding.plaintexts import decode, encode
from he.crypto.rlwe import Decryptor, PublicKeyEncryptor, SymmetricEncryptor
from he.crypto.streams import UniformSums, sample_errors, sum_uniform, uniform
from he.params import DEGREE, MODULUS
from he.scheme import Multiplier, Ring, _words, the_ring

SCHEMES = ["ckks", "bfv"]
NONCE = bytes(range(32))


def parties(*, public_key=False):
    key = the_ring().generate_key()
    encryptor = (
        PublicKeyEncryptor(the_ring().public_key(key)) if public_key else SymmetricEncryptor(key)
    )
    return key, encryptor, Decryptor(key)


def random_slots(params, count=2, seed=0):
    bound = params.slot_bound // params.n_clients
    return np.random.default_rng(seed).integers(
        -bound, bound, (count, DEGREE), dtype=np.int64, endpoint=True
    )


def negacyclic(left, right, place):
    """One coefficient of left·right mod x^N + 1, by the definition."""
    turned = [*right[place::-1], *(-value for value in right[:place:-1])]
    return sum(x * y for x, y in zip(left, turned, strict=True)) % MODULUS


def seal(scheme, t=65537):
    """SEAL alone with our prime; this code does not use the package."""
    kind = sealapi.SCHEME_TYPE.BFV if scheme == "bfv" else sealapi.SCHEME_TYPE.CKKS
    parameters = sealapi.EncryptionParameters(kind)
    parameters.set_poly_modulus_degree(DEGREE)
    parameters.set_coeff_modulus([sealapi.Modulus(MODULUS)])
    if scheme == "bfv":
        parameters.set_plain_modulus(t)
    return sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)


def seal_load(value, context, tail, tmp_path):
    head = struct.pack("<4Q", *context.first_parms_id())
    content = head + tail
    path = tmp_path / "object"
    version = the_ring()._files.version
    path.write_bytes(
        struct.pack("<HB2sBHQ", 0xA15E, 16, version, 0, 0, 16 + len(content)) + content
    )
    value.load(context, str(path))
    return value


def words(array):
    head = struct.pack("<HB2sBHQ", 0xA15E, 16, the_ring()._files.version, 0, 0, 24 + array.nbytes)
    return head + struct.pack("<Q", array.size) + array.astype("<u8").tobytes()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("public_key", [False, True])
def test_what_is_encrypted_opens_to_the_slots(scheme, public_key):
    params = Params.for_sum(10, max_abs=1000, scheme=scheme, public_key=public_key)
    _, encryptor, decryptor = parties(public_key=public_key)
    slots = random_slots(params, 3)
    parts = encryptor.encrypt(encode(slots, params), NONCE, 5)
    assert parts.shape == (params.parts, 3, DEGREE)
    phase = decryptor.phase(parts, [NONCE], 5)
    assert np.array_equal(decode(phase, params, contributors=1), slots)


@pytest.mark.parametrize("bits", [8, 20])
def test_seals_own_bfv_decryptor_opens_our_ciphertexts(bits, tmp_path):
    params = Params.for_sum(10, max_abs=2 ** (bits - 1), scheme="bfv")
    key, encryptor, _ = parties()
    slots = random_slots(params, 1)
    (first,) = encryptor.encrypt(encode(slots, params), NONCE, 0)
    context = seal("bfv", params.plain_modulus)
    ntt = seal_load(
        sealapi.Ciphertext(),
        context,
        struct.pack("<?3QdQ", True, 2, DEGREE, 1, 1.0, 1)
        + words(np.concatenate((uniform(NONCE, 0, 1),) * 2).reshape(-1)),
        tmp_path,
    )
    sealapi.Evaluator(context).transform_from_ntt_inplace(ntt)
    second = _words(ntt)[:DEGREE]
    whole = seal_load(
        sealapi.Ciphertext(),
        context,
        struct.pack("<?3QdQ", False, 2, DEGREE, 1, 1.0, 1)
        + words(np.concatenate((first[0], second))),
        tmp_path,
    )
    secret_key = seal_load(
        sealapi.SecretKey(), context, struct.pack("<Qd", DEGREE, 1.0) + words(key), tmp_path
    )
    plain = sealapi.Plaintext()
    sealapi.Decryptor(context, secret_key).decrypt(whole, plain)
    opened = [plain[i] for i in range(plain.coeff_count())]
    opened += [0] * (DEGREE - len(opened))
    assert opened == (slots[0] % params.plain_modulus).tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_we_open_what_seals_own_encryptor_makes(scheme, tmp_path):
    """Encoded and encrypted by SEAL alone, opened here; CKKS slots in SEAL's order are powers of 3."""
    params = Params.for_sum(10, max_abs=1000, scheme=scheme)
    context = seal(scheme, params.plain_modulus or 65537)
    key, _, decryptor = parties()
    loaded = seal_load(
        sealapi.SecretKey(), context, struct.pack("<Qd", DEGREE, 1.0) + words(key), tmp_path
    )
    encryptor, ciphertext = sealapi.Encryptor(context, loaded), sealapi.Ciphertext()
    slots = random_slots(params, 1)[0]
    plain = sealapi.Plaintext()
    if scheme == "bfv":
        residues = (slots % params.plain_modulus).astype(np.uint64)
        tail = bytes(32) + struct.pack("<Qd", DEGREE, 1.0) + words(residues)
        (tmp_path / "plain").write_bytes(
            struct.pack("<HB2sBHQ", 0xA15E, 16, the_ring()._files.version, 0, 0, 16 + len(tail))
            + tail
        )
        plain.load(context, str(tmp_path / "plain"))
    else:
        values = slots[: DEGREE // 2] + 1j * slots[DEGREE // 2 :]
        exponent = np.array([pow(3, j, 2 * DEGREE) for j in range(DEGREE // 2)])
        same = exponent % 4 == 1
        place = np.where(same, exponent - 1, 2 * DEGREE - exponent - 1) // 4
        ordered = np.where(same, values[place], values[place].conj())
        sealapi.CKKSEncoder(context).encode(ordered.tolist(), params.scale, plain)
    encryptor.encrypt_symmetric(plain, ciphertext)
    if scheme == "ckks":
        sealapi.Evaluator(context).transform_from_ntt_inplace(ciphertext)
    parts = _words(ciphertext).reshape(2, 1, DEGREE)
    opened = decode(decryptor.phase(parts, [], 0), params, contributors=1)
    assert np.array_equal(opened[0], slots)


def test_products_by_the_key_are_negacyclic():
    key = the_ring().generate_key()
    multiplier = Multiplier(the_ring(), key)
    unit = np.zeros((1, DEGREE), np.uint64)
    unit[0, 0] = 1
    small = [int(v) for v in multiplier.multiply(unit, values=False)[0]]  # 1·s: its coefficients
    assert {min(v, MODULUS - v) for v in small} == {0, 1}
    other = np.random.default_rng(0).integers(0, MODULUS, (3, DEGREE), dtype=np.uint64)
    product = multiplier.multiply(other, values=False)
    for row, place in [(0, 0), (1, 17), (2, DEGREE - 1)]:
        assert int(product[row, place]) == negacyclic(small, other[row].tolist(), place)


def test_streams_are_those_of_their_number_and_nonce():
    whole = uniform(NONCE, 0, 5)
    assert np.array_equal(uniform(NONCE, 3, 2), whole[3:])
    assert int(whole.max()) < MODULUS
    other = bytes(32)
    assert not (uniform(other, 0, 5) == whole).any()
    expected = (uniform(NONCE, 2, 2).astype(object) * 40 + uniform(other, 2, 2)) % MODULUS
    assert np.array_equal(sum_uniform([NONCE] * 40 + [other], 2, 2), expected.astype(np.uint64))


def test_sums_go_on_where_they_stopped():
    nonces = [bytes([number]) * 32 for number in range(30)]  # more than go abreast
    sums = UniformSums(nonces, 3)
    runs = np.concatenate([sums.take(2), sums.take(3)])
    assert np.array_equal(runs, sum_uniform(nonces, 3, 5))
    assert not UniformSums([], 0).take(2).any()


def test_words_of_q_or_more_are_passed_over(monkeypatch):
    """Rejection is too rare to meet: a lower bound in place of q makes it common."""
    monkeypatch.setattr("he.crypto.streams.MODULUS", 2**60 - 2**48)
    monkeypatch.setattr("he.crypto.streams._Q", np.uint64(2**60 - 2**48))
    found = uniform(NONCE, 0, 3)
    assert found.shape == (3, DEGREE)
    assert int(found.max()) < 2**60 - 2**48
    other = uniform(bytes(32), 0, 3)
    expected = (found.astype(object) + other) % MODULUS
    assert np.array_equal(sum_uniform([NONCE, bytes(32)], 0, 3), expected.astype(np.uint64))


def test_errors_have_seals_distribution():
    """Centred binomial of 42 coins: support, mean and variance.

    65,536 draws: the mean's deviation is 0.0127 and the variance's 0.057; refused beyond 0.08 and 0.35,
    over six deviations each, false alarm below 1e-8.
    """
    errors = sample_errors(16).astype(float)
    assert np.abs(errors).max() <= 21
    assert abs(errors.mean()) < 0.08
    assert abs(errors.var() - 10.5) < 0.35
    assert not np.array_equal(errors, sample_errors(16))


def test_squeezed_files_take_the_slow_way_to_the_same_end(monkeypatch):
    key, _, _ = parties()
    multiplier = Multiplier(the_ring(), key)
    polynomials = uniform(NONCE, 0, 2)
    expected = multiplier.multiply(polynomials, values=True)
    monkeypatch.setattr(scheme_module, "stored_content", lambda _: None)
    assert np.array_equal(multiplier.multiply(polynomials, values=True), expected)


def test_one_polynomial_and_a_public_key_take_the_quick_way(monkeypatch):
    """SEAL gets two polynomials for one: were both equal, it would compress the file."""
    key, _, _ = parties()
    multiplier = Multiplier(the_ring(), key)
    polynomials = uniform(NONCE, 0, 2)
    monkeypatch.delattr(scheme_module, "_words")
    for values in (False, True):
        expected = multiplier.multiply(polynomials, values=values)
        assert np.array_equal(multiplier.multiply(polynomials[:1], values=values), expected[:1])
    assert the_ring().public_key(key).shape == (2 * DEGREE,)


@pytest.mark.parametrize("public_key", [False, True])
def test_temporary_files_stand_in_for_memory_files(public_key, monkeypatch):
    monkeypatch.delattr(scheme_module.os, "memfd_create")
    params = Params.for_sum(3, max_abs=100, scheme="bfv", public_key=public_key)
    _, encryptor, decryptor = parties(public_key=public_key)
    slots = random_slots(params)
    phase = decryptor.phase(encryptor.encrypt(encode(slots, params), NONCE, 0), [NONCE], 0)
    assert np.array_equal(decode(phase, params, contributors=1), slots)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n_clients", [10, 1000])
def test_one_ciphertext_n_times_opens_to_the_exact_product(scheme, n_clients):
    """The bounds are for the worst case: equal errors, which grow as n and not as √n."""
    params = Params.for_sum(n_clients, max_abs=1000, scheme=scheme)
    _, encryptor, decryptor = parties()
    slots = random_slots(params)
    parts = encryptor.encrypt(encode(slots, params), NONCE, 0)
    total = (parts.astype(object) * n_clients % MODULUS).astype(np.uint64)
    phase = decryptor.phase(total, [NONCE] * n_clients, 0)
    assert np.array_equal(decode(phase, params, contributors=n_clients), n_clients * slots)


@pytest.mark.parametrize("public_key", [False, True])
def test_ckks_noise_is_what_the_margin_was_computed_from(public_key):
    """Standard deviation of the slot error against the formula behind `rounding_error`.

    16 ciphertexts, 65,536 slot errors; those of one ciphertext are uncorrelated, so the estimate's
    relative deviation is about 1/√131072 = 0.3 %. Refused outside ±5 %: over 15 deviations, false
    alarm below 1e-40.
    """
    _, encryptor, decryptor = parties(public_key=public_key)
    phase = decryptor.phase(
        encryptor.encrypt(np.zeros((16, DEGREE), np.int64), NONCE, 0), [NONCE], 0
    )
    twist = np.exp(1j * np.pi * np.arange(DEGREE) / DEGREE)
    values = np.fft.ifft(phase * twist)[:, ::2] * DEGREE
    measured = float(np.std(np.concatenate((values.real, values.imag))))
    factor = 4 * DEGREE / 3 + 1 if public_key else 1
    predicted = (10.5 * factor * DEGREE / 2) ** 0.5
    assert 0.95 < measured / predicted < 1.05
    params = Params.for_sum(10, max_abs=1, public_key=public_key)
    assert 10 * 12 * predicted <= params.rounding_error * params.scale


@pytest.mark.parametrize("scheme", SCHEMES)
def test_noise_that_no_honest_sum_carries_is_refused(scheme):
    params = Params.for_sum(2, max_abs=2**30, scheme=scheme)
    polynomials = encode(random_slots(params), params)
    room = MODULUS // (2 * (params.plain_modulus or 1))
    polynomials[:, :8] += room - 2 if scheme == "bfv" else round(params.scale) // 2
    with pytest.raises(RemoteProtocolError, match="noise"):
        decode(polynomials, params, contributors=2)


def test_without_the_noise_check_a_wrong_digit_would_pass():
    """Mutant by hand: one half unit more, and the nearest slot is the next one."""
    params = Params.for_sum(2, max_abs=2**30, scheme="bfv")
    half = MODULUS // (2 * params.plain_modulus) + 2
    slots = random_slots(params)
    shifted = encode(slots, params) + half
    t = params.plain_modulus
    nearest = (2 * shifted.astype(object) * t + MODULUS) // (2 * MODULUS)
    assert not (nearest == slots).any()
    with pytest.raises(RemoteProtocolError, match="noise"):
        decode(shifted, params, contributors=2)


def test_seal_refuses_coefficients_beyond_q_and_zeros():
    multiplier = Multiplier(the_ring(), the_ring().generate_key())
    with pytest.raises(WireFormatError, match="SEAL refuses to load"):
        multiplier.multiply(np.full((2, DEGREE), MODULUS, np.uint64), values=False)
    with pytest.raises(RemoteProtocolError, match="SEAL refuses the polynomials"):
        multiplier.multiply(np.zeros((2, DEGREE), np.uint64), values=False)


def test_parameters_that_seal_refuses_are_unsafe(monkeypatch):
    monkeypatch.setattr(scheme_module, "MODULUS", MODULUS + 2)  # not a prime ≡ 1 mod 2N
    with pytest.raises(UnsafeParametersError, match="SEAL refuses"):
        Ring()
    monkeypatch.setattr(scheme_module, "MODULUS", MODULUS)
    monkeypatch.setattr(scheme_module, "DEGREE", 1024)  # log2 q ≤ 27 at 128 bits
    with pytest.raises(UnsafeParametersError, match="SEAL refuses"):
        Ring()


@pytest.mark.parametrize("public_key", [False, True])
def test_fresh_randomness_each_time(public_key):
    secret = he.SecretContext.generate(
        Params.for_sum(3, max_abs=9, scheme="bfv", public_key=public_key)
    )
    first, second = (
        he.ciphertext_coefficients(
            next(he.Client(secret, 1, context=b"c").encrypt(np.zeros(4, int)))
        )
        for _ in range(2)
    )
    assert not (first == second).all()
    zeros = np.zeros((1, DEGREE), np.int64)
    again = [secret.encrypt(zeros, NONCE, 0) for _ in range(2)]
    assert not np.array_equal(*again)
