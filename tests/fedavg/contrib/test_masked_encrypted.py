"""EncryptedSecAgg: masks and encryption, and the protection that remains when one of them is broken."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.stats import chi2

import he
import secagg.roles.client.client
from fedavg.contrib import masked_encrypted as sum_masked_he
from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.errors import LocalProtocolError, PlanError, RoundAbortedError
from fedavg.sums.encrypted import Bfv
from fedavg.sums.interface import KEY_HOLDER, SumSpec
from fedavg.sums.sides.he_keys import HeMaterial
from fedavg.sums.sides.opening import OPENED, _Opened
from he.coding.packing import unpack
from he.coding.plaintexts import decode
from he.coding.words import restore_low_bits, unpack_words
from he.params import BLOCK, DEGREE
from he.rounds import hash_context
from he.wire import open_upload
from secagg import SecAggError
from secagg.crypto import ring
from tests.fedavg.contract.sums import IDENTITIES, secure_sum, spec_for
from tests.hostile.mutants import without

N, LENGTH, BOUND = 5, 4000, 1000
RATES = {"dropout_rate": 0.33, "corrupt_rate": 0.0}
MODES = [{}, {"key_at": "clients"}, {"scheme": "ckks", "key_at": "clients"}]


def vectors_of(n=N, length=LENGTH, seed=0):
    rng = np.random.default_rng(seed)
    return {7 * i: rng.integers(-BOUND, BOUND + 1, length) for i in range(1, n + 1)}


class Play:
    """A round taken apart: sessions of all roles, and what each client uploaded."""

    def __init__(self, backend, vectors):
        self.backend, self.vectors = backend, vectors
        self.spec = spec_for(vectors, max_abs=BOUND)
        known = {client: IDENTITIES[client].public for client in vectors}
        self.provision = backend.provision(self.spec, known)
        self.server = backend.server_side(self.provision.server).session(self.spec, sorted(vectors))
        self.holder = backend.key_holder_side(self.provision.key_holder).session(self.spec)
        self.side = backend.client_side(self.provision.clients)
        self.sessions = {}
        self.uploads = {}
        self.outgoing = self.server.open()

    def replies(self, client):
        messages = self.outgoing[client]
        if client not in self.sessions:
            session = self.side.session(self.spec, client, IDENTITIES[client], messages[0])
            session.set_input(self.vectors[client])
            self.sessions[client] = session
            return session.start()
        return [reply for m in messages for reply in self.sessions[client].receive(m)]

    def step(self):
        stage = self.server.stage
        for client in self.outgoing:
            replies = self.replies(client)
            if stage in ("masked_input", "encrypt"):
                self.uploads[client] = replies
            for reply in replies:
                self.server.receive(client, reply)
        self.outgoing = self.server.advance()

    def to(self, stage):
        while self.server.stage != stage:
            self.step()
        return self

    def finish(self):
        while self.outgoing:
            self.step()
        return self.server.result()

    def open(self, answer=None):
        honest = self.holder.receive(self.outgoing[KEY_HOLDER])
        for message in honest if answer is None else answer(honest):
            self.server.receive(KEY_HOLDER, message)
        self.outgoing = self.server.advance()
        return self


def enrolled(clients):
    return he.Directory({client: IDENTITIES[client].public for client in clients})


def read_one(secret, chunks, context, bits, own):
    """What server and key holder together read of one upload: its plaintext, without any check."""
    params, values = secret.params, []
    for index, chunk in enumerate(chunks):
        upload = open_upload(chunk, secret.public(), hash_context(context), **own)
        words = restore_low_bits(unpack_words(upload.body, params.word_bits), params.word_bits)
        parts = words.reshape(params.parts, -1, DEGREE)
        phase = secret.phase(parts, [upload.name.nonce], index * BLOCK)
        slots = decode(phase, params, contributors=1)
        values.append(unpack(slots, params, contributors=1))
    opened = np.concatenate(values)[: upload.name.vector_length]
    return opened if bits is None else opened & ((1 << bits) - 1)


def joint_view(backend):
    """All uploads of a round as server and key holder read them together, and the inputs."""
    play = Play(backend, vectors_of())
    if isinstance(backend, Bfv):
        play.step()
        secret, bits = HeMaterial.from_bytes(play.provision.key_holder).secret(), None
    else:
        play.to("open")
        held = HeMaterial.from_bytes(play.provision.key_holder)
        secret = he.SecretContext.from_secret_key(he.Params.from_bytes(held.params), held.keys)
        bits = backend.masks.params(play.spec).ring_bits
    context, read = play.spec.context, {}
    for client, chunks in play.uploads.items():
        own = {} if bits is None else {"sender": client, "enrolled": enrolled(play.vectors)}
        read[client] = read_one(secret, chunks, context, bits, own)
    return read, play.vectors, bits


def uneven(values, bits):
    """Chi-squared of the top four bits and of the low four, the larger, over its threshold.

    5 clients × 4,000 words; tail 2.5e-7 for each of two statistics: false-alarm rate ≤ 5e-7.
    """
    limit, worst = chi2.isf(2.5e-7, 15), 0.0
    for cell in (values >> (bits - 4), values & 15):
        counts = np.bincount(cell, minlength=16)
        worst = max(worst, float(((counts - values.size / 16) ** 2 / (values.size / 16)).sum()))
    return worst / limit


def follows(read, vectors, bits):
    """Whether what was read of any client is its input, or correlates with it.

    |r| of 4,000 independent pairs exceeds 0.1 with probability < 3e-10, five times.
    """
    half = 1 << (bits - 1)
    for client, words in read.items():
        centred = ((words + half) & (2 * half - 1)) - half
        if abs(np.corrcoef(centred, vectors[client])[0, 1]) > 0.1:
            return True
    return False


@pytest.mark.parametrize("mode", MODES)
def test_server_and_key_holder_together_read_masked_words_only(mode):
    read, vectors, bits = joint_view(EncryptedSecAgg(**RATES, **mode))
    assert len(read) == N
    assert uneven(np.concatenate(list(read.values())), bits) < 1
    assert not follows(read, vectors, bits)


def test_the_same_two_read_every_update_where_encryption_is_alone():
    read, vectors, _ = joint_view(Bfv(**RATES))
    assert all(np.array_equal(read[client], vectors[client]) for client in vectors)


def bare(vector, cohort, *_, **__):
    return ring.to_ring(vector, cohort.params.ring_bits)


def test_mutant_clients_that_forget_their_masks_are_read(monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "mask_input", bare)
    read, vectors, bits = joint_view(EncryptedSecAgg(**RATES))
    assert uneven(np.concatenate(list(read.values())), bits) > 1
    assert follows(read, vectors, bits)


def test_the_other_lock_a_server_that_knows_all_masks_sees_ciphertexts(monkeypatch):
    """Clients without masks stand for masks that are known: uploads still do not show the input."""
    monkeypatch.setattr(secagg.roles.client.client, "mask_input", bare)
    backend = EncryptedSecAgg(**RATES)
    play = Play(backend, vectors_of()).to("open")
    for client, chunks in play.uploads.items():
        words = np.concatenate([backend.uploaded(chunk) for chunk in chunks])
        assert uneven((words >> np.uint64(0)).astype(np.int64) & 0xFFFFFFFF, 32) < 1
        assert not any(play.vectors[client].astype("<i8").tobytes()[:48] in c for c in chunks)


def test_keys_are_where_they_belong():
    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=3))
    secret_key = HeMaterial.from_bytes(play.provision.key_holder).keys
    inside = secret_key[20:-32]
    assert len(inside) == 8 * DEGREE
    assert inside not in play.provision.clients
    assert inside not in play.provision.server
    assert isinstance(play.side.keys, he.EncryptContext)
    shared = Play(EncryptedSecAgg(key_at="clients"), vectors_of(length=3))
    assert HeMaterial.from_bytes(shared.provision.key_holder).keys in shared.provision.clients
    assert "redacted" in repr(play.provision)
    assert secret_key not in repr(HeMaterial.from_bytes(play.provision.key_holder)).encode()


@pytest.mark.parametrize("stage", range(6))
def test_silence_at_every_message(stage):
    vectors = vectors_of(9, 50, stage)
    ids = sorted(vectors)
    spec = spec_for(vectors, max_abs=BOUND)
    silent = {ids[2]: stage, ids[7]: stage}
    result = secure_sum(EncryptedSecAgg(**RATES), vectors, spec, silent_from=silent)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))
    assert len(result.survivors) == (7 if stage <= 3 else 9)


def test_a_smaller_roster_than_the_keys_were_made_for():
    """Masked words get narrower with the roster; the keys stay those of the largest."""
    backend = EncryptedSecAgg(**RATES)
    vectors = vectors_of(4, 300)
    large, spec = spec_for(vectors_of(40, 300), max_abs=BOUND), spec_for(vectors, max_abs=BOUND)
    assert backend.masks.params(spec).ring_bits < backend.masks.params(large).ring_bits
    play = Play.__new__(Play)
    play.backend, play.vectors, play.spec = backend, vectors, spec
    play.provision = backend.provision(large, {c: IDENTITIES[c].public for c in vectors})
    play.server = backend.server_side(play.provision.server).session(spec, sorted(vectors))
    play.side = backend.client_side(play.provision.clients)
    play.sessions, play.uploads = {}, {}
    play.outgoing = play.server.open()
    play.holder = backend.key_holder_side(play.provision.key_holder).session(spec)
    result = play.to("open").open().finish()
    assert np.array_equal(result.total, sum(vectors.values()))


def test_nothing_is_unmasked_before_the_sum_is_open():
    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("open")
    assert set(play.outgoing) == {KEY_HOLDER}
    with pytest.raises(RoundAbortedError, match="did not open"):
        play.server.advance()
    with pytest.raises(SecAggError):
        play.server.result()


def altered(change):
    def answer(messages):
        opened = msgspec.msgpack.decode(messages[0][4:], type=_Opened)
        return (OPENED + msgspec.msgpack.encode(change(opened)),)

    return answer


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (altered(lambda o: _Opened(o.total[8:], o.survivors)), "another length"),
        (altered(lambda o: _Opened(o.total, o.survivors[1:])), "other clients"),
        (lambda _: (OPENED + b"\xc1",), "cannot be read"),
        (lambda _: (b"SUM?",), "not an opened sum"),
        (lambda honest: honest * 2, "not awaited|does not belong"),
    ],
)
def test_answers_that_cannot_be_are_refused(answer, match):
    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("open")
    with pytest.raises(LocalProtocolError, match=match):
        play.open(answer)


def test_a_lying_key_holder_shifts_the_sum_and_this_is_a_limit():
    def by_five(opened):
        total = np.frombuffer(opened.total, "<i8") + 5
        return _Opened(total.tobytes(), opened.survivors)

    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("open")
    result = play.open(altered(by_five)).finish()
    assert np.array_equal(result.total, sum(play.vectors.values()) + 5)


def test_who_is_no_partner_is_not_added():
    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("share_keys")
    late = min(play.vectors)
    del play.outgoing[late]
    play.to("masked_input")
    chunks = he.Client(play.side.keys, late, context=play.spec.context).encrypt(np.arange(10))
    with pytest.raises(LocalProtocolError, match="no longer part"):
        play.server.receive(late, next(iter(chunks)))
    result = play.to("open").open().finish()
    assert late not in result.survivors
    with pytest.raises(LocalProtocolError, match="roster"):
        play.server.receive(4, b"")


def test_a_masked_input_in_the_clear_is_refused():
    """A client that encrypts nothing is not taken for one that does."""
    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("masked_input")
    client = min(play.vectors)
    inner = play.sessions[client]._masks.receive(play.outgoing[client][0])
    with pytest.raises(he.HeError):
        play.server.receive(client, inner[0])


LOCAL = EncryptedSecAgg(0.05, 0.0, "malicious-local")


def dozen(length):
    return dict(zip(range(12), vectors_of(12, length).values(), strict=True))


def test_quorums_of_neighbours_under_encryption():
    """A masked input's signature covers with whom it is masked, not its words: it goes ahead of them."""
    vectors = dozen(300)
    play = Play(LOCAL, vectors).to("open")
    for chunks in play.uploads.values():
        named = [LOCAL.describe(chunk) for chunk in chunks]
        assert named[0] == "signature of a masked input"
        assert set(named[1:]) == {"encrypted masked input"}
        assert LOCAL.uploaded(chunks[0]) is None
    result = play.open().finish()
    assert np.array_equal(result.total, sum(vectors.values()))
    assert result.survivors == tuple(sorted(vectors))


