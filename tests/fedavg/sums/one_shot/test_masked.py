"""OneShot with keys under pairwise masks: who is in both sums, and what spoils them."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest

import he
from fedavg.errors import LocalProtocolError, PlanError, RoundAbortedError
from fedavg.sums.interface import SumSpec
from fedavg.sums.once import sum_once
from fedavg.sums.one_shot import OneShot
from fedavg.sums.one_shot import masked as module
from he import onetime
from he.onetime.wire import encode_chunk, limbs_of, open_chunk
from he.rounds import hash_context
from tests.fedavg.contract.sums import IDENTITIES, secure_sum, spec_for
from tests.hostile.mutants import FOUND, without

SUMS = OneShot(dropout_rate=0.34, corrupt_rate=0.0, keys="secagg")


def vectors_of(n=9, length=3000, bound=1000):
    rng = np.random.default_rng(n)
    return {i: rng.integers(-bound, bound + 1, length) for i in range(1, n + 1)}


class Play:
    """A round that stops before its inputs: what each client would send, to be changed."""

    def __init__(self, vectors, spec=None):
        self.spec = spec or spec_for(vectors, max_abs=1000)
        known = {client: IDENTITIES[client].public for client in vectors}
        given = SUMS.provision(self.spec, known)
        self.server = SUMS.server_side(given.server).session(self.spec, sorted(vectors))
        side, outgoing, sessions = SUMS.client_side(given.clients), self.server.open(), {}
        for client, (opening,) in outgoing.items():
            sessions[client] = side.session(self.spec, client, IDENTITIES[client], opening)
            sessions[client].set_input(vectors[client])
        self.sent = {client: session.start() for client, session in sessions.items()}
        while not self.server.collecting:
            self.deliver(self.sent)
            outgoing = self.server.advance()
            self.sent = {
                client: [r for m in messages for r in sessions[client].receive(m)]
                for client, messages in outgoing.items()
            }
        self.sessions = sessions

    def deliver(self, sent):
        for client, messages in sent.items():
            for message in messages:
                self.server.receive(client, message)

    def finished(self):
        outgoing = self.server.advance()
        while outgoing:
            for client, messages in outgoing.items():
                for message in messages:
                    for reply in self.sessions[client].receive(message):
                        self.server.receive(client, reply)
            outgoing = self.server.advance()
        return self.server.result()


@pytest.mark.parametrize("stage", range(6))
def test_silence_at_every_message_is_survived(stage):
    vectors = vectors_of()
    spec = spec_for(vectors, max_abs=1000)
    result = secure_sum(SUMS, vectors, spec, silent_from={2: stage, 7: stage})
    assert len(result.survivors) == (7 if stage <= 3 else 9)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))


def test_a_client_without_its_key_or_its_ciphertexts_is_in_no_sum():
    vectors = vectors_of()
    play = Play(vectors)
    *chunks, key = play.sent.pop(3)
    with pytest.raises(LocalProtocolError, match="client 3 sent its key before all"):
        play.server.receive(3, key)
    play.deliver({5: play.sent.pop(5)[:-1]})  # its masked key is lost
    play.deliver(play.sent)
    result = play.finished()
    assert result.survivors == (1, 2, 4, 6, 7, 8, 9)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))
    assert chunks


def test_an_improper_ciphertext_leaves_the_round_without_a_sum():
    vectors = vectors_of()
    play = Play(vectors)
    stranger = Play(vectors).sent[4]  # a key of another attempt in the same context
    play.sent[4] = [*stranger[:-1], play.sent[4][-1]]
    play.deliver(play.sent)
    with pytest.raises(he.RemoteProtocolError, match="more noise than 9 honest clients"):
        play.finished()
    with pytest.raises(LocalProtocolError, match="not finished"):
        play.server.result()


def test_keys_of_other_clients_than_the_ciphertexts_open_nothing():
    vectors = vectors_of(5)
    play = Play(vectors)
    play.deliver(play.sent)
    play.server._adding._added.discard(2)
    with pytest.raises(RoundAbortedError, match="of other clients"):
        play.finished()


def relabelled(play, chunk, client):
    """Another client's ciphertexts as an upload of this client, in its own name and signed by it."""
    params, context = SUMS.params(play.spec), hash_context(play.spec.context)
    directory = he.Directory({i: IDENTITIES[i].public for i in play.sent})
    (planes,) = open_chunk(chunk, params, context, 1, directory).planes
    limbs = [np.array([x.astype(np.int64) for x in limbs_of(planes, params.layout)])]
    return encode_chunk(params, context, client, 0, limbs, IDENTITIES[client])[0]


