"""The encryptor: one vector, one key, given away once; refused arguments use nothing up."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import he
from he.onetime import Encryptor, Params
from tests.he.onetime.rounds import CONTEXT, Memory, encrypted

PARAMS = Params(3, 100, 5000)
VECTOR = np.arange(5000) % 100


def test_a_key_is_small_and_new_each_time():
    keys = [encrypted(PARAMS, 1, VECTOR)[1] for _ in range(2)]
    assert all(key.dtype == np.int64 and int(np.abs(key).max()) <= 21 for key in keys)
    assert not np.array_equal(*keys)


def test_it_encrypts_once_in_all_its_threads():
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)

    def attempt(_):
        try:
            return len(list(encryptor.encrypt(VECTOR)))
        except he.LocalProtocolError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [0] * 7 + [PARAMS.chunks]


def test_the_key_is_given_away_once_and_after_the_upload():
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)
    with pytest.raises(he.LocalProtocolError, match="once all chunks"):
        encryptor.take_key()
    chunks = encryptor.encrypt(VECTOR)
    with pytest.raises(he.LocalProtocolError, match="digest once all"):
        encryptor.digest  # noqa: B018 - the property raises
    list(chunks)
    assert len(encryptor.digest) == 32
    encryptor.take_key()
    with pytest.raises(he.LocalProtocolError, match="taken already"):
        encryptor.take_key()


@pytest.mark.parametrize(
    ("vector", "error"),
    [
        (VECTOR + 2, he.CapacityError),
        (VECTOR[:-1], he.CapacityError),
        (VECTOR.astype(np.int32), he.LocalProtocolError),
        (np.ma.masked_array(VECTOR), he.LocalProtocolError),
        (VECTOR.astype(float), he.LocalProtocolError),
        (list(range(5000)), he.LocalProtocolError),
    ],
)
def test_a_refused_vector_uses_nothing_up(vector, error):
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)
    with pytest.raises(error):
        encryptor.encrypt(vector)
    assert len(list(encryptor.encrypt(VECTOR))) == PARAMS.chunks


def test_a_vector_that_changes_meanwhile_is_refused():
    vector = VECTOR.copy()
    chunks = Encryptor(PARAMS, 1, context=CONTEXT).encrypt(vector, copy=False)
    vector[7] = 1000
    with pytest.raises(he.CapacityError):
        next(chunks)


def test_a_copied_vector_may_change_meanwhile():
    vector = VECTOR.copy()
    chunks = Encryptor(PARAMS, 1, context=CONTEXT).encrypt(vector)
    vector[7] = 1000
    assert len(list(chunks)) == PARAMS.chunks


def test_a_journal_lets_a_round_in_once():
    journal = Memory()
    for context in (b"round 1", b"round 2"):
        list(Encryptor(PARAMS, 1, context=context, journal=journal).encrypt(VECTOR))
    again = Encryptor(PARAMS, 1, context=b"round 1", journal=journal)
    with pytest.raises(he.LocalProtocolError, match="encrypted in this round"):
        again.encrypt(VECTOR)
    list(Encryptor(PARAMS, 2, context=b"round 1", journal=journal).encrypt(VECTOR))


class Failing:
    def add(self, fact):
        raise OSError("disk full")


def test_without_a_record_nothing_is_encrypted():
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT, journal=Failing())
    with pytest.raises(he.LocalProtocolError, match="nothing is encrypted"):
        encryptor.encrypt(VECTOR)


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_neither_pickled_nor_copied_nor_printed(leave):
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)
    list(encryptor.encrypt(VECTOR))
    with pytest.raises(TypeError, match="holds keys"):
        leave(encryptor)
    assert repr(encryptor) == "Encryptor(<redacted>)"


@pytest.mark.parametrize(
    "arguments",
    [
        {"params": None},
        {"params": he.Params.for_sum(3, max_abs=9)},
        {"client_id": -1},
        {"client_id": True},
        {"context": b""},
        {"context": "round"},
        {"signing_key": b"key"},
        {"journal": object()},
    ],
)
def test_other_arguments_are_refused(arguments):
    given = {"params": PARAMS, "client_id": 1, "context": b"c"} | arguments
    with pytest.raises(he.LocalProtocolError):
        Encryptor(**given)
