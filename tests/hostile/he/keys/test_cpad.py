"""The key out of opened sums by linear algebra (Li and Micciancio, Eurocrypt 2021).

The server adds ciphertexts and then sees the mean that everybody gets. Where the mean is a CKKS
decoding in double precision, it holds the noise, and the noise determines the key. `he` opens integers.
"""

import numpy as np
import pytest
import tenseal as ts
from tenseal import sealapi

import he
from he.coding.packing import pack
from he.coding.plaintexts import encode
from he.coding.words import unpack_words
from he.crypto.streams import sum_uniform
from he.params import DEGREE, MODULUS
from he.rounds import hash_context
from he.scheme import _scratch_file, _words, the_ring
from he.wire import open_sum, open_upload
from tests.he.support.rounds import collect, fresh_context, keys, random_vectors, uploads

N = 8192


def solve(left, right, q):
    """x with left·x = right modulo q, element by element."""
    return [y * pow(x, -1, q) % q for x, y in zip(left, right, strict=True)]


class TenSeal:
    """TenSEAL as its tutorials use it, and SEAL beside it to look at what it saves."""

    def __init__(self, folder):
        self.path = str(folder / "object")
        self.context = ts.context(ts.SCHEME_TYPE.CKKS, N, coeff_mod_bit_sizes=[60, 60])
        self.context.global_scale = 2.0**40
        parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(N)
        moduli = sealapi.CoeffModulus.Create(N, [60, 60])
        parameters.set_coeff_modulus(moduli)
        self.q = moduli[0].value()
        self.seal = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
        self.encoder = sealapi.CKKSEncoder(self.seal)

    def words(self, vector):
        """(c0, c1) of an encrypted vector."""
        (ciphertext,) = vector.ciphertext()
        ciphertext.save(self.path)
        loaded = sealapi.Ciphertext()
        loaded.load(self.seal, self.path)
        return _words(loaded).astype(object).reshape(2, N)

    def mean(self, n_clients, rng):
        """One federated average: what the server holds, and what everybody sees."""
        vectors = rng.standard_normal((n_clients, N // 2)) * 0.05 / n_clients
        total = ts.ckks_vector(self.context, vectors[0].tolist())
        for vector in vectors[1:]:
            total += ts.ckks_vector(self.context, vector.tolist())
        return *self.words(total), np.array(total.decrypt())

    def secret_key(self):
        """The real key, to judge the attack by."""
        self.context.secret_key().data.save(self.path)
        loaded = sealapi.SecretKey()
        loaded.load(self.seal, self.path)
        plain = loaded.data()
        return np.array([plain[i] for i in range(N)], object)

    def key_from_means(self, averages):
        """Linear algebra on public values; words are values at roots, conjugate pairs back to back."""
        sides = []
        for first, _, mean in averages:
            twice = sealapi.Plaintext()
            self.encoder.encode((2 * mean).tolist(), self.context.global_scale, twice)
            plain = np.array([twice[i] for i in range(N)], object)  # m plus its conjugate
            sides.append((plain - first - first[::-1]) % self.q)
        (_, a, _), (_, b, _) = averages
        determinant = (a * b[::-1] - a[::-1] * b) % self.q
        numerator = (sides[0] * b[::-1] - sides[1] * a[::-1]) % self.q
        return np.array(solve(determinant.tolist(), numerator.tolist(), self.q), object)


def test_two_float64_means_of_tenseals_vectors_give_the_key_away(tmp_path):
    tenseal = TenSeal(tmp_path)
    rng = np.random.default_rng(0)
    candidate = tenseal.key_from_means([tenseal.mean(10, rng) for _ in range(2)])
    real = tenseal.secret_key()
    right = int((candidate == real).sum())
    print(f"{right / N:.0%} of the key's {N} coefficients recovered")  # noqa: T201 - the attack's result
    assert right == N
    # a fresh ciphertext, decrypted with the recovered key
    message = [0.25, -0.5, 0.125]
    first, second = tenseal.words(ts.ckks_vector(tenseal.context, message))
    decrypted = (first + second * candidate) % tenseal.q
    assert (decrypted == (first + second * real) % tenseal.q).all()


def values_of(polynomials):
    """Values at the roots of x^N + 1 of coefficients uint64[1, N], as Python integers."""
    ring = the_ring()
    with _scratch_file() as scratch:
        pair = np.concatenate((polynomials, polynomials))
        loaded = ring.load_polynomials(pair, scratch, values=False)
    sealapi.Evaluator(ring.context).transform_to_ntt_inplace(loaded)
    return _words(loaded)[:DEGREE].astype(object)


def server_view(secret, vectors):
    """A round as the server sees it: Σc0 and Σc1 by their values, and the opened sum."""
    context = fresh_context()
    server = collect(secret, uploads(secret, vectors, context), context)
    (data,) = server.result()
    chunk = open_sum(data, secret.public(), hash_context(context))
    parts = unpack_words(chunk.body, 60).reshape(secret.params.parts, 1, DEGREE)
    nonces = [name.nonce for name in chunk.contributors]
    expanded = sum_uniform(nonces, 0, 1)[0].astype(object)
    second = expanded if len(parts) == 1 else values_of(parts[1])
    opened = he.KeyHolder(secret, min_clients=2, context=context).decrypt([data]).total
    return values_of(parts[0]), second, opened, (parts, nonces)


def opens_a_fresh_upload(secret, candidate):
    """Whether the candidate reads a new client's ciphertext."""
    params = secret.params
    thief = he.SecretContext(params, np.array(candidate, np.uint64))
    context = fresh_context()
    vector = random_vectors(1, 10, 1000, seed=3)
    sent = uploads(secret, vector, context)
    chunk = open_upload(sent[0][0], secret.public(), hash_context(context))
    words = he.coding.words.restore_low_bits(
        unpack_words(chunk.body, params.word_bits), params.word_bits
    )
    phase = thief.phase(words.reshape(params.parts, 1, DEGREE), [chunk.name.nonce], 0)
    try:
        slots = he.coding.plaintexts.decode(phase, params, contributors=1)
        opened = he.coding.packing.unpack(slots, params, contributors=1)
    except he.RemoteProtocolError:
        return False
    return opened[:10].tolist() == vector[0].tolist()


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
@pytest.mark.parametrize("public_key", [False, True])
def test_the_same_algebra_on_what_he_opens_finds_no_key(scheme, public_key):
    """Σc0 + Σc1·s = encoding + noise: the sum gives the encoding without the noise.

    The control shows that nothing but the noise is missing: with the phase in place of the
    encoding of the sum, the same lines give the key.
    """
    secret = keys(3, 1000, scheme, public_key=public_key)
    params = secret.params
    vectors = random_vectors(3, params.values_per_ciphertext, 1000)
    first, second, opened, (parts, nonces) = server_view(secret, vectors)
    assert opened.dtype == np.int64
    # the sum, encoded: for the attacker's good every digit of it is right
    polynomial = encode(pack(opened, params), params)
    known = values_of((polynomial % MODULUS).astype(np.uint64))
    candidate = solve(second.tolist(), ((known - first) % MODULUS).tolist(), MODULUS)
    real = np.frombuffer(secret.export_secret_key()[20:-32], "<u8").tolist()
    assert sum(x == y for x, y in zip(candidate, real, strict=True)) < 3
    assert not opens_a_fresh_upload(secret, candidate)

    phase = secret.phase(parts, nonces, 0)
    noisy = values_of((phase % MODULUS).astype(np.uint64))
    stolen = solve(second.tolist(), ((noisy - first) % MODULUS).tolist(), MODULUS)
    assert stolen == real
    assert opens_a_fresh_upload(secret, stolen)
