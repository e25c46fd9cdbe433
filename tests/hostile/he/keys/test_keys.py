"""C1, C2, C6, C7: the secret key stays where it belongs, and keys do not mix."""

import copy
import pickle
import traceback

import numpy as np
import pytest

import he
import he.coding.packing
import he.coding.plaintexts
from he.coding.words import restore_low_bits, unpack_words
from he.crypto.context import PublicContext
from he.rounds import hash_context
from he.scheme import Ring
from tests.he.support.rounds import collect, fresh_context, keys, tag_vector, uploads

SCHEMES = ["ckks", "bfv"]


def secret_windows(secret):
    """Every aligned 8-byte piece of all that is secret: key, signing seed, tag seed, tag key."""
    exported = secret.export_secret_key()[20:-32]
    tag = secret.tag_key
    vector = tag_vector(tag).tobytes()
    material = exported + secret._group.seeds + tag._key + vector
    return {material[i : i + 8] for i in range(0, len(material), 8)}


def leaks(transcript, windows):
    """Whether any secret piece occurs in the bytes, at any offset.

    Chance: 12,300 pieces of 64 bits against 200,000 offsets agree with probability 2^-33.
    """
    return any(transcript[i : i + 8] in windows for i in range(len(transcript) - 7))


def server_transcript(secret, members):
    context = fresh_context()
    sent = uploads(members, np.ones((2, 5), np.int64), context)
    server = collect(secret, sent, context)
    received = [
        secret.public().to_bytes(),
        *(chunk for chunks in sent.values() for chunk in chunks),
    ]
    return b"".join([*received, *server.result()])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("public_key", [False, True])
def test_no_secret_is_in_what_the_server_receives(scheme, public_key):
    secret = keys(3, 1000, scheme, public_key=public_key)
    members = secret.encryptor() if public_key else secret
    assert not leaks(server_transcript(secret, members), secret_windows(secret))


def test_the_search_for_leaks_finds_one(monkeypatch):
    """Mutant: a public context that carries the group's signing seed along."""
    secret = keys()
    honest = PublicContext.to_bytes
    seed = secret._group.seeds[:32]
    monkeypatch.setattr(PublicContext, "to_bytes", lambda self: honest(self) + b"?" + seed)
    assert leaks(server_transcript(secret, secret), secret_windows(secret))


def everything_that_holds_a_key():
    secret = keys(3, 1000, "bfv", public_key=True)
    return [secret, secret.encryptor(), secret.tag_key, secret._group]


@pytest.mark.parametrize("index", range(4))
def test_keys_are_neither_pickled_nor_copied_nor_printed(index):
    holder = everything_that_holds_a_key()[index]
    for refused in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            refused(holder)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(holder, protocol)
    assert repr(holder) == str(holder) == f"{type(holder).__name__}(<redacted>)"
    assert not hasattr(holder, "__dict__")


def test_clients_and_key_holders_print_no_key():
    secret = keys()
    for role in (
        he.Client(secret, 1, context=b"c"),
        he.KeyHolder(secret, min_clients=2, context=b"c"),
    ):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(role)
        pieces = {piece.hex() for piece in secret_windows(secret)}
        assert not any(piece in repr(role) for piece in pieces)


def test_errors_carry_no_key():
    secret = keys()
    data = secret.export_secret_key()
    shown = []
    for damaged in (data[:-1], data[:50] + bytes([data[50] ^ 1]) + data[51:]):
        with pytest.raises(he.WireFormatError) as caught:
            he.SecretContext.from_secret_key(secret.params, damaged)
        shown += traceback.format_exception(caught.value)
    text = "".join(shown)
    for piece in secret_windows(secret):
        assert piece.hex() not in text
        assert str(int.from_bytes(piece, "little")) not in text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_keys_ciphertext_is_refused_before_arithmetic(scheme, monkeypatch):
    """C2: SEAL adds ciphertexts of different keys without complaint."""
    secret = keys(3, 1000, scheme)
    stranger = he.SecretContext.generate(secret.params)
    context = fresh_context()
    (chunk,) = uploads(stranger, np.ones((1, 5), np.int64), context)[0]
    server = he.Server(secret.public(), context=context)
    with monkeypatch.context() as patch:
        patch.setattr(Ring, "_load", never_called)
        patch.setattr("he.roles.server.unpack_words", never_called)
        with pytest.raises(he.ContextMismatchError, match="another key"):
            server.receive(0, chunk)
    assert server.contributors == ()


def test_without_fingerprint_and_signature_the_stranger_would_spoil_the_sum(monkeypatch):
    """Mutant of C2: the server adds it; the tag is what then keeps the sum closed."""
    secret = keys()
    stranger = he.SecretContext.generate(secret.params)
    context = fresh_context()
    monkeypatch.setattr("he.wire.uploads.check_origin", lambda *_: None)
    monkeypatch.setattr(PublicContext, "verify", lambda *_: None)
    sent = uploads(secret, np.ones((1, 5), np.int64), context)
    sent |= uploads(stranger, np.ones((1, 5), np.int64), context, first_id=1)
    server = collect(secret, sent, context)
    assert server.contributors == (0, 1)
    with pytest.raises(he.AuthenticationError):
        he.KeyHolder(secret, min_clients=2, context=context).decrypt(server.result())


def never_called(*_):
    pytest.fail("unauthenticated bytes reached the parser")


def test_a_traitor_in_symmetric_mode_reads_every_upload():
    """C6: this scheme cannot stop it; the class that hands out the key says so."""
    secret = keys()
    traitor = he.SecretContext.from_secret_key(secret.params, secret.export_secret_key())
    context = fresh_context()
    (chunk,) = uploads(secret, np.array([[11, -12, 13]]), context)[0]
    upload = he.wire.open_upload(chunk, secret.public(), hash_context(context))
    bits = secret.params.word_bits
    words = restore_low_bits(unpack_words(upload.body, bits), bits).reshape(1, 1, -1)
    phase = traitor.phase(words, [upload.name.nonce], 0)
    slots = he.coding.plaintexts.decode(phase, secret.params, contributors=1)
    assert he.coding.packing.unpack(slots, secret.params, contributors=1)[:3].tolist() == [
        11,
        -12,
        13,
    ]
    assert "read every upload" in " ".join(he.SecretContext.__doc__.split())


def test_a_client_in_public_key_mode_has_no_way_to_decrypt():
    secret = keys(3, 1000, "bfv", public_key=True)
    encryptor = secret.encryptor()
    assert not hasattr(encryptor, "phase")
    assert not hasattr(encryptor, "export_secret_key")
    exported = secret.export_secret_key()[20:-32]
    windows = {exported[i : i + 8] for i in range(0, len(exported), 8)}
    assert not leaks(encryptor.export_encryption_keys(), windows)


def test_every_parameter_set_passes_seals_own_128_bit_check():
    """C7: there are presets only, and all live in one ring, built at SEC_LEVEL_TYPE.TC128."""
    assert Ring().context.parameters_set()
