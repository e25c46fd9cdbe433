"""The door: every public argument of `he` is taken exactly, or refused with an error of `he`."""

import numpy as np
import pytest

import he
from he.guards.checks import flag, integer, octets
from tests.he.support.rounds import keys

SYMMETRIC = keys(3, 1000)
PUBLIC_KEY = keys(3, 1000, public_key=True)
CHUNK = next(he.Client(SYMMETRIC, 0, context=b"r").encrypt(np.arange(5)))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.uint64, int])
def test_integers_of_any_width_are_integers(kind):
    value = integer("n", kind(5), 2, 10)
    assert (value, type(value)) == (5, int)


@pytest.mark.parametrize(
    "value",
    [True, np.True_, 5.0, np.float64(5), "5", b"5", None, [5], np.array(5), np.timedelta64(5), 5j],
)
def test_nothing_else_is_an_integer(value):
    with pytest.raises(he.LocalProtocolError, match="n must be an integer, not"):
        integer("n", value, 2, 10)


@pytest.mark.parametrize("value", [1, 11, -5, np.int64(11)])
def test_the_range_is_named(value):
    with pytest.raises(he.LocalProtocolError, match="n must lie in 2 … 10"):
        integer("n", value, 2, 10)


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.int64(1)])
def test_numbers_are_no_flags(value):
    assert flag("f", np.True_) is True
    with pytest.raises(he.LocalProtocolError, match="True or False"):
        flag("f", value)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_octets_come_as_bytes(kind):
    assert octets("b", kind(b"abc")) == b"abc"
    assert type(octets("b", kind(b"abc"))) is bytes


PARAMETERS = {
    "n_clients": ["3", 3.0, True, None, [3], 1, 2**20 + 1],
    "max_abs": ["3", 3.0, True, [3], 0, 2**62, np.array(3)],
    "ring_bits": ["8", 8.0, True, None, 1, 63, -1],
    "public_key": ["yes", 1, 0, None, 7],
    "scheme": ["BFV", ["bfv"], None, 1, b"bfv", {}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in PARAMETERS.items() for value in values]
)
def test_parameters_are_refused_by_name(name, value):
    arguments = {"n_clients": 3, "max_abs": 5, name: value}
    with pytest.raises(he.UnsafeParametersError, match=name):
        he.Params(**arguments)
    with pytest.raises(he.UnsafeParametersError, match=name):
        he.Params.for_sum(arguments.pop("n_clients"), **arguments)


def test_parameters_of_numpy_are_parameters_of_python():
    params = he.Params.for_sum(
        np.int64(5), max_abs=np.uint16(9), scheme=np.str_("bfv"), public_key=np.True_
    )
    assert params == he.Params.for_sum(5, max_abs=9, scheme="bfv", public_key=True)
    assert he.Params.from_bytes(params.to_bytes()) == params
    kinds = [type(getattr(params, name)) for name in ("n_clients", "max_abs", "scheme")]
    assert kinds == [int, int, str]


def receiving():
    return he.Server(SYMMETRIC.public(), context=b"r")


def holding(**changes):
    return he.KeyHolder(SYMMETRIC, **{"min_clients": 2, "context": b"r", **changes})


