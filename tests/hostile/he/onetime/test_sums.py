"""V6, V7 for one-time keys: forks of an encryptor, and wrong sums of keys over short vectors."""

from __future__ import annotations

import os

import numpy as np
import pytest

import he
from he.onetime import Encryptor, Params, Server
from he.onetime import params as params_module
from tests.he.onetime.rounds import CONTEXT, collected, encrypted
from tests.hostile.mutants import FOUND, without

LONG = Params(3, 100, 400_000)


def in_a_fork(call):
    """The name of the error that a call raises in a fork of this process, or b'nothing'."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"nothing"
        try:
            call()
        except he.HeError as error:
            said = type(error).__name__.encode()
        finally:
            os.write(write, said)
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


# V6: a key in two processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["between two chunks", "before the key is taken", "at first"])
def test_v6_a_fork_of_an_encryptor_does_nothing(when):
    """Otherwise two processes would encrypt the same chunk under one key with other errors."""
    encryptor = Encryptor(LONG, 1, context=CONTEXT)
    vector = np.arange(400_000) % 100
    assert LONG.chunks > 1
    call = lambda: list(encryptor.encrypt(vector))  # noqa: E731 - one of three
    if when != "at first":
        chunks = encryptor.encrypt(vector)
        next(chunks)
        call = lambda: next(chunks)  # noqa: E731
    if when == "before the key is taken":
        list(chunks)
        call = encryptor.take_key
    assert in_a_fork(call) == b"LocalProtocolError"
    call()  # and here it goes on


@pytest.mark.parametrize("when", ["between two chunks", "before the key is taken", "at first"])
def test_v6_mutant_that_goes_on_in_a_fork(when, monkeypatch):
    without(monkeypatch, Encryptor, "_check_process", "self._process != os.getpid()")
    with pytest.raises(FOUND):
        test_v6_a_fork_of_an_encryptor_does_nothing(when)


# V7: short sums ---------------------------------------------------------------------------------------

SHORT = [(1560, 2**15, 1), (1560, 2**20, 1), (390, 2**15, 1), (390, 1344, 4), (3, 5, 9)]


@pytest.mark.parametrize("numbers", SHORT)
def test_v7_a_wrong_sum_of_keys_opens_no_short_sum(numbers):
    """Twenty sums each; one passes with probability 2^−128. With a single coefficient, one in two does."""
    params = Params(*numbers)
    vector = np.ones(params.vector_length, np.int64)
    for count in range(20):
        context = b"round %d" % count
        server, key_sum = collected(params, dict.fromkeys(range(3), vector), context)
        key_sum[0] += 1 if key_sum[0] < 0 else -1
        server._added = set(range(params.n_clients))  # the bound on the noise of a full round
        with pytest.raises(he.RemoteProtocolError):
            server.open_with_key_sum(key_sum)


def test_v7_mutant_that_sends_no_more_than_it_must(monkeypatch):
    numbers = (390, 2**15, 1)  # all twenty are refused with probability 2^−20
    monkeypatch.setattr(params_module, "_FEWEST", 1)
    with pytest.raises(FOUND):
        test_v7_a_wrong_sum_of_keys_opens_no_short_sum(numbers)


def test_v7_integers_behind_the_end_of_a_vector_are_refused():
    """A client encrypts a longer vector of the same layout, under the parameters of the shorter one."""
    short = Params(3, 100, 5)
    server = Server(short, context=CONTEXT)
    encryptor = Encryptor(short, 1, context=CONTEXT)
    # The check of the length passed; what is encrypted is longer.
    for chunk in encryptor._chunks(np.array([1, 2, 3, 4, 5, 6])):
        server.receive(1, chunk)
    server.add(1)
    with pytest.raises(he.RemoteProtocolError, match="integers where its vectors have none"):
        server.open_with_key_sum(encryptor.take_key())


def test_v7_mutant_that_leaves_the_rest_unread(monkeypatch):
    without(monkeypatch, Server, "_opened", "values[room.size :].any()")
    with pytest.raises(FOUND):
        test_v7_integers_behind_the_end_of_a_vector_are_refused()


def test_the_smallest_upload_is_opened():
    params = Params(3, 100, 1)
    server, key_sum = collected(params, {i: np.array([i]) for i in (1, 2)})
    assert server.open_with_key_sum(key_sum).total.tolist() == [3]
    assert len(encrypted(params, 1, np.array([1]))[0][0]) == 73 + 128 * params.word_bytes
