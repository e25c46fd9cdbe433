"""C6, C7: who can read what a traitor holds, words and deeds compared; and weak lattice parameters."""

import dataclasses

import numpy as np
import pytest

import he
from fedavg.config.settings import SumConfig
from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.interface import SumSpec
from fedavg.sums.masked import SecAgg
from fedavg.sums.sides.he_keys import HeMaterial
from he import scheme
from he.coding.packing import unpack
from he.coding.plaintexts import decode, encode
from he.coding.words import restore_low_bits, unpack_words
from he.crypto.context import EncryptContext, read_exported
from he.params import capacity
from he.rounds import hash_context
from he.scheme import Ring
from tests.fedavg.contract.sums import IDENTITIES, spec_for
from tests.he.support.rounds import fresh_context, keys
from tests.hostile.mutants import FOUND, without

VECTOR = np.array([11, -12, 13])


# C6: a shared key and one traitor ------------------------------------------------------------------


def read_with(exported, secret, chunk, context):
    """The values of an upload as a party with these exported keys reads them; None if they do not decrypt."""
    params = secret.params
    held = read_exported(params, exported)
    if not isinstance(held, he.SecretContext):
        return None
    upload = he.wire.open_upload(chunk, secret.public(), hash_context(context))
    words = restore_low_bits(unpack_words(upload.body, params.word_bits), params.word_bits)
    phase = held.phase(words.reshape(params.parts, 1, -1), [upload.name.nonce], 0)
    return unpack(decode(phase, params, contributors=1), params, contributors=1)


def traitor_reads(*, public_key):
    """Whether a client's keys, given to the server, open another client's upload."""
    secret = keys(3, 1000, public_key=public_key)
    member = secret.encryptor() if public_key else secret
    context = fresh_context()
    (chunk,) = he.Client(member, 1, context=context).encrypt(VECTOR)
    read = read_with(member.export(), secret, chunk, context)
    return read is not None and np.array_equal(read[:3], VECTOR)


def test_c6_a_traitor_reads_where_all_hold_the_key_and_nowhere_else():
    assert traitor_reads(public_key=False)
    assert not traitor_reads(public_key=True)


def test_c6_mutant_that_hands_the_key_to_clients_is_read(monkeypatch):
    secret = keys(3, 1000, public_key=True)
    leak = secret.export_secret_key()
    monkeypatch.setattr(EncryptContext, "export", lambda _: leak)
    with pytest.raises(FOUND):
        test_c6_a_traitor_reads_where_all_hold_the_key_and_nowhere_else()


BACKENDS = {
    "ckks": (Ckks(), True),
    "bfv": (Bfv(), True),
    "ckks, the holder's": (Ckks(key_at="holder"), False),
    "bfv, the holder's": (Bfv(key_at="holder"), False),
    "all hold the key, under masks": (EncryptedSecAgg(key_at="clients"), True),
    "the key holder's, under masks": (EncryptedSecAgg(), False),
}


def decrypts(backend):
    """Whether what is provisioned to a client contains what the key holder decrypts with."""
    vectors = {7 * i: np.zeros(3, np.int64) for i in range(1, 6)}
    spec = spec_for(vectors, max_abs=1000)
    given = backend.provision(spec, {client: IDENTITIES[client].public for client in vectors})
    holder = given.key_holder
    key = HeMaterial.from_bytes(holder).keys if isinstance(backend, EncryptedSecAgg) else holder
    assert key[-8000:-100] not in given.server
    return key[-8000:-100] in given.clients


def admits(backend):
    """Whether the plan's assumptions say that any client can decrypt."""
    said = " ".join(backend.assumptions(SumSpec(5000, 1000, None, 10, b"any sum")))
    return "All clients hold the same secret key" in said


@pytest.mark.parametrize("name", BACKENDS)
def test_c6_the_assumptions_say_what_the_provision_does(name):
    backend, shared = BACKENDS[name]
    assert decrypts(backend) is admits(backend) is shared
    assert (
        "Only the key holder can decrypt"
        in " ".join(backend.assumptions(SumSpec(5000, 1000, None, 10, b"any sum")))
    ) is not shared


def test_c6_mutant_assumptions_that_keep_silent_are_found(monkeypatch):
    for kind in (Bfv, Ckks, EncryptedSecAgg):
        monkeypatch.setattr(kind, "assumptions", lambda *_: ("The server only looks.",))
        for name, (backend, shared) in BACKENDS.items():
            if isinstance(backend, kind) and shared:
                with pytest.raises(FOUND):
                    test_c6_the_assumptions_say_what_the_provision_does(name)


