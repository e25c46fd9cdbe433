"""V6, V7, V10, V12 for one-time keys: used twice; moved ciphertexts; hints; other rounds."""

import copy
import pickle

import numpy as np
import pytest

import he
from he.crypto.streams import sample_binomials
from he.onetime import Encryptor, Params, Server, wire
from he.onetime import client as client_module
from he.onetime.packing import opened
from he.onetime.wire import encode_chunk, limbs_of, open_chunk
from he.rounds import hash_context
from tests.he.onetime.rounds import CONTEXT, Memory, encrypted
from tests.hostile.he.onetime.lattice import needed_block_size, shortness, toy
from tests.hostile.mutants import FOUND, without

PARAMS = Params(3, 1000, 500)
ONE, OTHER = np.arange(500), 7 - 2 * np.arange(500)


def planes_of(chunk, sender=1):
    (planes,) = open_chunk(chunk, PARAMS, hash_context(CONTEXT), sender, None).planes
    return np.array([limb.astype(np.int64) for limb in limbs_of(planes, PARAMS.layout)])


def shown_difference(chunk, later):
    """What anyone reads from two ciphertexts, without any key."""
    difference = planes_of(chunk) - planes_of(later)
    return opened(difference, PARAMS.layout, contributors=2, limit=2000)[: PARAMS.vector_length]


# V6: a key used twice.


def attempt_twice():
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)
    (chunk,) = encryptor.encrypt(ONE)
    try:
        (later,) = encryptor.encrypt(OTHER)
    except he.LocalProtocolError:
        return
    try:
        shown = shown_difference(chunk, later)
    except he.RemoteProtocolError:
        return
    assert not np.array_equal(shown, ONE - OTHER), "the server reads the difference of two inputs"


def test_v6_an_encryptor_encrypts_once():
    attempt_twice()
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)
    list(encryptor.encrypt(ONE))
    with pytest.raises(he.LocalProtocolError, match="this encryptor's key was used"):
        encryptor.encrypt(OTHER)


def test_v6_mutant_that_keeps_its_key_shows_the_difference_of_two_inputs(monkeypatch):
    kept = sample_binomials(PARAMS.degree)

    def keeping(size):
        return kept if size == PARAMS.degree else sample_binomials(size)

    monkeypatch.setattr(client_module, "sample_binomials", keeping)
    without(monkeypatch, Encryptor, "encrypt", "self._unused.pop()", "pass")
    with pytest.raises(FOUND, match="difference of two inputs"):
        attempt_twice()


def test_v6_a_client_that_is_restored_draws_another_key():
    # A copy of the process from before the encryption has no key yet: both encrypt under new ones.
    chunks = [encrypted(PARAMS, 1, vector)[0][0] for vector in (ONE, OTHER)]
    with pytest.raises(he.RemoteProtocolError):
        shown_difference(*chunks)
    for leave in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(Encryptor(PARAMS, 1, context=CONTEXT))


def attempt_after_a_restart():
    journal = Memory()
    list(Encryptor(PARAMS, 1, context=CONTEXT, journal=journal).encrypt(ONE))
    with pytest.raises(he.LocalProtocolError, match="encrypted in this round"):
        Encryptor(PARAMS, 1, context=CONTEXT, journal=journal).encrypt(OTHER)


def test_v6_with_a_journal_a_restored_client_refuses():
    attempt_after_a_restart()


def test_v6_mutant_without_the_journal_encrypts_again(monkeypatch):
    without(monkeypatch, Encryptor, "encrypt", "self._journal is not None")
    with pytest.raises(FOUND):
        attempt_after_a_restart()


# V7: exchanged, copied, mauled, and from another context. V12: another n.


def attempt_as_another():
    (chunk,), _ = encrypted(PARAMS, 1, ONE)
    with pytest.raises(he.RemoteProtocolError, match="client 2 sent a chunk of client 1"):
        Server(PARAMS, context=CONTEXT).receive(2, chunk)


def test_v7_a_chunk_of_another_client_is_refused():
    attempt_as_another()


def test_v7_mutant_that_ignores_the_sender_takes_it(monkeypatch):
    mutant = without(monkeypatch, wire, "open_chunk", "client_id != sender")
    monkeypatch.setattr("he.onetime.server.open_chunk", mutant)
    with pytest.raises(FOUND):
        attempt_as_another()


def relabelled(chunk, client_id):
    """The same ciphertexts as an upload of a corrupt client's own."""
    limbs = planes_of(chunk)
    return encode_chunk(PARAMS, hash_context(CONTEXT), client_id, 0, [limbs], None)[0]


@pytest.mark.parametrize("key_of_the_copy", ["none", "of its own"])
def test_v7_a_copy_without_the_key_spoils_the_sum_and_is_seen(key_of_the_copy):
    server = Server(PARAMS, context=CONTEXT)
    (chunk,), key = encrypted(PARAMS, 1, ONE)
    (another,), another_key = encrypted(PARAMS, 2, OTHER)
    own = encrypted(PARAMS, 3, ONE)[1] if key_of_the_copy == "of its own" else 0
    for client_id, sent in ((1, chunk), (2, another), (3, relabelled(chunk, 3))):
        server.receive(client_id, sent)
        server.add(client_id)
    with pytest.raises(he.RemoteProtocolError, match="more noise than 3 honest clients"):
        server.open_with_key_sum(key + another_key + own)


