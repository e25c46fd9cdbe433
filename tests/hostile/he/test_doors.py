"""E7: every public argument of he in disguise is taken for exactly what it says, or refused as an HeError."""

from __future__ import annotations

import decimal

import numpy as np
import pytest

import he
from he.crypto import context
from tests.he.support.rounds import keys
from tests.hostile.mutants import FOUND, without
from tests.hostile.secagg.inputs.test_doors import Pairs

SECRET, PUBLIC = keys(3, 1000), keys(3, 1000, public_key=True)
ENCRYPTOR = PUBLIC.encryptor()
SIGNING = he.SigningKey.generate()
DIRECTORY = he.Directory({1: SIGNING.public})
VECTOR = np.arange(3)
CHUNK = next(he.Client(SECRET, 1, context=b"r").encrypt(VECTOR))
ONE = np.zeros((1, 4096), np.int64)


def client(**changes):
    told = {"keys": SECRET, "client_id": 1, "context": b"r"} | changes
    return he.Client(told.pop("keys"), told.pop("client_id"), **told)


def server(**changes):
    told = {"public": SECRET.public(), "context": b"r"} | changes
    return he.Server(told.pop("public"), **told)


def holder(**changes):
    told = {"secret": SECRET, "min_clients": 2, "context": b"r"} | changes
    return he.KeyHolder(told.pop("secret"), **told)


