"""D12: one ledger under several names; every name gives the same budget or a typed refusal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dp import (
    BudgetExhaustedError,
    GaussianEvent,
    InvalidParameterError,
    Ledger,
    SharedLedger,
)
from dp.ledgers import durable, ledger, shared

EVENT = GaussianEvent(8.0)
BUDGET = 0.6


def room():
    """Releases that fit the budget."""
    alone, done = Ledger(BUDGET, 1e-5), 0
    while not alone.would_exceed(EVENT, done + 1):
        done += 1
    return done


ROOM = room()


@pytest.fixture
def real(tmp_path):
    path = tmp_path / "budget.json"
    SharedLedger.create(path, Ledger(BUDGET, 1e-5))
    return path


def drain(name):
    """Charges that went through under this name."""
    done = 0
    try:
        shared_ledger = SharedLedger(name)
        for _ in range(2 * ROOM):
            shared_ledger.charge(EVENT)
            done += 1
    except (BudgetExhaustedError, InvalidParameterError):
        pass
    return done


def symbolic(real):
    name = real.parent / "project" / "link.json"
    name.parent.mkdir()
    name.symlink_to(real)
    return name


def relative_link(real):
    name = real.parent / "project" / "link.json"
    name.parent.mkdir()
    name.symlink_to(Path("..") / real.name)
    return name


def chain(real):
    first, second = real.parent / "first.json", real.parent / "second.json"
    first.symlink_to(real)
    second.symlink_to(first)
    return second


def linked_folder(real):
    folder = real.parent.parent / f"{real.parent.name}-link"
    folder.symlink_to(real.parent)
    return folder / real.name


def relative(real):
    return Path(os.path.relpath(real))


def dotted(real):
    (real.parent / "project").mkdir()
    return real.parent / "project" / ".." / real.name


NAMES = [symbolic, relative_link, chain, linked_folder, relative, dotted]


@pytest.mark.parametrize("order", ["real first", "name first"])
@pytest.mark.parametrize("name", NAMES)
def test_d12_all_names_are_one_budget(real, name, order):
    other = name(real)
    names = (real, other) if order == "real first" else (other, real)
    assert [drain(one) for one in names] == [ROOM, 0]
    assert len(SharedLedger(real).read().history) == ROOM
    assert len(SharedLedger(other).read().history) == ROOM
    assert other.is_symlink() == (name in (symbolic, relative_link, chain))


@pytest.mark.parametrize("name", NAMES)
def test_d12_open_ledgers_under_two_names_take_turns(real, name):
    ledgers = [SharedLedger(real), SharedLedger(name(real))]
    for turn in range(ROOM):
        ledgers[turn % 2].charge(EVENT)
    for one in ledgers:
        with pytest.raises(BudgetExhaustedError):
            one.charge(EVENT)


@pytest.mark.parametrize("first", [0, 1])
def test_d12_hard_links_are_refused_under_either_name(real, first):
    other = real.parent / "other.json"
    os.link(real, other)
    for name in ((real, other), (other, real))[first]:
        with pytest.raises(InvalidParameterError, match="2 hard links.*symbolic link"):
            SharedLedger(name)
    other.unlink()
    assert drain(real) == ROOM


def test_d12_a_hard_link_made_while_the_ledger_is_open_is_refused(real):
    open_before, before = SharedLedger(real), real.read_bytes()
    os.link(real, real.parent / "other.json")
    for refused in (lambda: open_before.charge(EVENT), lambda: Ledger(9.0, 0.1).save(real)):
        with pytest.raises(InvalidParameterError, match="hard links"):
            refused()
    assert real.read_bytes() == before


def test_d12_a_hard_link_made_while_a_charge_is_written_is_refused(real, monkeypatch):
    synced, before = os.fsync, real.read_bytes()

    def link_then_sync(handle):
        if not (real.parent / "other.json").exists():
            os.link(real, real.parent / "other.json")
        synced(handle)

    monkeypatch.setattr(os, "fsync", link_then_sync)
    with pytest.raises(InvalidParameterError, match="hard links"):
        SharedLedger(real).charge(EVENT)
    assert real.read_bytes() == before
    assert sorted(path.name for path in real.parent.iterdir()) == [
        "budget.json",
        "budget.json.lock",
        "other.json",
    ]


def test_d12_a_file_moved_away_and_linked_back_is_still_one_ledger(real):
    open_before = SharedLedger(real)
    moved = real.parent / "elsewhere" / "budget.json"
    moved.parent.mkdir()
    real.rename(moved)
    real.symlink_to(moved)
    open_before.charge(EVENT)
    assert real.is_symlink()
    assert len(SharedLedger(moved).read().history) == 1


def test_d12_a_change_of_directory_changes_no_ledger(real, monkeypatch):
    monkeypatch.chdir(real.parent)
    opened = SharedLedger(real.name)
    other = real.parent / "other"
    other.mkdir()
    SharedLedger.create(other / real.name, Ledger(BUDGET, 1e-5))
    monkeypatch.chdir(other)
    opened.charge(EVENT)
    assert len(SharedLedger(real).read().history) == 1
    assert SharedLedger(real.name).read().history == ()


def test_d12_a_ledger_is_created_where_a_link_leads(tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "budget.json")
    SharedLedger.create(link, Ledger(BUDGET, 1e-5))
    assert link.is_symlink()
    with pytest.raises(InvalidParameterError, match="exists"):
        SharedLedger.create(tmp_path / "budget.json", Ledger(BUDGET, 1e-5))
    assert SharedLedger(link).path == SharedLedger(tmp_path / "budget.json").path


def test_d12_a_saved_ledger_goes_where_a_link_leads(real):
    link = symbolic(real)
    spent = Ledger(BUDGET, 1e-5)
    spent.charge(EVENT)
    spent.save(link)
    assert link.is_symlink()
    assert Ledger.load(real).history == spent.history


def test_d12_circles_folders_and_devices_are_typed_refusals(tmp_path):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in (circle, tmp_path, Path("/dev/null"), pipe):
        with pytest.raises(InvalidParameterError, match="no regular file"):
            SharedLedger(name)
        with pytest.raises(InvalidParameterError, match="no regular file"):
            SharedLedger.create(name, Ledger(1.0, 1e-5))
    with pytest.raises(InvalidParameterError, match="resolved"):
        SharedLedger("budget\0.json")


def test_d12_a_file_mounted_by_itself_is_refused(real, monkeypatch, tmp_path):
    """Its mount would keep the old file when the other name gets the new one."""
    mounts = tmp_path / "mountinfo"
    line = "31 23 0:27 / {} rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    odd = real.parent / "my budget\\.json"
    shutil.copy(real, odd)
    monkeypatch.setattr(durable, "_MOUNTS", mounts)
    mounts.write_text(line.format("/") + line.format(real.parent), encoding="utf-8")
    SharedLedger(real).charge(EVENT)  # a mounted folder holds one file, whatever it is called
    escaped = str(odd).replace("\\", "\\134").replace(" ", "\\040")
    mounts.write_text(line.format(real) + line.format(escaped), encoding="utf-8")
    for name in (real, odd):
        with pytest.raises(InvalidParameterError, match="mounted as a single file"):
            SharedLedger(name)


def test_d12_a_lock_that_was_deleted_is_taken_anew(real, monkeypatch):
    """A process that waited for a removed lock must not continue with it, since others lock the new one."""
    import fcntl

    locked, deleted = fcntl.flock, []

    def lock_then_lose_it(handle, operation):
        locked(handle, operation)
        if not deleted:
            deleted.append(real.with_name("budget.json.lock"))
            deleted[0].unlink()

    monkeypatch.setattr(fcntl, "flock", lock_then_lose_it)
    with durable.exclusive(real) as name:
        assert name == real.resolve()
        handle = os.open(deleted[0], os.O_RDWR)
        with pytest.raises(BlockingIOError):
            locked(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)


def test_d12_permissions_outlive_a_charge(real):
    real.chmod(0o640)
    SharedLedger(real).charge(EVENT)
    assert real.stat().st_mode & 0o777 == 0o640


def _as_given(path):
    return Path(path)


def without_names(monkeypatch):
    """The defence taken out: a path is taken as it is given."""
    for module in (durable, shared):
        monkeypatch.setattr(module, "only_name", _as_given)


def test_d12_mutant_that_replaces_the_link_spends_twice(real, monkeypatch):
    without_names(monkeypatch)
    assert drain(symbolic(real)) + drain(real) == 2 * ROOM


def test_d12_mutant_that_takes_hard_links_spends_twice(real, monkeypatch):
    without_names(monkeypatch)
    other = real.parent / "other.json"
    os.link(real, other)
    assert drain(other) + drain(real) == 2 * ROOM


def test_d12_mutant_with_relative_names_charges_another_ledger(real, monkeypatch):
    without_names(monkeypatch)
    monkeypatch.chdir(real.parent)
    opened = SharedLedger(real.name)
    other = real.parent / "other"
    other.mkdir()
    SharedLedger.create(other / real.name, Ledger(BUDGET, 1e-5))
    monkeypatch.chdir(other)
    opened.charge(EVENT)
    assert ledger.Ledger.load(real).history == ()
