"""The bytes of a suspended client by a second reader, written from docs/protocol.md: known answers and fuzz.

The known answers were computed by the package once, on x86-64, and are read here by the second reader; they
guard the format against changes that a reader and a writer make together.
"""

from __future__ import annotations

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import secagg.roles.client.suspended
from secagg import Phase, StateError
from secagg.testing import deterministic_entropy
from secagg.wire.codec import decode, encode
from secagg.wire.messages import Survivors
from tests.hostile.mutants import without
from tests.secagg.roles.client.test_suspended import BETWEEN, WHO, Memory, fresh, resumed

HEADER = 4 + 4 + 4 + 32 + 32
FIELDS = {
    Phase.SHARE_KEYS: ("offer", "own", "channel", "mask", "seed", "input"),
    Phase.CHECK_SHARES: ("offer", "roster", "mask", "seed", "own_share", "routes", "input"),
    Phase.MASKED_INPUT: ("offer", "roster", "mask", "seed", "own_share", "held", "input"),
    Phase.CONSISTENCY: ("offer", "roster", "partners", "own_share", "held"),
    Phase.UNMASK: ("offer", "roster", "partners", "survivors", "signature", "own_share", "due"),
}
KNOWN = {
    Phase.SHARE_KEYS: "2f446bdc81c2e467ca225b8db0990e5e",
    Phase.CHECK_SHARES: "8e294885e8205ba9bf2a988fd1b301c8",
    Phase.MASKED_INPUT: "7b8e07987bbbc37d8d3a6a063cfa3738",
    Phase.CONSISTENCY: "e665d1057ad22bd36d8edf70e091e284",
    Phase.UNMASK: "dc9a61c6d52c731b5f07af9ee1a97d60",
}


def _aead(state, identity):
    session, salt = state[12:44], state[44:76]
    info = b"secagg v2 suspended client\0" + salt
    key = HKDF(SHA256(), 32, salt=session, info=info).derive(identity.private_bytes())
    return AESGCM(key)


def opened(state, identity):
    """Header and plain text of a state, by the page alone."""
    return state[:HEADER], _aead(state, identity).decrypt(bytes(12), state[HEADER:], state[:HEADER])


def sealed(state, identity, plain):
    """Another plain text under the header and key of a state."""
    return state[:HEADER] + _aead(state, identity).encrypt(bytes(12), plain, state[:HEADER])


def split(plain):
    fields = []
    while plain:
        (size,) = struct.unpack_from("<I", plain)
        fields.append(plain[4 : 4 + size])
        plain = plain[4 + size :]
    return fields


def joined(fields):
    return b"".join(struct.pack("<I", len(data)) + data for data in fields)


def at(phase):
    journal = Memory()
    with deterministic_entropy(b"suspended states"):
        lab = fresh(journal).run_to(phase)
        state = lab.clients[WHO].suspend()
    return lab, state, journal


@pytest.mark.parametrize("phase", BETWEEN)
def test_a_second_reader_finds_the_fields_of_the_page(phase):
    lab, state, _ = at(phase)
    header, plain = opened(state, lab.identities[WHO])
    assert header[:8] == b"SAGS\x01\x01" + bytes([header[6], 0])
    assert struct.unpack_from("<I", header, 8) == (WHO,)
    found = dict(zip(FIELDS[phase], split(plain), strict=True))
    for name, size in (("channel", 32), ("mask", 32), ("seed", 32), ("signature", 64)):
        assert len(found.get(name, bytes(size))) == size


@pytest.mark.parametrize("phase", BETWEEN)
def test_known_answers(phase):
    lab, state, _ = at(phase)
    _, plain = opened(state, lab.identities[WHO])
    assert hashlib.sha256(state[:44] + plain).hexdigest()[:32] == KNOWN[phase]


@pytest.mark.parametrize("phase", BETWEEN)
def test_a_resumed_client_is_suspended_to_the_same_plain_text(phase):
    lab, state, journal = at(phase)
    again = resumed(lab, state, journal).suspend()
    assert opened(again, lab.identities[WHO])[1] == opened(state, lab.identities[WHO])[1]
    assert again[44:76] != state[44:76]  # the salt, and with it the key


SEALED = {phase: at(phase) for phase in BETWEEN}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(BETWEEN), st.data())
def test_any_plain_text_is_a_client_or_refused(phase, data):
    """Whoever holds the identity can seal anything; no foreign error leaves, and no half-read client."""
    lab, state, journal = SEALED[phase]
    fields = split(opened(state, lab.identities[WHO])[1])
    which = data.draw(st.integers(0, len(fields) - 1))
    damage = data.draw(st.sampled_from(["flip", "cut", "longer", "other", "drop", "twice", "swap"]))
    old = fields[which]
    if damage == "flip" and old:
        place = data.draw(st.integers(0, len(old) - 1))
        fields[which] = (
            old[:place] + bytes([old[place] ^ data.draw(st.integers(1, 255))]) + old[place + 1 :]
        )
    elif damage == "cut":
        fields[which] = old[: data.draw(st.integers(0, len(old)))]
    elif damage == "longer":
        fields[which] = old + data.draw(st.binary(min_size=1, max_size=40))
    elif damage == "other":
        fields[which] = data.draw(st.binary(max_size=200))
    elif damage == "drop":
        del fields[which]
    elif damage == "twice":
        fields.insert(which, old)
    else:
        fields[0], fields[which] = fields[which], fields[0]
    try:
        client = resumed(lab, sealed(state, lab.identities[WHO], joined(fields)), journal)
    except StateError:
        return
    assert client.phase is phase
    assert split(opened(client.suspend(), lab.identities[WHO])[1]) == fields


@pytest.mark.parametrize("plain", [b"", b"\0", b"\xff\xff\xff\xff", b"\1\0\0\0"])
def test_a_plain_text_that_ends_early_is_refused(plain):
    lab, state, journal = SEALED[Phase.UNMASK]
    with pytest.raises(StateError, match="other data than its phase needs"):
        resumed(lab, sealed(state, lab.identities[WHO], plain), journal)


def test_a_last_state_with_signatures_of_inputs_is_refused():
    """One client has one form: these were checked before it signed, and are not kept."""
    lab, state, journal = SEALED[Phase.UNMASK]
    fields = split(opened(state, lab.identities[WHO])[1])
    session, survivors = decode(fields[3])
    fields[3] = encode(Survivors(survivors.members, [bytes(64)]), session)
    with pytest.raises(StateError, match="other data than its phase needs"):
        resumed(lab, sealed(state, lab.identities[WHO], joined(fields)), journal)


def test_mutant_that_reads_signatures_of_inputs(monkeypatch):
    read = secagg.roles.client.suspended._read_survivors
    mutant = without(
        monkeypatch, secagg.roles.client.suspended, read.__name__, "not found.signatures", "True"
    )
    write, _ = secagg.roles.client.suspended._FIELDS["survivors"]
    monkeypatch.setitem(secagg.roles.client.suspended._FIELDS, "survivors", (write, mutant))
    with pytest.raises(pytest.fail.Exception):
        test_a_last_state_with_signatures_of_inputs_is_refused()