def test_v7_the_limit_a_copy_with_the_key_counts_twice():
    # The protocol that sums keys must let nobody enter another's: docs/he.md says so.
    server = Server(PARAMS, context=CONTEXT)
    (chunk,), key = encrypted(PARAMS, 1, ONE)
    for client_id, sent in ((1, chunk), (3, relabelled(chunk, 3))):
        server.receive(client_id, sent)
        server.add(client_id)
    assert np.array_equal(server.open_with_key_sum(2 * key).total, 2 * ONE)


@pytest.mark.parametrize("factor", [2, -1, 3])
def test_v7_multiples_of_a_ciphertext_are_seen(factor):
    server = Server(PARAMS, context=CONTEXT)
    (chunk,), key = encrypted(PARAMS, 1, ONE)
    limbs = planes_of(chunk) * factor
    client_module.carried(limbs, PARAMS.layout)
    mauled = encode_chunk(PARAMS, hash_context(CONTEXT), 3, 0, [limbs], None)[0]
    for client_id, sent in ((1, chunk), (3, mauled)):
        server.receive(client_id, sent)
        server.add(client_id)
    with pytest.raises(he.RemoteProtocolError):
        server.open_with_key_sum(key)


def attempt_of_another_round(made_for, server):
    params, context = made_for
    (chunk,), _ = encrypted(params, 1, ONE, context)
    with pytest.raises(he.ContextMismatchError):
        server.receive(1, chunk)


def test_v7_a_chunk_of_another_round_is_refused():
    attempt_of_another_round((PARAMS, b"round 2"), Server(PARAMS, context=CONTEXT))


def test_v7_mutant_that_ignores_the_round_takes_it(monkeypatch):
    without(monkeypatch, wire, "_check_header", "header.context != context")
    with pytest.raises(FOUND):
        attempt_of_another_round((PARAMS, b"round 2"), Server(PARAMS, context=CONTEXT))


def test_v12_a_chunk_made_for_another_number_of_clients_is_refused():
    made_for = (Params(30, 1000, 500), CONTEXT)
    attempt_of_another_round(made_for, Server(PARAMS, context=CONTEXT))


def test_v12_mutant_that_ignores_the_parameters_takes_it(monkeypatch):
    made_for = (Params(4, 1000, 500), CONTEXT)
    assert made_for[0].upload_bytes == PARAMS.upload_bytes
    without(monkeypatch, wire, "_check_header", "header.fingerprint != params.fingerprint")
    with pytest.raises(FOUND):
        attempt_of_another_round(made_for, Server(PARAMS, context=CONTEXT))


# V10: all but two clients collude and know Σ s and Σ e.


@pytest.mark.parametrize(
    ("degree", "log2_q", "standard"), [(2048, 48, 54), (4096, 104, 109), (8192, 208, 218)]
)
def test_v10_the_estimate_after_the_hint_is_above_the_standards_limit(degree, log2_q, standard):
    # The Homomorphic Encryption Standard's 128-bit limits: ternary keys, errors of 3.19. Half of the
    # binomial's deviation is less than the hint leaves: it leaves half of the variance.
    ours = needed_block_size(degree, log2_q, 10.5**0.5 / 2, 10.5**0.5 / 2)
    assert ours > needed_block_size(degree, standard, (2 / 3) ** 0.5, 3.19) > 300


def test_v10_half_of_the_variance_remains():
    # Of two clients' coins, a pair that differs says nothing: 42 pairs, of which half differ. Var = 42/2/4.
    draws = 1 << 18
    one, other = (sample_binomials(draws).astype(float) for _ in range(2))
    left = one - (one + other) / 2
    # The mean of 2^18 squares of variance below 2·5.25²: 12 standard errors, false alarm below 1e-30.
    assert abs(left.var() - 5.25) < 12 * (2 * 5.25**2 / draws) ** 0.5
    assert not bool((np.abs(one + other) == 42).any())  # no coefficient of a sum fixes its summands


def test_v10_mutant_with_ternary_keys_shows_a_quarter_of_them():
    rng = np.random.default_rng(5)
    one, other = rng.integers(-1, 2, (2, 1 << 14))
    fixed = np.abs(one + other) == 2
    assert 0.2 < fixed.mean() < 0.25  # 2/9 of all coefficients follow from the sum


def test_v10_a_toy_attack_succeeds_where_the_modulus_is_too_large_for_the_ring():
    # The key's vector is 3.1 times as short as any other: LLL in dimension 33 finds it.
    assert toy(16, 10)


def test_v10_a_toy_attack_fails_below():
    # 2^22 keys are as likely as the true one, so a find has a probability below 2^-22.
    assert not toy(16, 5)


@pytest.mark.parametrize("log2_q", [2, 3])
def test_v10_the_curve_begins_at_zero_below_the_bound(log2_q):
    assert shortness(8, log2_q) < 0.5
    # The hints leave 52 bits of key and errors, and the ciphertext tells 24 at most: 2^-28 for each try.
    assert not any(toy(8, log2_q) for _ in range(4))


@pytest.mark.parametrize("log2_q", [9, 10, 11])
def test_v10_the_curve_ends_at_one_above_the_bound(log2_q):
    assert shortness(8, log2_q) > 2
    # 40 of 40 tries succeed (python -m tests.hostile.he.onetime.lattice). Were it 1 in 20 that fails, five
    # of eight would fail with probability 2e-5; at 1 in 100, with 6e-9.
    assert sum(toy(8, log2_q) for _ in range(8)) >= 4


def test_v10_the_bound_of_the_estimate_lies_between():
    assert [shortness(8, log2_q) > 1 for log2_q in (3, 5, 7, 9)] == [False, False, True, True]
