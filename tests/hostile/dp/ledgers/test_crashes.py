"""D8: processes that share a ledger, killed at any call of the system, on full disks and in odd folders."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from dp import BudgetExhaustedError, DpError, GaussianEvent, Ledger, SharedLedger
from dp.ledgers import durable, ledger

EVENT = GaussianEvent(8.0)
BUDGET = 3.0
NOBODY = 65_534
RELEASED, REFUSED, UNHARMED = 1, 2, 3


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "budget.json"
    SharedLedger.create(place, Ledger(BUDGET, 1e-5)).charge(EVENT)
    return place


def of_the_system(called):
    """Whether a built-in function calls the operating system, as far as it matters here."""
    module = getattr(called, "__module__", None) or type(called.__self__).__module__
    idle = ("fspath", "_path_normpath", "getpid", "fileno")
    return module in ("posix", "fcntl", "_io") and called.__name__ not in idle


CHANGES = {"write", "flush", "pwrite", "ftruncate", "fsync", "replace", "rename", "unlink"}


def that_changes_files(called):
    """Whether a call of the system changes a file: between two of these, a death leaves the same files."""
    return of_the_system(called) and called.__name__ in CHANGES


def at_call(number, act, counted=of_the_system):
    """Do `act` just before a call of the system, counted from 0.  Return what tells if it was done."""
    seen = 0

    def count(_frame, kind, called):
        nonlocal seen
        if kind == "c_call" and counted(called):
            seen += 1
            if seen == number + 1:
                sys.setprofile(None)
                act()

    sys.setprofile(count)
    return lambda: seen > number


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def full():
    raise OSError(errno.ENOSPC, "no space left")


def in_a_process(work):
    """The exit code of `work` in a forked process, or a signal's number below 0."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            sys.setprofile(None)
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def charged(path):
    try:
        SharedLedger(path).charge(EVENT)
    except (OSError, DpError):
        return REFUSED
    return RELEASED


def harmed(path, number, act):
    """What a process answers that meets `act` at a call while it charges."""

    def work():
        met = at_call(number, act)
        answer = charged(path)
        sys.setprofile(None)
        return answer if met() else UNHARMED

    return in_a_process(work)


def at_every_call(path, act):
    """(answer, new charges) for an `act` at each call in turn, each time from the same file."""
    found, begun = [], path.read_bytes()
    before = len(Ledger.load(path).history)
    while True:
        path.write_bytes(begun)
        answer = harmed(path, len(found), act)
        if answer == UNHARMED:
            return found
        # Reading refuses a file that is not whole.
        found.append((answer, len(Ledger.load(path).history) - before))


@pytest.mark.parametrize(("act", "ends"), [(killed, -signal.SIGKILL), (full, REFUSED)])
def test_d8_a_process_that_ends_at_any_call_loses_no_charge(path, act, ends):
    found = at_every_call(path, act)
    assert len(found) > 60
    assert {answer for answer, _ in found} <= {RELEASED, ends}
    assert {new for answer, new in found if answer == RELEASED} <= {1}
    # Both sides of the rename were met; behind it, a charge counts although nothing was released.
    assert {new for answer, new in found if answer == ends} == {0, 1}
    assert in_a_process(lambda: charged(path)) == RELEASED  # no lock is left behind


def test_d8_mutant_that_writes_in_place_loses_the_ledger(path, monkeypatch):
    monkeypatch.setattr(ledger, "write_file", lambda place, data: Path(place).write_bytes(data))
    with pytest.raises(DpError, match="no intact ledger"):
        at_every_call(path, killed)


def test_d8_a_disk_that_fills_at_any_byte_leaves_the_old_ledger(path):
    """A limit to the size of files, in place of a full disk: writes beyond it fail."""
    before = path.read_bytes()

    def work(room):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        return charged(path)

    for room in (0, 1, 100, len(before) - 1, len(before)):
        assert in_a_process(lambda room=room: work(room)) == REFUSED
        assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["budget.json", "budget.json.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up the rights of root")
def test_d8_without_a_right_to_the_folder_nothing_is_released(path):
    before = path.read_bytes()
    for place in (path.parent, *list(path.parent.parents)[:-2]):
        place.chmod(0o755)
    path.chmod(0o666)
    path.with_name("budget.json.lock").chmod(0o666)

    def work():
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return charged(path)

    assert in_a_process(work) == REFUSED
    assert path.read_bytes() == before


def test_d8_a_clock_that_goes_back_changes_nothing(path, monkeypatch):
    for clock in (2e9, 1e9, 0.0, -1.0):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        os.utime(path, (max(clock, 0.0), max(clock, 0.0)))
        SharedLedger(path).charge(EVENT)
    assert len(SharedLedger(path).read().history) == 5


