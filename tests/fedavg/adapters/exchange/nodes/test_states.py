"""The one file in which a node's client of a masked sum lies."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from fedavg.adapters.exchange import StateFile
from fedavg.adapters.exchange.nodes import states
from fedavg.adapters.exchange.nodes.states import LOCK_FILE, STATE_FILE
from fedavg.errors import ConfigError


def test_a_state_replaces_the_one_before(tmp_path):
    shelf = StateFile(tmp_path)
    assert shelf.take_in() is None
    for state in (b"one", b"two" * 1000, b""):
        shelf.put(state)
        assert StateFile(tmp_path).take_in() == state
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    for _ in range(2):
        shelf.clear()
        assert shelf.take_in() is None


def test_only_the_owner_can_read_it(tmp_path):
    shelf = StateFile(tmp_path)
    with shelf.locked():
        shelf.put(b"sealed")
    for name in (STATE_FILE, LOCK_FILE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_one_holds_the_lock(tmp_path):
    inside, most = [], []

    def enter() -> None:
        with StateFile(tmp_path).locked():
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_folder_that_is_none_is_named(tmp_path):
    shelf = StateFile(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="one that the node can write"):
        shelf.put(b"sealed")
    with pytest.raises(ConfigError, match="one that the node can write"), shelf.locked():
        pass
    (tmp_path / STATE_FILE).mkdir()
    for use in (StateFile(tmp_path).take_in, StateFile(tmp_path).clear):
        with pytest.raises(ConfigError, match="cannot be kept"):
            use()


def test_a_pipe_under_its_name_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / STATE_FILE, 0o600)
    with pytest.raises(ConfigError, match="is no regular file"):
        StateFile(tmp_path).take_in()


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(tmp_path):
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be kept"), StateFile(tmp_path).locked():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_keeps_no_part_of_a_state(tmp_path, monkeypatch):
    def half(path, *_, **__):
        path.with_name(f"{path.name}.part").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(states, "replace_file", half)
    with pytest.raises(ConfigError, match="no space left"):
        StateFile(tmp_path).put(b"sealed")
    assert not list(tmp_path.iterdir())


def test_a_state_is_gone_from_the_disk_when_it_is_cleared(tmp_path, monkeypatch):
    """A folder that was not synced could give it back after a loss of power."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    shelf = StateFile(tmp_path)
    shelf.put(b"sealed")
    synced.clear()
    shelf.clear()
    assert synced == [tmp_path.stat().st_ino]
    shelf.clear()
    assert len(synced) == 1  # nothing was there: a node of another sum clears at every message
