"""OneShot with a committee: one message a client, three a member, and who is in both sums."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import he
import secagg
from fedavg.errors import LocalProtocolError
from fedavg.sums.interface import FIRST_OPENER, SumSpec, is_client
from fedavg.sums.once import sum_once
from fedavg.sums.one_shot import OneShot
from fedavg.sums.one_shot import committee_sessions as module
from fedavg.sums.sides.others import MemoryJournal
from he.onetime import Encryptor
from secagg.committee import CommitteePhase, Contributor
from secagg.committee.wire.codec import decode, encode
from secagg.committee.wire.messages import Contribution, Head
from tests.fedavg.contract.sums import IDENTITIES, spec_for
from tests.hostile.mutants import FOUND, without

SUMS = OneShot(
    dropout_rate=0.2, corrupt_rate=0.1, committee=10, corrupt_members=1, absent_members=2
)


def vectors_of(n=9, length=3000, bound=1000):
    rng = np.random.default_rng(n)
    return {i: rng.integers(-bound, bound + 1, length) for i in range(1, n + 1)}


class Play:
    """A round taken apart: what each client sends, and sessions of the members."""

    def __init__(self, vectors, sums=SUMS):
        self.spec = spec_for(vectors, max_abs=1000)
        known = {client: IDENTITIES[client].public for client in vectors}
        given = sums.provision(self.spec, known)
        self.server = sums.server_side(given.server).session(self.spec, sorted(vectors))
        side, self.sent = sums.client_side(given.clients), {}
        for client, (opening,) in self.server.open().items():
            session = side.session(self.spec, client, IDENTITIES[client], opening)
            session.set_input(vectors[client])
            self.sent[client] = session.start()
        self.members = {
            address: sums.opener_side(material).session(self.spec, MemoryJournal())
            for address, material in given.openers.items()
        }
        self.stages = []

    def deliver(self):
        for client, messages in self.sent.items():
            for message in messages:
                self.server.receive(client, message)

    def finished(self, silent=None):
        outgoing = self.server.advance()
        while outgoing:
            self.stages.append(self.server.stage)
            for address, messages in outgoing.items():
                if address in (silent or {}).get(self.server.stage, ()):
                    continue
                for reply in self.members[address].receive(messages):
                    self.server.receive(address, reply)
            outgoing = self.server.advance()
        return self.server.result()


def test_clients_speak_once_and_members_three_times():
    vectors = vectors_of()
    play = Play(vectors)
    assert play.server.collecting
    play.deliver()
    result = play.finished()
    assert play.stages == ["report", "sign", "answer"]
    assert np.array_equal(result.total, sum(vectors.values()))
    assert result.survivors == tuple(vectors)
    assert not any(is_client(address) for address in play.members)
    assert min(play.members) == FIRST_OPENER - 9


@pytest.mark.parametrize("stage", ["report", "sign", "answer"])
def test_the_promised_number_of_members_may_be_absent(stage):
    vectors = vectors_of()
    play = Play(vectors)
    play.deliver()
    stages = ["report", "sign", "answer"]
    result = play.finished(dict.fromkeys(stages[stages.index(stage) :], (-2, -7)))
    assert np.array_equal(result.total, sum(vectors.values()))


def test_without_a_quorum_there_is_no_sum():
    play = Play(vectors_of())
    play.deliver()
    with pytest.raises(secagg.Aborted):
        play.finished({"sign": (-2, -3, -4, -5, -6)})
    with pytest.raises(LocalProtocolError, match="not finished"):
        play.server.result()


def test_clients_without_ciphertexts_or_key_are_left_out():
    vectors = vectors_of()
    play = Play(vectors)
    *chunks, shares = play.sent.pop(3)
    with pytest.raises(LocalProtocolError, match="client 3 sent shares of its key before"):
        play.server.receive(3, shares)
    play.sent[5] = play.sent[5][:-1]
    play.deliver()
    result = play.finished()
    assert result.survivors == (1, 2, 4, 6, 7, 8, 9)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))
    assert chunks


def test_a_client_whose_shares_open_nowhere_is_left_out_with_its_ciphertexts():
    vectors = vectors_of()
    play = Play(vectors)
    # A dealer that seals rubbish: its envelopes are those of another sum.
    *chunks, _ = play.sent[4]
    rubbish = _resealed(play, 4, chunks)
    play.sent[4] = (*chunks, rubbish)
    play.deliver()
    result = play.finished()
    assert 4 not in result.survivors
    assert np.array_equal(result.total, sum(vectors[i] for i in vectors if i != 4))
    assert [found.client for found in play.server.convictions] == [4]


def _resealed(play, client, chunks):
    """A contribution that names these ciphertexts and is signed, with envelopes that open nowhere."""
    numbers = play.server._sums.numbers
    session, content = decode(play.sent[client][-1], numbers)
    envelopes = tuple(bytes(len(envelope)) for envelope in content.envelopes)
    root = hashlib.sha256(b"".join(envelopes)).digest()
    head = Head(client, content.message_digest, content.public, root)
    signature = IDENTITIES[client].sign(head.name(session))
    forged = Contribution(client, content.message_digest, content.public, signature, envelopes)
    assert chunks
    return encode(forged, session)


def attempt_with_other_ciphertexts():
    """A key that is shared for other ciphertexts than those that came with it."""
    vectors = vectors_of()
    play, another = Play(vectors), Play(vectors)
    play.sent[4] = (*another.sent[4][:-1], play.sent[4][-1])
    with pytest.raises(LocalProtocolError, match="client 4 shared its key for other"):
        play.deliver()
    play.sent = {client: sent for client, sent in play.sent.items() if client > 4}
    play.deliver()


def test_v7_a_key_for_other_ciphertexts_is_refused():
    attempt_with_other_ciphertexts()


def test_v7_mutant_that_compares_no_digest_takes_it(monkeypatch):
    check = "named_digest(message, self.numbers) != self.adding.digest(sender)"
    without(monkeypatch, module._Halves, "contribute", check)
    with pytest.raises(FOUND):
        attempt_with_other_ciphertexts()


def test_v7_a_copy_of_anothers_message_is_refused():
    play = Play(vectors_of())
    chunk, shares = play.sent[1]
    with pytest.raises(he.RemoteProtocolError, match="client 2 sent a chunk of client 1"):
        play.server.receive(2, chunk)
    for message in play.sent[2][:-1]:
        play.server.receive(2, message)
    with pytest.raises(LocalProtocolError, match="client 2 shared its key for other"):
        play.server.receive(2, shares)


@pytest.mark.parametrize("opening", [b"ONE1another context", b"", b"ONE2"])
@pytest.mark.parametrize("length", [3, 3000])
def test_an_opening_of_another_sum_is_refused_before_a_key_is_drawn(length, opening):
    spec = spec_for(vectors_of(length=length), max_abs=1000)
    given = SUMS.provision(spec, {client: IDENTITIES[client].public for client in vectors_of()})
    side = SUMS.client_side(given.clients)
    with pytest.raises(LocalProtocolError, match="for another round or model"):
        side.session(spec, 4, IDENTITIES[4], opening)
    assert side.session(spec, 4, IDENTITIES[4], b"ONE1" + spec.context)


def test_a_stranger_and_a_late_client_are_refused():
    play = Play(vectors_of())
    with pytest.raises(LocalProtocolError, match="awaits no message from client 77"):
        play.server.receive(77, play.sent[1][0])
    late = play.sent.pop(9)
    play.deliver()
    play.server.advance()
    with pytest.raises(LocalProtocolError, match="awaits no message from client 9"):
        play.server.receive(9, late[0])


def test_an_improper_ciphertext_leaves_the_round_without_a_sum():
    vectors = vectors_of()
    play = Play(vectors)
    play.deliver()
    upload = play.server._sums.adding._uploads[4].chunks[0]
    # All coefficients are spoiled: one alone has room for noise that hides it with probability 0.37.
    spoiled = bytes(byte ^ 0xFF for byte in upload.planes[0])
    object.__setattr__(upload, "planes", (memoryview(spoiled),))
    with pytest.raises(he.RemoteProtocolError, match="more noise than 9 honest clients"):
        play.finished()


@pytest.mark.parametrize(
    ("shift", "says"),
    [(1, "more noise than 9 honest clients"), (10_000, "no sum of the keys of 9")],
)
def test_v4_the_limit_a_false_key_prevents_the_sum_and_nobody_is_named(shift, says, monkeypatch):
    """Shares on polynomials pass every check of the members, however large what they share is.

    Nothing proves that a key is in its range, or is that of the ciphertexts; see docs/limits.md.
    """
    honest = Encryptor.take_key

    def false(encryptor):
        key = honest(encryptor)
        key[0] += shift * (encryptor._client_id == 4)
        return key

    monkeypatch.setattr(Encryptor, "take_key", false)
    bound = "bool(((values < -bound) | (values > bound)).any())"
    without(monkeypatch, Contributor, "contribute", bound)
    play = Play(vectors_of())
    play.deliver()
    with pytest.raises(he.RemoteProtocolError, match=says):
        play.finished()
    assert play.server.convictions == ()


def test_only_the_set_is_added():
    play = Play(vectors_of())
    play.deliver()
    play.server.advance()
    assert play.server._sums.collector.phase is CommitteePhase.REPORT
    assert play.server._sums.adding.contributors == ()


def test_the_numbers_of_a_committee():
    assert SUMS.min_survivors(100) == 80
    assert OneShot(dropout_rate=0.5, corrupt_rate=0.4).min_survivors(10) == 6
    assert OneShot().smallest_cohort() == 4
    assert (
        "at most 2 of the 20 members"
        in OneShot().assumptions(SumSpec(5000, 1000, None, 10, b"any sum"))[0]
    )


@pytest.mark.parametrize(
    "bad", [{"committee": 2}, {"corrupt_members": 9}, {"committee": 0}, {"absent_members": 9}]
)
def test_a_committee_that_cannot_be_is_refused(bad):
    with pytest.raises(secagg.UnsafeParametersError):
        OneShot(**bad)
    OneShot(**bad, keys="secagg")  # has no committee


def test_material_prints_no_key():
    given = SUMS.provision(spec_for(vectors_of(), max_abs=9), {1: IDENTITIES[1].public})
    side = SUMS.opener_side(given.openers[FIRST_OPENER])
    assert "SealingKey" not in repr(side)
    assert "Identity" not in repr(side)
    assert "<redacted>" in repr(given)


def test_a_plan_may_assume_fewer_corrupt_members_than_a_stranger_would_accept():
    """Every party has the numbers from its own plan, so that floors for a server's numbers do not apply."""
    vectors = vectors_of()
    found = sum_once(
        OneShot(committee=30, corrupt_members=1, absent_members=3),
        vectors,
        max_abs=2**15,
        context=b"fewer",
    )
    assert np.array_equal(found.total, sum(vectors.values()))


def test_the_committee_counts_the_colluding_clients_that_the_plan_assumes():
    sums = OneShot(corrupt_rate=0.3, dropout_rate=0.1)
    vectors = vectors_of()
    numbers = sums._way.params(sums.key_spec(spec_for(vectors, max_abs=9)))
    assert numbers.corrupt_clients == sums.colluders(len(vectors)) == 3
    assert numbers.min_clients >= numbers.corrupt_clients + 2