DOORS = {
    "n_clients": lambda x: he.Params.for_sum(x, max_abs=5),
    "max_abs": lambda x: he.Params.for_sum(3, max_abs=x),
    "ring_bits": lambda x: he.Params.for_sum(3, ring_bits=x),
    "scheme": lambda x: he.Params.for_sum(3, max_abs=5, scheme=x),
    "public_key": lambda x: he.Params.for_sum(3, max_abs=5, public_key=x),
    "params": he.Params.from_bytes,
    "vector length": SECRET.params.chunks,
    "generate": he.SecretContext.generate,
    "params of a context": lambda x: he.SecretContext(x, np.zeros(4096, np.uint64)),
    "secret key": lambda x: he.SecretContext(SECRET.params, x),
    "exported key": lambda x: he.SecretContext.from_secret_key(SECRET.params, x),
    "exported encryption keys": lambda x: he.EncryptContext.from_encryption_keys(PUBLIC.params, x),
    "public key of a context": lambda x: he.EncryptContext(PUBLIC.params, x, PUBLIC._group),
    "polynomials": lambda x: SECRET.encrypt(x, bytes(32), 0),
    "nonce": lambda x: SECRET.encrypt(ONE, x, 0),
    "first": lambda x: SECRET.encrypt(ONE, bytes(32), x),
    "parts": lambda x: SECRET.phase(x, [bytes(32)], 0),
    "nonces": lambda x: SECRET.phase(ONE[None].view(np.uint64), x, 0),
    "to be signed": SECRET.sign,
    "opening": SECRET.claim_opening,
    "params of a public context": lambda x: he.PublicContext(x, bytes(32)),
    "verify key": lambda x: he.PublicContext(SECRET.params, x),
    "public context": he.PublicContext.from_bytes,
    "signed": lambda x: SECRET.public().verify(x, bytes(64)),
    "signature": lambda x: SECRET.public().verify(b"m", x),
    "key": he.SigningKey,
    "private key": he.SigningKey.from_private_bytes,
    "to be signed by a client": SIGNING.sign,
    "directory": he.Directory,
    "enrolled client": lambda x: he.Directory(Pairs(x, SIGNING.public)),
    "enrolled key": lambda x: he.Directory({1: x}),
    "client to verify": lambda x: DIRECTORY.verify(x, b"m", bytes(64)),
    "statement": lambda x: DIRECTORY.verify(1, x, bytes(64)),
    "proof": lambda x: DIRECTORY.verify(1, b"m", x),
    "keys": lambda x: client(keys=x),
    "client_id": lambda x: client(client_id=x),
    "context": lambda x: client(context=x),
    "signing_key": lambda x: client(signing_key=x),
    "vector": lambda x: client().encrypt(x),
    "copy": lambda x: client().encrypt(VECTOR, copy=x),
    "chunk to sign": lambda x: client(signing_key=SIGNING).signed(x),
    "public": lambda x: server(public=x),
    "context of the server": lambda x: server(context=x),
    "length of the server": lambda x: server(vector_length=x),
    "enrolled at the server": lambda x: server(enrolled=x),
    "sender": lambda x: server().receive(x, CHUNK),
    "chunk": lambda x: server().receive(1, x),
    "dropped": lambda x: server().drop(x),
    "secret": lambda x: holder(secret=x),
    "min_clients": lambda x: holder(min_clients=x),
    "context of the key holder": lambda x: holder(context=x),
    "length of the key holder": lambda x: holder(vector_length=x),
    "enrolled at the key holder": lambda x: holder(enrolled=x),
    "journal": lambda x: holder(journal=x),
    "sum": lambda x: holder().decrypt(x),
    "client of processes": lambda x: he.encrypt_chunks(x, VECTOR),
    "vector of processes": lambda x: he.encrypt_chunks(client(), x),
    "processes": lambda x: he.encrypt_chunks(client(), VECTOR, processes=x),
    "coefficients": he.ciphertext_coefficients,
    "kind": he.envelope_kind,
}
VALUES = {
    "none": None,
    "text": "7",
    "bytes": b"7",
    "no bytes": b"",
    "bytearray": bytearray(b"abc"),
    "true": True,
    "numpy's true": np.True_,
    "integer": 7,
    "negative": -1,
    "float": 7.0,
    "nan": float("nan"),
    "numpy's integer": np.uint8(7),
    "too long to print": 1 << 20_000,
    "list": [7],
    "list of bytes": [b"x"],
    "tuple": (7,),
    "set": {7},
    "dict": {},
    "no dimension": np.array(7),
    "array": np.array([7]),
    "floats": np.zeros(3),
    "two dimensions": np.zeros((2, 2), np.int64),
    "masked": np.ma.masked,
    "masked array": np.ma.array([7]),
    "time": np.timedelta64(7),
    "decimal": decimal.Decimal(7),
    "complex": 7j,
    "class": int,
    "Ellipsis": ...,
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("door", DOORS)
def test_e7_what_an_argument_cannot_be_is_refused_by_type(door, value):
    """Taken, or refused for a stated reason: an InternalError would be a door that is missing."""
    refusal = None
    try:
        DOORS[door](VALUES[value])
    except he.HeError as error:
        refusal = error
    assert not isinstance(refusal, he.InternalError), refusal
    assert len(str(refusal)) < 400


@pytest.mark.parametrize("door", ["polynomials", "parts", "nonces", "vector of processes", "sum"])
def test_e7_what_has_a_shape_takes_nothing_without_one(door):
    """Numpy would stretch a list of one number over a whole ciphertext."""
    for name, value in VALUES.items():
        if (door, name) != ("vector of processes", "array"):
            with pytest.raises(he.HeError):
                DOORS[door](value)


def test_e7_some_of_each_are_taken():
    """The doors do open: the table above is not all refusals."""
    taken = {"n_clients": 7, "polynomials": ONE, "nonce": b"7" * 32, "kind": CHUNK, "copy": True}
    taken |= {"first": np.uint8(7), "vector": VECTOR, "to be signed": b"7", "min_clients": 2}
    for door, value in taken.items():
        DOORS[door](value)


@pytest.mark.parametrize(
    ("name", "check", "door", "value"),
    [
        (
            "encrypt",
            'check_array("polynomials", polynomials, np.int64, _RUN, DEGREE)',
            "polynomials",
            "text",
        ),
        ("sign", 'octets("message", message)', "to be signed", "text"),
        ("claim_opening", 'octets("context_hash", context_hash)', "opening", "list"),
    ],
)
def test_e7_mutant_without_a_door_fails_with_what_is_beneath(name, check, door, value, monkeypatch):
    instead = check.rstrip(")").split(", ")[1] if "octets" in check else "None"
    owner = context.SecretContext if name == "claim_opening" else context._Member
    mutant = without(monkeypatch, owner, name, check, instead)
    monkeypatch.setattr(owner, name, he.guards.calls.leaving_nothing(mutant))
    monkeypatch.setitem(DOORS, "to be signed", SECRET.sign)
    monkeypatch.setitem(DOORS, "opening", SECRET.claim_opening)
    with pytest.raises(FOUND):
        test_e7_what_an_argument_cannot_be_is_refused_by_type(door, value)


def test_e7_every_public_name_of_he_is_behind_a_door():
    doors = {"Client", "Directory", "EncryptContext", "KeyHolder", "Params", "PublicContext"}
    doors |= {"SecretContext", "Server", "SigningKey", "ciphertext_coefficients"}
    doors |= {"encrypt_chunks", "envelope_kind"}
    values = {"Journal", "SumResult"}
    errors = {name for name in he.__all__ if name.endswith("Error")}
    packages = {"onetime"}  # has doors of its own
    assert set(he.__all__) == doors | values | errors | packages
