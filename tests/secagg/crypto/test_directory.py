"""What a directory remembers: facts that held, by a name that says what they are about."""

from __future__ import annotations

import threading

import pytest

from secagg.crypto import keys
from secagg.crypto.keys import Directory, Identity
from secagg.errors import RemoteProtocolError
from tests.hostile.mutants import without


def _refuse() -> None:
    raise RemoteProtocolError("refused", "server")


def test_a_check_that_passed_is_not_run_again():
    directory, runs = Directory({}), []
    for _ in range(3):
        directory.once(b"fact", lambda: runs.append(1))
    directory.once(b"another", lambda: runs.append(2))
    Directory({}).once(b"fact", lambda: runs.append(3))  # each directory for itself
    assert runs == [1, 2, 3]


def test_a_check_that_failed_is_run_again():
    directory = Directory({})
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="refused"):
            directory.once(b"fact", _refuse)
    directory.once(b"fact", lambda: None)
    directory.once(b"fact", _refuse)  # it held before


@pytest.mark.parametrize("known", [1, 3, 4, 5, 9])
def test_what_is_remembered_is_bounded(monkeypatch, known):
    monkeypatch.setattr(keys, "_MAX_REMEMBERED", 4)
    directory, runs = Directory({}), []
    for number in range(known):
        directory.once(b"%d" % number, lambda: runs.append(1))
    directory.once(b"0", lambda: runs.append(1))
    assert len(runs) == known + (known > 4)


def test_a_fact_never_passes_for_a_signature():
    identity = Identity.generate()
    directory = Directory({1: identity.public})
    directory.once(identity.public + bytes(64) + b"message", lambda: None)
    assert not directory.verify(identity.public, bytes(64), b"message")


def test_the_mutant_that_keeps_facts_among_signatures(monkeypatch):
    without(monkeypatch, Directory, "once", "_remember(self._facts", "_remember(self._held")
    with pytest.raises(AssertionError):
        test_a_fact_never_passes_for_a_signature()


def test_threads_that_ask_at_once_all_get_the_answer():
    """A check that is at work has not passed yet: nobody goes on because another thread began it."""
    directory, begun, ended = Directory({}), threading.Barrier(2, timeout=60), []

    def check() -> None:
        begun.wait()  # passes only once both threads check for themselves
        raise RemoteProtocolError("refused", "server")

    def ask() -> None:
        try:
            directory.once(b"fact", check)
        except RemoteProtocolError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 2