REFUSED = {
    "client without keys": lambda: he.Client(None, 0, context=b"r"),
    "client with a public context": lambda: he.Client(SYMMETRIC.public(), 0, context=b"r"),
    "client id as text": lambda: he.Client(SYMMETRIC, "0", context=b"r"),
    "client id true": lambda: he.Client(SYMMETRIC, True, context=b"r"),
    "client id below zero": lambda: he.Client(SYMMETRIC, -1, context=b"r"),
    "client id beyond 63 bits": lambda: he.Client(SYMMETRIC, 2**63, context=b"r"),
    "context as text": lambda: he.Client(SYMMETRIC, 0, context="r"),
    "context empty": lambda: he.Client(SYMMETRIC, 0, context=b""),
    "context none": lambda: he.Server(SYMMETRIC.public(), context=None),
    "signing key as bytes": lambda: he.Client(SYMMETRIC, 0, context=b"r", signing_key=bytes(32)),
    "server with a secret": lambda: he.Server(SYMMETRIC, context=b"r"),
    "server with a length of text": lambda: he.Server(
        SYMMETRIC.public(), context=b"r", vector_length="5"
    ),
    "server with no length": lambda: he.Server(SYMMETRIC.public(), context=b"r", vector_length=0),
    "server with a dict": lambda: he.Server(
        SYMMETRIC.public(), context=b"r", enrolled={0: bytes(32)}
    ),
    "chunk as text": lambda: receiving().receive(0, "x"),
    "chunk none": lambda: receiving().receive(0, None),
    "chunk empty": lambda: receiving().receive(0, b""),
    "sender as text": lambda: receiving().receive("0", CHUNK),
    "drop text": lambda: receiving().drop("0"),
    "no sum": lambda: receiving().result(),
    "holder with an encryptor": lambda: he.KeyHolder(
        PUBLIC_KEY.encryptor(), min_clients=2, context=b"r"
    ),
    "holder, clients as text": lambda: holding(min_clients="2"),
    "holder, clients halved": lambda: holding(min_clients=2.5),
    "holder, one client": lambda: holding(min_clients=1),
    "holder, more clients than there are": lambda: holding(min_clients=4),
    "holder, length true": lambda: holding(vector_length=True),
    "holder with a path for a journal": lambda: holding(journal="rounds"),
    "holder with a dict": lambda: holding(enrolled={0: bytes(32)}),
    "decrypt bytes": lambda: holding().decrypt(b"abc"),
    "decrypt none": lambda: holding().decrypt(None),
    "decrypt nothing": lambda: holding().decrypt([]),
    "decrypt numbers": lambda: holding().decrypt([1, 2]),
    "public context of text": lambda: he.PublicContext.from_bytes("x"),
    "public context of other things": lambda: he.PublicContext(None, bytes(32)),
    "verify key as text": lambda: he.PublicContext(SYMMETRIC.params, "k" * 32),
    "verify key too short": lambda: he.PublicContext(SYMMETRIC.params, bytes(31)),
    "secret from junk": lambda: he.SecretContext.from_secret_key(SYMMETRIC.params, b"x"),
    "secret from text": lambda: he.SecretContext.from_secret_key(SYMMETRIC.params, "x"),
    "secret without parameters": lambda: he.SecretContext.generate(3),
    "secret from a list": lambda: he.SecretContext(SYMMETRIC.params, [0] * 4096),
    "secret from floats": lambda: he.SecretContext(SYMMETRIC.params, np.zeros(4096)),
    "secret beyond q": lambda: he.SecretContext(SYMMETRIC.params, np.full(4096, 2**63, np.uint64)),
    "encryptor from text": lambda: he.EncryptContext.from_encryption_keys(PUBLIC_KEY.params, "x"),
    "encryptor without room": SYMMETRIC.encryptor,
    "directory as a list": lambda: he.Directory([1]),
    "directory empty": lambda: he.Directory({}),
    "directory with text for a key": lambda: he.Directory({1: "a" * 32}),
    "directory with text for a client": lambda: he.Directory({"1": bytes(32)}),
    "signing key from text": lambda: he.SigningKey.from_private_bytes("a" * 32),
    "no process": lambda: he.encrypt_chunks(
        he.Client(SYMMETRIC, 0, context=b"r"), np.arange(5), processes=0
    ),
    "half a process": lambda: he.encrypt_chunks(
        he.Client(SYMMETRIC, 0, context=b"r"), np.arange(5), processes=0.5
    ),
    "processes without a client": lambda: he.encrypt_chunks(SYMMETRIC, np.arange(5)),
    "progress that is no function": lambda: he.encrypt_chunks(
        he.Client(SYMMETRIC, 0, context=b"r"), np.arange(5), progress=1
    ),
    "coefficients of junk": lambda: he.ciphertext_coefficients(b"junk"),
    "coefficients of text": lambda: he.ciphertext_coefficients("junk"),
    "kind of nothing": lambda: he.envelope_kind(b""),
    "kind of none": lambda: he.envelope_kind(None),
    "parameters of text": lambda: he.Params.from_bytes("x"),
    "ciphertexts of half a vector": lambda: SYMMETRIC.params.ciphertexts(2.5),
    "chunks of nothing": lambda: SYMMETRIC.params.chunks(0),
    "a chunk that is not there": lambda: SYMMETRIC.params.ciphertexts_in_chunk(1, 5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_other_argument_is_refused_with_an_error_of_this_package(name):
    with pytest.raises(he.HeError):
        REFUSED[name]()


def test_a_signer_that_gives_no_signature_is_refused():
    class Broken:
        public = bytes(32)

        def sign(self, message, /):
            return "signed"

    client = he.Client(SYMMETRIC, 0, context=b"r", signing_key=Broken())
    with pytest.raises(he.LocalProtocolError, match="64 bytes"):
        list(client.encrypt(np.arange(5)))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_messages_come_in_any_buffer(kind):
    server = he.Server(SYMMETRIC.public(), context=b"r", vector_length=np.int32(5))
    server.receive(np.int64(0), kind(CHUNK))
    assert server.contributors == (0,)
    assert he.envelope_kind(kind(CHUNK)) == "upload"
    assert he.ciphertext_coefficients(kind(CHUNK)).size == 4096
    public = he.PublicContext.from_bytes(kind(SYMMETRIC.public().to_bytes()))
    assert public == SYMMETRIC.public()
