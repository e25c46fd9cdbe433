"""S20: no key and no plain vector is in reach of the frames of an exception of he."""

from __future__ import annotations

import errno
import traceback

import numpy as np
import pytest

import he
import he.guards.calls
from he.crypto.context import SecretContext
from he.roles.client import Upload
from he.secrecy import Secret, SecretBytes
from tests.he.support.rounds import collect, fresh_context, keys
from tests.hostile.leftovers import Leftovers, passed_on
from tests.hostile.mutants import FOUND

LEFTOVERS = Leftovers(
    he,
    he.HeError,
    (Secret, SecretBytes, he.Client, he.KeyHolder, Upload),
    theirs=("iterator = iter(", "data = next("),
)
VECTOR = np.array([424, -717, 313, 999])
SYMMETRIC = keys(3, 1000)
PUBLIC = keys(3, 1000, public_key=True)


def secrets_of(secret):
    """The bytes that must not be left behind: the key, and the seeds of signing and tags."""
    seeds = secret._group.seeds
    return [secret._secret_key.tobytes(), seeds[:32], seeds[32:]]


def left_behind(error, secrets, vector=VECTOR):
    found = LEFTOVERS.left_behind(error, secrets, vector)
    for variables in LEFTOVERS.variables(error):
        values = variables.values() if isinstance(variables, dict) else variables
        found += ["an array" for value in values if isinstance(value, np.ndarray)]
    return found


def encrypting(secret, encryptor):
    def prepare():
        client = he.Client(encryptor, 1, context=b"r", signing_key=he.SigningKey.generate())
        box = [VECTOR.copy()]
        call = lambda: list(client.encrypt(box.pop()))  # noqa: E731 - has to forget the vector
        return call, client, [*secrets_of(secret), client._signer.private_bytes()]

    return prepare


def opening():
    context = fresh_context()
    sent = {i: list(he.Client(SYMMETRIC, i, context=context).encrypt(VECTOR)) for i in (0, 1)}
    total = list(collect(SYMMETRIC, sent, context).result())
    exported = SYMMETRIC.export_secret_key()

    def prepare():
        secret = SecretContext.from_secret_key(SYMMETRIC.params, exported)
        holder = he.KeyHolder(secret, min_clients=2, context=context)
        return lambda: holder.decrypt(total), holder, secrets_of(secret)

    return prepare


def restoring():
    exported = SYMMETRIC.export_secret_key()

    def prepare():
        box = [exported]
        call = lambda: SecretContext.from_secret_key(SYMMETRIC.params, box.pop())  # noqa: E731
        return call, None, secrets_of(SYMMETRIC)

    return prepare


def restoring_encryption_keys():
    exported = PUBLIC.encryptor().export_encryption_keys()
    restore = he.EncryptContext.from_encryption_keys

    def prepare():
        box = [exported]
        call = lambda: restore(PUBLIC.params, box.pop())  # noqa: E731
        return call, None, secrets_of(PUBLIC)[1:]

    return prepare


def restoring_a_signing_key():
    private = he.SigningKey.generate().private_bytes()
    restore = he.SigningKey.from_private_bytes

    def prepare():
        box = [private]
        return lambda: restore(box.pop()), None, [private]

    return prepare


def exporting():
    return lambda: (SYMMETRIC.export_secret_key, None, secrets_of(SYMMETRIC))


CALLS = {
    "encrypt": lambda: encrypting(SYMMETRIC, SYMMETRIC),
    "encrypt under a public key": lambda: encrypting(PUBLIC, PUBLIC.encryptor()),
    "open": opening,
    "restore": restoring,
    "restore encryption keys": restoring_encryption_keys,
    "restore a signing key": restoring_a_signing_key,
    "export": exporting,
}


@pytest.mark.parametrize("name", CALLS)
def test_s20_wherever_a_call_of_he_fails_nothing_is_left(name):
    for place, _, error, secrets in LEFTOVERS.failures(CALLS[name]()):
        assert not left_behind(error, secrets), place


@pytest.mark.parametrize("name", CALLS)
def test_s20_mutant_of_he_that_keeps_its_frames_is_found(name, monkeypatch):
    monkeypatch.setattr(he.guards.calls, "_empty", lambda *_: None)
    monkeypatch.setattr(he.guards.calls, "_named", passed_on(he.InternalError))
    with pytest.raises(FOUND):
        test_s20_wherever_a_call_of_he_fails_nothing_is_left(name)


@pytest.mark.parametrize("vector", [VECTOR * 10, VECTOR.astype(np.int32), VECTOR.tolist()])
def test_s20_a_refused_vector_is_not_left(vector):
    box, client = [vector], he.Client(SYMMETRIC, 1, context=b"r")
    with pytest.raises(he.HeError) as caught:
        client.encrypt(box.pop())
    assert not left_behind(caught.value, secrets_of(SYMMETRIC), np.asarray(vector))


def test_s20_a_hostile_sum_leaves_no_key(monkeypatch):
    """A server's forgery, found in a frame that holds the tag key."""

    def forged():
        holder = opening()()[1]
        context = fresh_context()
        sent = {i: list(he.Client(SYMMETRIC, i, context=context).encrypt(VECTOR)) for i in (0, 1)}
        (chunk,) = collect(SYMMETRIC, sent, context).result()
        box = [he.KeyHolder(SYMMETRIC, min_clients=2, context=context)]
        del holder
        with pytest.raises(he.AuthenticationError) as caught:
            box.pop().decrypt([chunk[:-1] + bytes([chunk[-1] ^ 1])])
        return caught.value

    assert not left_behind(forged(), secrets_of(SYMMETRIC))
    monkeypatch.setattr(he.guards.calls, "_empty", lambda *_: None)
    assert left_behind(forged(), secrets_of(SYMMETRIC))


class LostError(Exception):
    """A caller's own."""


def test_s20_the_callers_own_errors_come_back_as_they_are():
    prepare = opening()

    def broken():
        yield b""
        raise LostError("line")

    def lost():
        raise LostError("at once")
        yield b""

    for chunks in (lost(), broken()):
        call, holder, secrets = prepare()
        del call
        box = [holder]
        del holder
        with pytest.raises((LostError, he.WireFormatError)) as caught:
            box.pop().decrypt(chunks)
        assert not left_behind(caught.value, secrets)
    call, holder, _ = prepare()
    with pytest.raises(LostError, match="at once") as caught:
        holder.decrypt(lost())
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert frames[-1] == "lost"
    assert call().survivors == (0, 1)  # nothing was used up


def test_s20_the_system_may_say_why(monkeypatch):
    """Too many open files: the error code is public, but the text of a system error may hold a path."""

    def full(*_):
        raise OSError(errno.EMFILE, "what it says", "/private/path")

    client = he.Client(SYMMETRIC, 1, context=b"r")
    monkeypatch.setattr("he.scheme.os.memfd_create", full)
    with pytest.raises(he.InternalError, match="Too many open files") as caught:
        list(client.encrypt(VECTOR))
    assert "private" not in str(caught.value)


def test_s20_a_call_that_does_not_fit_is_pythons_type_error():
    with pytest.raises(TypeError, match="context"):
        he.Client(SYMMETRIC, 1)