@pytest.mark.parametrize("missing", ["signature", "another's signature"])
def test_words_without_their_signature_are_not_added(missing):
    play = Play(LOCAL, dozen(10)).to("masked_input")
    client, other = sorted(play.vectors)[:2]
    signed, *words = play.replies(client)
    if missing == "another's signature":
        with pytest.raises(SecAggError, match="other partners"):
            play.server.receive(client, play.replies(other)[0])
    with pytest.raises(LocalProtocolError, match="without its input's signature"):
        play.server.receive(client, words[0])
    assert not play.server._adding.contributors
    play.server.receive(client, signed)
    play.server.receive(client, words[0])
    assert play.server._adding.contributors == (client,)


def test_mutant_that_takes_unsigned_words_loses_the_round(monkeypatch):
    """Every neighbour of the client would miss its signature; the server is told so when it is too late."""
    mutant = without(
        monkeypatch, sum_masked_he._ServerSession, "receive", "sender not in self._signatures"
    )
    assert mutant is not None
    play = Play(LOCAL, dozen(10)).to("masked_input")
    late = min(play.vectors)
    for client in play.outgoing:
        for reply in play.replies(client)[client == late :]:
            play.server.receive(client, reply)
    play.outgoing = play.server.advance()
    with pytest.raises(SecAggError, match="other partners"):
        play.open()


