"""Files that are replaced whole: under links, with other names, and when writing fails."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading

import pytest

from fedavg import files
from fedavg.errors import ConfigError
from fedavg.files import locked, refuse_other_names, remove_file, replace_file


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "report.html"
    replace_file(path, b"one")
    replace_file(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "big disk" / "model", tmp_path / "model"
    target.parent.mkdir()
    link.symlink_to(target)
    replace_file(link, b"one")
    replace_file(link, b"two")
    assert link.is_symlink()
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_state_under_another_name_is_refused_and_stays_as_it_was(tmp_path):
    path = tmp_path / "ledger.json"
    replace_file(path, b"one", sole=True)
    link, hard = tmp_path / "link", tmp_path / "hard"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        replace_file(link, b"two", sole=True)
    os.link(path, hard)
    for name in (path, hard):
        with pytest.raises(OSError, match="2 hard links"):
            replace_file(name, b"two", sole=True)
    assert path.read_bytes() == b"one"
    replace_file(path, b"two")  # what is no state may keep a backup's name
    assert hard.read_bytes() == b"one"
    refuse_other_names(tmp_path / "not there yet")


def test_a_planted_link_in_place_of_the_temporary_file_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "model.part").symlink_to(victim)
    replace_file(tmp_path / "model", b"one")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "model").read_bytes() == b"one"
    assert not (tmp_path / "model").is_symlink()


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    replace_file(path, b"one")

    def full(_handle):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="no space") as caught:
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert caught.value.filename == str(path)  # a handle's error alone would name no file
    assert list(tmp_path.iterdir()) == [path]  # nothing takes the room of a full disk


def test_an_interrupt_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "model"
    replace_file(path, b"one")

    def interrupted(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_take_turns(tmp_path, monkeypatch):
    """The first waits before its rename until the second has begun, or has been seen to wait."""
    path, begun, sync = tmp_path / "report.html", threading.Event(), files.os.fsync
    second = threading.Thread(target=lambda: (begun.set(), replace_file(path, b"second" * 99)))

    def slow(handle):
        sync(handle)
        if not second.ident:
            second.start()
            begun.wait()
            second.join(0.3)  # without turns it has taken the unfinished file away by now

    monkeypatch.setattr(files.os, "fsync", slow)
    replace_file(path, b"first")
    second.join()
    assert path.read_bytes() == b"second" * 99
    assert list(tmp_path.iterdir()) == [path]


def test_a_fork_in_the_midst_of_a_write_keeps_no_lock(tmp_path, monkeypatch):
    """The child has the folder's handle and lives on; the parent's next write does not wait for it."""
    children, sync = [], files.os.fsync

    def forking(handle):
        sync(handle)
        if not children:
            children.append(os.fork())
            if not children[0]:
                signal.pause()
                os._exit(0)

    monkeypatch.setattr(files.os, "fsync", forking)
    replace_file(tmp_path / "one", b"1")
    try:
        writer = multiprocessing.get_context("fork").Process(
            target=replace_file, args=(tmp_path / "two", b"2"), daemon=True
        )
        writer.start()
        writer.join(60)
        assert writer.exitcode == 0
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def test_a_directory_has_one_lock_under_all_its_names(tmp_path):
    folder, link = tmp_path / "run", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    with (
        locked(folder / "run.lock", "busy"),
        pytest.raises(ConfigError, match="busy"),
        locked(link / "run.lock", "busy"),
    ):
        pytest.fail("both hold it")
    with locked(link / "run.lock", "busy"):
        assert (folder / "run.lock").exists()


def test_a_file_is_removed_and_its_folder_written(tmp_path, monkeypatch):
    path, synced = tmp_path / "key", []
    monkeypatch.setattr(files, "_sync_folder", synced.append)
    path.write_bytes(b"secret")
    remove_file(path)
    remove_file(path)  # a process that ended between the two begins again
    assert not path.exists()
    assert synced == [tmp_path, tmp_path]