def test_v7_four_corrupt_copies_do_not_multiply_an_input():
    vectors = vectors_of()
    play = Play(vectors)
    victim, _ = play.sent[1]
    for client in (2, 3, 4, 5):
        play.sent[client] = [relabelled(play, victim, client), play.sent[client][-1]]
    play.deliver(play.sent)
    with pytest.raises(he.RemoteProtocolError, match="more noise"):
        play.finished()


def test_v7_exchanged_chunks_are_refused():
    play = Play(vectors_of())
    with pytest.raises(he.RemoteProtocolError, match="client 2 sent a chunk of client 1"):
        play.server.receive(2, play.sent[1][0])
    with pytest.raises(LocalProtocolError, match="not on this round's roster"):
        play.server.receive(77, play.sent[1][0])


def attempt_with_another_n():
    vectors = vectors_of()
    honest = spec_for(vectors, max_abs=1000)
    # The context binds the number of clients, so a client that was told another has another context.
    other = dataclasses.replace(honest, roster_size=9, context=b"another number of clients......")
    chunk = Play(vectors, other).sent[1][0]
    with pytest.raises(he.ContextMismatchError):
        Play(vectors, honest).server.receive(1, chunk)


def test_v12_a_client_that_was_told_another_n_is_in_no_sum():
    attempt_with_another_n()


def test_v12_mutant_without_the_context_takes_the_upload(monkeypatch):
    without(monkeypatch, he.onetime.wire, "_check_header", "header.context != context")
    with pytest.raises(FOUND):
        attempt_with_another_n()


def attempt_without_ciphertexts():
    vectors = vectors_of()
    play = Play(vectors)
    key = play.sent.pop(3)[-1]
    with contextlib.suppress(LocalProtocolError, he.LocalProtocolError):
        play.server.receive(3, key)
    play.deliver(play.sent)
    assert np.array_equal(play.finished().total, sum(vectors[i] for i in vectors if i != 3))


def test_a_key_alone_is_refused():
    attempt_without_ciphertexts()


def test_mutant_that_takes_a_key_alone_loses_the_sum(monkeypatch):
    without(monkeypatch, module._ServerSession, "receive", "sender not in self._adding.complete")
    with pytest.raises(RoundAbortedError):
        attempt_without_ciphertexts()


def test_a_client_keeps_ciphertexts_in_place_of_its_vector():
    play = Play(vectors_of())
    session = play.sessions[1]
    assert session._chunks == ()
    assert not any(isinstance(getattr(session, name, None), np.ndarray) for name in vars(session))


def test_the_round_has_the_parameters_of_its_keys():
    vectors = vectors_of()
    spec = spec_for(vectors, max_abs=1000)
    keys = SUMS.key_spec(spec)
    assert (keys.vector_length, keys.max_abs) == (SUMS.params(spec).degree, onetime.KEY_BOUND)
    assert keys.context == spec.context


def test_more_clients_than_a_sum_of_keys_holds_are_refused_beforehand():
    spec = dataclasses.replace(spec_for(vectors_of(), max_abs=9), roster_size=1561)
    with pytest.raises(he.UnsafeParametersError, match="n_clients"):
        OneShot().check(spec)


@pytest.mark.parametrize("keys", ["bfv", "", None])
def test_keys_are_added_in_a_known_way(keys):
    with pytest.raises(PlanError):
        OneShot(keys=keys)


@pytest.mark.parametrize(
    ("length", "degree", "kilobytes"), [(20_000, 4096, 6.3), (1_000_000, 8192, 10.9)]
)
def test_the_bytes_of_the_page(length, degree, kilobytes):
    """docs/he.md: all messages of one of ten clients but its ciphertexts."""
    sums, received = OneShot(keys="secagg"), []
    vectors = dict.fromkeys(range(10), np.ones(length, np.int64))
    sum_once(sums, vectors, max_abs=2**15, context=b"the page", received=received)
    spec = SumSpec(length, 2**15, None, 10, b"the page")
    assert sums.params(spec).degree == degree
    rest = sum(len(message) for _, message in received if not onetime.is_upload(message))
    assert round(rest / 10_000, 1) == kilobytes


def test_there_is_no_key_holder():
    with pytest.raises(LocalProtocolError, match="no key holder"):
        SUMS.key_holder_side(b"")