class Impostor:
    """A member of the cohort that sends ciphertexts in another's name, before that one does."""

    def __init__(self, signing_key):
        self.play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("masked_input")
        self.victim, member = sorted(self.play.vectors)[:2]
        key = {"its own": IDENTITIES[member], "the group's": None}[signing_key]
        client = he.Client(
            self.play.side.keys, self.victim, context=self.play.spec.context, signing_key=key
        )
        self.chunks = list(client.encrypt(np.arange(10)))

    def send(self):
        for chunk in self.chunks:
            self.play.server.receive(self.victim, chunk)


@pytest.mark.parametrize("signing_key", ["its own", "the group's"])
def test_no_member_sends_in_anothers_name(signing_key):
    impostor = Impostor(signing_key)
    with pytest.raises(he.AuthenticationError, match=f"client {impostor.victim}"):
        impostor.send()
    result = impostor.play.to("open").open().finish()
    assert np.array_equal(result.total, sum(impostor.play.vectors.values()))


def test_mutant_without_identities_the_sum_is_the_impostors(monkeypatch):
    monkeypatch.setattr(he.Directory, "verify", lambda *_: None)
    impostor = Impostor("its own")
    impostor.send()
    play = impostor.play
    for client in play.vectors:
        replies = play.replies(client)
        for reply in replies if client != impostor.victim else ():  # who comes too late by now
            play.server.receive(client, reply)
    play.outgoing = play.server.advance()
    result = play.open().finish()
    assert impostor.victim in result.survivors
    assert not np.array_equal(result.total, sum(play.vectors.values()))