def charged_until_it_dies(path, log, calls):
    """Charge until the budget ends, dying at a call of the third charge; note each allowed release."""
    for charges in itertools.count():
        met = at_call(calls, killed) if charges == 2 else lambda: False
        try:
            SharedLedger(path).charge(EVENT)
        except BudgetExhaustedError:
            return RELEASED
        sys.setprofile(None)
        assert not met()
        handle = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.write(handle, b".")
        os.close(handle)
    raise AssertionError("no end")


def test_d8_processes_that_die_while_they_share_a_budget(path, tmp_path):
    """Four at once, replaced when they die: no release is missing, and none is beyond the budget."""
    log = tmp_path / "releases"
    log.touch()
    calls, deaths, running = itertools.count(3, 5), 0, set()

    def start():
        number = next(calls)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = charged_until_it_dies(path, log, number)
            finally:
                os._exit(code)
        running.add(child)

    for _ in range(4):
        start()
    while running:
        child, status = os.wait()
        running.remove(child)
        answer = os.waitstatus_to_exitcode(status)
        assert answer in (RELEASED, -signal.SIGKILL)
        if answer < 0:
            deaths += 1
            start()
    releases, history = log.stat().st_size, SharedLedger(path).read().history
    assert deaths >= 8
    assert releases <= len(history) - 1 <= releases + deaths
    assert SharedLedger(path).spent().high <= BUDGET
    assert SharedLedger(path).read().would_exceed(EVENT)


def charged_while_the_lock_is_deleted(path, monkeypatch):
    """One charge is between reading and writing when the lock's file is deleted and another charge comes."""
    written, others = durable.write_file, []

    def deleted_meanwhile(place, data):
        monkeypatch.setattr(ledger, "write_file", written)
        place.with_name(place.name + ".lock").unlink()
        other = threading.Thread(target=SharedLedger(place).charge, args=(EVENT,))
        other.start()
        others.append(other)
        other.join(timeout=0.7)
        written(place, data)

    monkeypatch.setattr(ledger, "write_file", deleted_meanwhile)
    SharedLedger(path).charge(EVENT)
    others[0].join(timeout=30)
    return len(SharedLedger(path).read().history) - 1


def test_d8_a_lock_that_is_deleted_during_a_charge_loses_no_charge(path, monkeypatch):
    assert charged_while_the_lock_is_deleted(path, monkeypatch) == 2


def test_d8_mutant_with_one_lock_loses_a_charge(path, monkeypatch):
    locked = durable._locked

    @contextmanager
    def only_beside(place, flags):
        if flags & os.O_CREAT:
            with locked(place, flags) as still:
                yield still
        else:
            yield True

    monkeypatch.setattr(durable, "_locked", only_beside)
    assert charged_while_the_lock_is_deleted(path, monkeypatch) == 1


def locked_after_a_fork(path):
    """Whether a process that was forked during a charge keeps others from the next one."""
    reading, writing = os.pipe()
    with durable.exclusive(path):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the other process lets go
            os._exit(0)
    handle = os.open(path.with_name("budget.json.lock"), os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        for open_handle in (handle, reading, writing):
            os.close(open_handle)
        os.waitpid(child, 0)
    return False


def test_d8_a_fork_during_a_charge_leaves_the_lock_behind(path, monkeypatch):
    assert not locked_after_a_fork(path)
    taken = fcntl.flock
    monkeypatch.setattr(
        fcntl, "flock", lambda h, how: None if how == fcntl.LOCK_UN else taken(h, how)
    )
    assert locked_after_a_fork(path)  # mutant that only closes its handle


def test_d8_a_reader_meets_a_file_that_is_just_replaced(path, monkeypatch):
    """The system looks a name up, then asks the file: replaced between both, it has no name left."""
    asked, answers = Path.lstat, []

    def replaced(self):
        found = asked(self)
        if self.name == path.name and not answers:
            answers.append(found)
            return os.stat_result((*found[:3], 0, *found[4:]))
        return found

    monkeypatch.setattr(Path, "lstat", replaced)
    assert len(SharedLedger(path).read().history) == 1
    assert answers
    answers.clear()
    monkeypatch.setattr(durable, "_LOOKS", 1)
    with pytest.raises(DpError, match="0 hard links"):  # mutant that looks once
        SharedLedger(path)


def test_d8_a_fork_inside_a_charge_does_not_free_the_lock_of_its_parent(path):
    held = durable.exclusive(path)
    held.__enter__()

    def left():
        held.__exit__(None, None, None)
        return 0

    assert in_a_process(left) == 0
    handle = os.open(path.with_name("budget.json.lock"), os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    held.__exit__(None, None, None)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
