"""S22, S23: what helps a client and does not do as it should: an executor, and a test's entropy."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

import secagg.crypto.keys
from secagg import Client, Identity, LocalProtocolError, Params, Phase, SecAggError, simulate
from secagg.crypto.keys import entropy
from secagg.crypto.masks import _Streams, add_masks
from secagg.testing import deterministic_entropy
from secagg.wire.codec import masked_vector
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab

LENGTH = 400
DEADLINE = 60  # seconds until a stuck test is called one


# S22: an executor that does not run each task once -----------------------------------------------------


class Executor:
    """Runs each task in place, `times` times, and says that its result is `told`."""

    def __init__(self, times, told=lambda result: result):
        self.times, self.told = times, told

    def submit(self, task, *args):
        future, result = Future(), None
        for _ in range(self.times):
            result = task(*args)
        future.set_result(self.told(result))
        return future


def masked_with(executor):
    """A client's masked input, with that executor, and the error in its place."""
    lab = Lab(5, length=LENGTH).run_to(Phase.MASKED_INPUT)
    lab.clients[10]._executor = executor
    try:
        return lab.inputs[10], masked_vector(lab.reply(10)), None
    except SecAggError as error:
        assert lab.clients[10].phase is Phase.ABORTED
        return lab.inputs[10], None, error


@pytest.mark.parametrize("times", [0, 2, 3])
def test_s22_a_task_that_is_skipped_or_repeated_lets_nothing_leave(times):
    _, sent, error = masked_with(Executor(times))
    assert sent is None
    assert isinstance(error, LocalProtocolError)
    assert "run each task once" in str(error)


@pytest.mark.parametrize("told", [0, None, np.zeros(1, np.uint32), "done"])
def test_s22_what_an_executor_calls_a_result_does_not_matter(told):
    """Zero would be added to every word, and the input would leave as it is."""
    inputs = {i: np.arange(LENGTH) * i for i in range(4)}
    params = Params.for_cohort(4, LENGTH, max_abs=4 * LENGTH)
    result = simulate(inputs, params, executor=Executor(1, lambda _: told))
    assert np.array_equal(result.total, sum(inputs.values()))


def test_s22_mutant_that_takes_what_it_is_told_sends_the_input_as_it_is(monkeypatch):
    """Behind the first words, which no executor makes."""
    source = "np.add(window, part.taken(start + window.size), out=window)"
    add = without(
        monkeypatch,
        secagg.crypto.masks,
        "add_masks",
        source,
        "np.add(window, task.result(), out=window)",
    )
    monkeypatch.setattr("secagg.roles.client.masking.add_masks", add)
    given, sent, _ = masked_with(Executor(0, lambda _: np.uint16(0)))
    assert np.array_equal(sent[16:], given[16:] % (1 << 14))  # 14 bits a word
    with pytest.raises((*FOUND, TypeError)):
        test_s22_a_task_that_is_skipped_or_repeated_lets_nothing_leave(0)


def test_s22_mutant_without_the_count_takes_masks_of_other_places(monkeypatch):
    without(monkeypatch, _Streams, "taken", "self._made != made")
    with pytest.raises(FOUND):
        test_s22_a_task_that_is_skipped_or_repeated_lets_nothing_leave(2)


def test_s22_real_threads_make_the_same_masks():
    expected = np.arange(LENGTH, dtype=np.uint32)
    got, seeds = expected.copy(), [bytes([i]) * 16 for i in range(9)]
    add_masks(expected, seeds[:5], seeds[5:])
    with ThreadPoolExecutor(3) as threads:
        add_masks(got, seeds[:5], seeds[5:], executor=threads)
    assert np.array_equal(got, expected)


# S23: a test's entropy in production's threads ----------------------------------------------------------


def overlapping():
    """Blocks of two threads that overlap, and what a third and the first draw meanwhile and afterwards."""
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    drawn = {}

    def first():
        with deterministic_entropy(b"one"):
            first_in.set()
            assert second_in.wait(DEADLINE)
        first_out.set()

    def second():
        assert first_in.wait(DEADLINE)
        with deterministic_entropy(b"two"):
            second_in.set()
            assert first_out.wait(DEADLINE)
        drawn["second, afterwards"] = entropy(32)

    def third():
        assert second_in.wait(DEADLINE)
        drawn["meanwhile"] = entropy(32)

    threads = [threading.Thread(target=work) for work in (first, second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    drawn["afterwards"] = entropy(32)
    return drawn


def made_up():
    """What the two blocks draw."""
    found = set()
    for seed in (b"one", b"two"):
        with deterministic_entropy(seed):
            found |= {entropy(32) for _ in range(8)}
    return found


def test_s23_a_tests_entropy_reaches_no_other_thread_and_does_not_outlive_its_block():
    drawn = overlapping()
    assert len(set(drawn.values())) == 3
    assert not set(drawn.values()) & made_up()


class Global:
    """As before the fix: one source for the process, which each ending session puts back."""

    def __init__(self):
        self.source = secagg.crypto.keys.os.urandom

    def get(self):
        return self.source

    def set(self, source):
        before, self.source = self.source, source
        return before

    def reset(self, before):
        self.source = before


def test_s23_mutant_with_one_source_for_the_process_stays_predictable(monkeypatch):
    monkeypatch.setattr(secagg.crypto.keys, "_source", Global())
    with pytest.raises(FOUND):
        test_s23_a_tests_entropy_reaches_no_other_thread_and_does_not_outlive_its_block()


# E7: subclasses that say one thing to a check and another to what follows -------------------------------


class Bytes(bytes):
    """Bytes that lie about their length and content."""

    def __len__(self):
        return 32

    def __eq__(self, other):
        return True

    __hash__ = bytes.__hash__

    def __getitem__(self, key):
        return b"\0" * 32


class Integer(int):
    """An integer that is anything that it is compared with."""

    def __eq__(self, other):
        return True

    def __le__(self, other):
        return True

    __ge__ = __le__
    __hash__ = int.__hash__


def test_e7_subclasses_are_taken_for_what_their_memory_holds():
    with pytest.raises(LocalProtocolError, match="not 3"):
        Identity.from_private_bytes(Bytes(b"abc"))
    lab = Lab(4)
    with pytest.raises(LocalProtocolError, match="client ids lie in"):
        lab.server.receive(Integer(1 << 40), b"")
    assert type(lab.server._params.n_clients) is int
    params = Params.for_cohort(Integer(4), 2, max_abs=Integer(9))
    assert {type(params.n_clients), type(params.max_abs)} == {int}
    message = lab.clients[10].start()
    lab.server.receive(Integer(10), Bytes(message))
    assert lab.server._answers.keys() == {10}
    assert isinstance(lab.clients[10], Client)