def test_the_key_holder_opens_sums_of_known_clients_only():
    play = Play(EncryptedSecAgg(**RATES), vectors_of(length=10)).to("open")
    held = HeMaterial.from_bytes(play.provision.key_holder)
    foreign = {client: secagg.Identity.generate().public for client in play.vectors}
    directory = msgspec.msgpack.encode(foreign)
    material = msgspec.structs.replace(held, directory=directory).to_bytes()
    holder = play.backend.key_holder_side(material).session(play.spec)
    with pytest.raises(he.AuthenticationError, match=f"client {min(play.vectors)}"):
        holder.receive(play.outgoing[KEY_HOLDER])


def test_what_does_not_go_together():
    with pytest.raises(PlanError, match="threat_model"):
        EncryptedSecAgg(threat_model="honest")
    with pytest.raises(PlanError, match="scheme"):
        EncryptedSecAgg(scheme="rsa")
    with pytest.raises(PlanError, match="key_at"):
        EncryptedSecAgg(key_at="server")
    with pytest.raises(PlanError, match="dropout_rate"):
        EncryptedSecAgg(dropout_rate=1.0)


def test_assumptions_say_who_can_do_what():
    holder, clients = EncryptedSecAgg(), EncryptedSecAgg(key_at="clients")
    spec = SumSpec(5000, 1000, None, 10, b"any sum")
    assert any("Only the key holder can decrypt" in line for line in holder.assumptions(spec))
    assert any("masks alone protect" in line for line in clients.assumptions(spec))
    semi_honest = msgspec.structs.replace(holder, threat_model="semi-honest")
    assert "only looks" in semi_honest.assumptions(spec)[0]