def test_c6_without_a_word_nobody_shares_a_key():
    """The default sum has no key to share, and no key holder."""
    assert SumConfig().kind == "secagg"
    vectors = {7 * i: np.zeros(3, np.int64) for i in range(1, 6)}
    public = {client: IDENTITIES[client].public for client in vectors}
    given = SecAgg().provision(spec_for(vectors, max_abs=1000), public)
    assert given.key_holder is None
    assert given.server == given.clients


# C7: weak lattice parameters -----------------------------------------------------------------------

WEAK = {
    "a ring of 1024 for 60 bits": {"DEGREE": 1024},
    "a ring of 2048 for 60 bits": {"DEGREE": 2048},
    "a degree that is no power of two": {"DEGREE": 4095},
    "a modulus that is not prime": {"MODULUS": 2**60 - 2**14},
    "a modulus of 62 bits": {"MODULUS": 2**62 - 1},
}


@pytest.mark.parametrize("name", WEAK)
def test_c7_weak_parameters_are_one_typed_error(name, monkeypatch):
    """SEAL itself says ValueError to some, RuntimeError to others, and to others only sets a flag."""
    for constant, value in WEAK[name].items():
        monkeypatch.setattr(scheme, constant, value)
    with pytest.raises(he.UnsafeParametersError, match="SEAL refuses"):
        Ring()


def test_c7_mutant_without_a_level_of_security_takes_weak_rings(monkeypatch):
    without(monkeypatch, Ring, "__init__", "SEC_LEVEL_TYPE.TC128", "SEC_LEVEL_TYPE.NONE")
    for name in ("a ring of 1024 for 60 bits", "a ring of 2048 for 60 bits"):
        with pytest.raises(FOUND):
            test_c7_weak_parameters_are_one_typed_error(name, monkeypatch)


def test_c7_mutant_without_the_look_at_seals_flag_takes_them(monkeypatch):
    without(monkeypatch, Ring, "__init__", "not self.context.parameters_set()")
    with pytest.raises(FOUND):
        test_c7_weak_parameters_are_one_typed_error("a ring of 2048 for 60 bits", monkeypatch)


def test_c7_there_is_nothing_to_choose_but_the_sum():
    """Degree, modulus, plain modulus and scale follow; no argument sets one."""
    given = {field.name for field in dataclasses.fields(he.Params) if field.init}
    assert given == {"n_clients", "max_abs", "scheme", "public_key", "ring_bits"}
    for chosen in ({"plain_modulus": 2**59}, {"scale": 2.0**59}, {"layout": None}):
        with pytest.raises(TypeError):
            he.Params(3, 1000, **chosen)


def worst_sum_is_read(params):
    """n equal ciphertexts at the largest slot, with all the noise that honest ones may carry."""
    count, bound = params.n_clients, params.slot_bound // params.n_clients
    slots = np.full((1, 4096), bound)
    slots[0, 1::2] = -bound
    phase = encode(slots, params) * count + count * (int(params.layout.noise) - 1)
    opened = decode(phase, params, contributors=count)
    return np.array_equal(opened, count * slots)


@pytest.mark.parametrize("n_clients", [2, 10, 100, 1000])
@pytest.mark.parametrize("bits", [2, 8, 16, 20, 27, 32])
@pytest.mark.parametrize("public_key", [False, True])
def test_c7_no_preset_is_too_close_to_the_modulus(n_clients, bits, public_key):
    params = he.Params.for_sum(
        n_clients, max_abs=2 ** (bits - 1) - 1, scheme="bfv", public_key=public_key
    )
    assert 2 * n_clients * int(params.layout.noise) * params.plain_modulus < capacity.MODULUS
    assert worst_sum_is_read(params)


def test_c7_mutant_without_room_for_noise_misreads(monkeypatch):
    without(monkeypatch, capacity, "_bfv_fits", "_bfv_noise(demand, dropped)", "1")
    params = he.Params.for_sum(10, max_abs=2**19 - 1, scheme="bfv")
    with pytest.raises((*FOUND, he.RemoteProtocolError)):
        assert worst_sum_is_read(params)
    with pytest.raises((*FOUND, he.RemoteProtocolError)):
        test_c7_no_preset_is_too_close_to_the_modulus(10, 20, False)
