"""Nothing serves twice: not a client, not a mask, not a key of the sealing; and what differencing shows."""

from __future__ import annotations

import os

import numpy as np
import pytest

import secagg.crypto.sealed
import secagg.wire.envelopes
from secagg import (
    Client,
    LocalProtocolError,
    Params,
    Phase,
    Policy,
    RemoteProtocolError,
    Server,
    TrustServerDirectory,
    masked_vector,
    simulate,
)
from secagg.crypto import ring
from secagg.crypto.keys import AgreementKey
from secagg.crypto.shamir import SHARE_SIZE
from secagg.testing import deterministic_entropy
from secagg.wire.envelopes import seal_envelope
from tests.hostile.mutants import FOUND, without
from tests.hostile.secagg.inputs.test_masks import uniformity
from tests.secagg.support.lab import CONTEXT, Lab
from tests.secagg.support.snapshots import fork_client

ALARM = 1e-6


# S10: one object, two uses ---------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.DONE])
def test_s10_one_client_serves_one_session(phase):
    one, other = Lab(5).run_to(phase), Lab(5).run_to(Phase.SHARE_KEYS)
    client = one.clients[10]
    with pytest.raises(LocalProtocolError):
        client.start()
    with pytest.raises(RemoteProtocolError, match="another session|after the session"):
        client.receive(other.next_messages[10])


def waiting_for_partners():
    """A session in which client 10 has yet to be given its input."""
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    lab.clients[10]._secrets.input = None
    return lab


FIRST, SECOND = np.array([1, 2, 3, 4]), np.array([900, -70, 8, 0])


def masked(lab, client, vector):
    client.set_input(vector)
    return masked_vector(client.receive(lab.next_messages[10])).astype(np.int64)


def masked_on_both_sides_of_a_fork():
    """The masked inputs of parent and child; None for a child that refused."""
    lab = waiting_for_partners()
    out, into = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - in the child
        try:
            os.write(into, masked(lab, lab.clients[10], SECOND).tobytes())
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with os.fdopen(out, "rb") as pipe:
        theirs = np.frombuffer(pipe.read(), dtype=np.int64)
    difference = theirs - masked(lab, lab.clients[10], FIRST) if theirs.size else None
    return None if difference is None else ring.centre(difference, lab.params.ring_bits)


def test_s10_a_forked_client_masks_no_second_input():
    assert masked_on_both_sides_of_a_fork() is None


def test_s10_mutant_that_forks_shows_the_difference_of_its_inputs(monkeypatch):
    without(monkeypatch, Client, "_check_process", "self._process != os.getpid()")
    assert np.array_equal(masked_on_both_sides_of_a_fork(), SECOND - FIRST)


def test_s10_mutant_restored_from_a_snapshot_shows_it_too():
    """What copying and pickling would allow, were they not refused."""
    lab = waiting_for_partners()
    twin = fork_client(lab.clients[10])
    difference = masked(lab, twin, SECOND) - masked(lab, lab.clients[10], FIRST)
    assert np.array_equal(ring.centre(difference, lab.params.ring_bits), SECOND - FIRST)


def repeated_input(sessions):
    """Differences, modulo 2^16, of what three clients upload for one input in two sessions."""
    length, bits = 30_000, 16
    params = Params.for_cohort(3, length, ring_bits=bits, dropout_rate=0.0, corrupt_rate=0.0)
    inputs = {i: np.arange(length, dtype=np.int64) for i in range(3)}
    sent = []
    for session in sessions:
        transcript = []
        with session:
            simulate(inputs, params, transcript=transcript)
        vectors = [masked_vector(m) for phase, _, m in transcript if phase == "masked_input"]
        sent.append(np.concatenate(vectors).astype(np.int64))
    return (sent[0] - sent[1]) & ((1 << bits) - 1)


