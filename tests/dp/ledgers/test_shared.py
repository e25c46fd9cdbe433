"""Ledgers in files: whole or not at all, and one budget for several processes and threads."""

from __future__ import annotations

import errno
import fcntl
import math
import multiprocessing
import os
import threading
from contextlib import nullcontext, suppress

import pytest

from dp import (
    BudgetExhaustedError,
    GaussianEvent,
    InvalidParameterError,
    Ledger,
    PoissonSampling,
    gaussian_epsilon,
)
from dp.ledgers import shared
from dp.ledgers.durable import only_writer
from dp.ledgers.ledger import Charge
from dp.ledgers.shared import SharedLedger

EVENT = GaussianEvent(5.0)
ROOM_FOR_TEN = gaussian_epsilon(5.0 / math.sqrt(10), 1e-5) * 1.0001


def drain(path: str, attempts: int) -> int:
    """Charges that went through."""
    ledger = SharedLedger(path)
    done = 0
    for _ in range(attempts):
        try:
            ledger.charge(EVENT)
        except BudgetExhaustedError:
            continue
        done += 1
    return done


def _drain_into(path: str, attempts: int, queue: multiprocessing.Queue) -> None:
    queue.put(drain(path, attempts))


def test_save_and_load_keep_everything(tmp_path):
    ledger = Ledger(3.0, 1e-6)
    ledger.charge(GaussianEvent(2.0, PoissonSampling(0.1)), 3)
    ledger.charge(EVENT)
    ledger.charge(GaussianEvent(2.0, PoissonSampling(0.1)))
    ledger.save(tmp_path / "ledger.json")
    loaded = Ledger.load(tmp_path / "ledger.json")
    assert loaded.state_dict() == ledger.state_dict()
    assert loaded.history == ledger.history
    assert [entry.count for entry in loaded.history] == [3, 1, 1]
    assert loaded.history[1] == Charge(EVENT, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ledger.json"]


def test_history_tells_how_epsilon_grew():
    ledger = Ledger(3.0, 1e-5)
    for _ in range(3):
        ledger.charge(EVENT)
    grown = [ledger.spent_after(k).high for k in range(4)]
    assert grown[0] == 0
    assert grown == sorted(grown)
    assert grown[3] == ledger.spent().high
    with pytest.raises(InvalidParameterError, match="3 charges"):
        ledger.spent_after(4)
    with pytest.raises(InvalidParameterError, match="at least 0"):
        ledger.spent_after(-1)


def test_a_crash_while_writing_leaves_the_old_ledger(tmp_path, monkeypatch):
    path = tmp_path / "ledger.json"
    ledger = Ledger(3.0, 1e-5)
    ledger.charge(EVENT)
    ledger.save(path)
    before = path.read_bytes()

    def crash(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", crash)
    ledger.charge(EVENT)
    with pytest.raises(OSError, match="disk full"):
        ledger.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["ledger.json"]


def test_a_full_disk_names_the_ledger(tmp_path, monkeypatch):
    """A write knows its handle only: the error had no file, and a folder may hold many ledgers."""
    path = tmp_path / "ledger.json"

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: .*{path.name}"):
        Ledger(3.0, 1e-5).save(path)
    assert not list(tmp_path.iterdir())


def test_a_ledger_is_not_charged_in_a_fork(monkeypatch):
    ledger, own = Ledger(3.0, 1e-5), os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(InvalidParameterError, match="from which this one was forked"):
        ledger.charge(EVENT)
    assert ledger.history == ()
    Ledger(3.0, 1e-5).charge(EVENT)  # made here


def test_a_fork_does_not_release_a_folder_that_its_parent_holds(tmp_path, monkeypatch):
    released, own, lock = [], os.getpid(), fcntl.flock
    monkeypatch.setattr(
        fcntl, "flock", lambda handle, how: (released.append(how), lock(handle, how))
    )
    with only_writer(tmp_path):
        monkeypatch.setattr(os, "getpid", lambda: own + 1)
    assert released == [fcntl.LOCK_EX]


def test_damaged_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "ledger.json"
    with pytest.raises(FileNotFoundError):
        SharedLedger(path)
    path.write_text("{")
    with pytest.raises(InvalidParameterError, match="ledger.json"):
        SharedLedger(path)
    path.write_text('{"version": 3}')
    with pytest.raises(InvalidParameterError, match="keys"):
        Ledger.load(path)


def test_a_spent_budget_is_not_replaced(tmp_path):
    path = tmp_path / "ledger.json"
    first = SharedLedger.create(path, Ledger(ROOM_FOR_TEN, 1e-5))
    first.charge(EVENT, 10)
    with pytest.raises(InvalidParameterError, match="exists"):
        SharedLedger.create(path, Ledger(ROOM_FOR_TEN, 1e-5))
    with pytest.raises(BudgetExhaustedError):
        first.charge(EVENT)
    assert first.read().history == (Charge(EVENT, 10),)
    assert first.spent().high <= ROOM_FOR_TEN


def test_two_processes_cannot_overspend_together(tmp_path):
    path = str(tmp_path / "ledger.json")
    SharedLedger.create(path, Ledger(ROOM_FOR_TEN, 1e-5))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_drain_into, args=(path, 8, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    done = sum(queue.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert done == 10
    assert sum(entry.count for entry in SharedLedger(path).read().history) == 10


def race(path: str) -> int:
    """Charges that went through when two threads are both held between reading and writing."""
    barrier = threading.Barrier(2)
    original = Ledger.save
    done: list[int] = []

    def stalled(self: Ledger, where: str) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=1.0)
        original(self, where)

    def charge() -> None:
        try:
            SharedLedger(path).charge(EVENT, 10)
        except BudgetExhaustedError:
            return
        done.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "save", stalled)
        threads = [threading.Thread(target=charge) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return len(done)


def test_two_threads_with_objects_of_their_own_cannot_overspend(tmp_path):
    path = str(tmp_path / "ledger.json")
    SharedLedger.create(path, Ledger(ROOM_FOR_TEN, 1e-5))
    assert race(path) == 1


def test_mutant_without_the_file_lock_spends_twice(tmp_path, monkeypatch):
    path = str(tmp_path / "ledger.json")
    SharedLedger.create(path, Ledger(ROOM_FOR_TEN, 1e-5))
    monkeypatch.setattr(shared, "exclusive", nullcontext)
    assert race(path) == 2