class Fresh:
    """Entropy from the operating system."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_s10_the_same_input_twice_shows_nothing():
    """Chi-squared of 256 cells, high and low bits of 90,000 differences, p > 5e-7: alarms ≤ 1e-6."""
    difference = repeated_input([Fresh(), Fresh()])
    assert all(uniformity(difference, shift) > ALARM / 2 for shift in (0, 8))


def test_s10_mutant_that_draws_the_same_keys_again_repeats_its_masks():
    again = [deterministic_entropy(b"snapshot") for _ in range(2)]
    assert not repeated_input(again).any()


class Recorder:
    """AES-GCM that notes every key and nonce it seals under."""

    pairs: list[bytes]
    real = secagg.crypto.sealed.AESGCM

    def __init__(self, key):
        self.key, self.cipher = key, self.real(key)

    def encrypt(self, nonce, plaintext, associated):
        self.pairs.append(self.key + nonce)
        return self.cipher.encrypt(nonce, plaintext, associated)


def seals(monkeypatch, least):
    """(key, nonce) of at least so many seals: clients of many sessions, each to each with its own keys."""
    monkeypatch.setattr(secagg.crypto.sealed, "AESGCM", Recorder)
    monkeypatch.setattr(Recorder, "pairs", pairs := [], raising=False)
    agree, agreed = AgreementKey.agree, {}

    def agree_once(self, public):  # the two ends of a pair agree alike; this test is long enough
        pair = frozenset((self.public, public))
        if pair not in agreed:
            agreed[pair] = agree(self, public)
        return agreed[pair]

    monkeypatch.setattr(AgreementKey, "agree", agree_once)
    lab = Lab(41, corrupt_rate=0.3)
    assert lab.params.complete
    shares = bytes(2 * SHARE_SIZE)
    while len(pairs) < least:
        roster = lab.run_to(Phase.SHARE_KEYS).roster
        for i, client in lab.clients.items():
            for place in roster.neighbours(roster.positions[i]):
                sending, _ = secagg.wire.envelopes.routes(roster, client._secrets.channel, i, place)
                seal_envelope(roster, sending, shares, i, roster.client_id(place))
        lab.server = Server(lab.params, context=CONTEXT, directory=TrustServerDirectory())
        lab.clients, lab.next_messages = {i: lab.join(i) for i in lab.ids}, {}
    return pairs


def test_s10_clients_seal_as_counted(monkeypatch):
    """A client's own message holds one seal for each neighbour, made as below."""
    monkeypatch.setattr(secagg.crypto.sealed, "AESGCM", Recorder)
    monkeypatch.setattr(Recorder, "pairs", pairs := [], raising=False)
    Lab(5).run_to(Phase.CHECK_SHARES)
    assert len(set(pairs)) == len(pairs) == 5 * 4


def test_s10_no_key_and_nonce_seal_twice(monkeypatch):
    """1e5 seals in 61 sessions of the same clients."""
    pairs = seals(monkeypatch, 100_000)
    assert len(set(pairs)) == len(pairs) >= 100_000


def test_s10_mutant_without_direction_seals_twice_under_a_key(monkeypatch):
    routes = secagg.crypto.sealed.route_keys

    def undirected(agreed, **place):
        return (min(routes(agreed, **place)),) * 2

    monkeypatch.setattr("secagg.wire.envelopes.route_keys", undirected)
    pairs = seals(monkeypatch, 1)
    assert len(set(pairs)) == len(pairs) // 2


# S14: differencing -----------------------------------------------------------------------------------


def sum_without(inputs, missing):
    cohort = {i: x for i, x in inputs.items() if i != missing}
    params = Params.for_cohort(len(cohort), 3, max_abs=1000)
    return simulate(cohort, params).total


def test_s14_two_sums_that_differ_by_one_client_show_its_input():
    """The limit, as it is: no single session can stop this, and a floor on the cohort does not."""
    rng = np.random.default_rng(14)
    inputs = {i: rng.integers(-1000, 1001, 3) for i in range(6)}
    assert np.array_equal(sum_without(inputs, None) - sum_without(inputs, 2), inputs[2])


def test_s14_what_a_client_can_insist_on():
    """More inputs around its own, and a context of its own for each model: it names whom it helps."""
    lab = Lab(5)
    with pytest.raises(Exception, match="4 inputs are offered, 5 are asked"):
        lab.join(10, policy=Policy(min_survivors=5, allow_semi_honest=True))
    server = Server(lab.params, context=CONTEXT + b" again", directory=TrustServerDirectory())
    with pytest.raises(RemoteProtocolError, match="another context"):
        lab.join(10, offer=server.offer())


def test_s14_mutant_without_a_floor_joins(monkeypatch):
    without(monkeypatch, Policy, "check", "params.min_survivors < self.min_survivors")
    with pytest.raises((*FOUND, RemoteProtocolError)):
        test_s14_what_a_client_can_insist_on()
