"""Files that a node writes for itself alone: no link, no pipe, nobody else who reads them."""

from __future__ import annotations

import fcntl
import os
import signal

import pytest

from fedavg import ConfigError
from fedavg.adapters.exchange.keys.private import read_private, wait_for_lock
from fedavg.adapters.exchange.keys.sealing import SealingFolder


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "sealing-7"
    path.write_bytes(bytes(32))
    path.chmod(0o600)
    return path


@pytest.fixture
def alarm():
    """A test that waits for a pipe's other end is ended after ten seconds, and fails."""

    def ended(*_):
        raise TimeoutError("it waits for somebody who writes into the pipe")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_the_owners_file_is_read(own):
    assert read_private(own, "") == bytes(32)
    with pytest.raises(FileNotFoundError):
        read_private(own.with_name("none"), "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused_with_the_remedy(own, mode):
    own.chmod(mode)
    with pytest.raises(ConfigError, match=r"others can read .*sealing-7: take it away"):
        read_private(own, ": take it away")


def test_a_pipe_under_the_name_of_a_key_holds_nobody(own, alarm):
    own.unlink()
    os.mkfifo(own, 0o600)
    with pytest.raises(ConfigError, match="is no regular file"):
        SealingFolder(own.parent).secret(7)


def test_a_file_with_another_name_is_refused(own):
    os.link(own, own.with_name("copy"))
    with pytest.raises(ConfigError, match="cannot be kept"):
        SealingFolder(own.parent).secret(7)
    own.unlink()
    own.symlink_to(own.with_name("copy"))
    with pytest.raises(ConfigError, match="symbolic link"):
        SealingFolder(own.parent).secret(7)


def test_no_key_is_written_through_a_link(tmp_path):
    """Somebody who may write into the folder guesses the name of the next key, and would get the key."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "sealing-8").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="symbolic link"):
        SealingFolder(tmp_path).put(8, bytes(32))
    assert not elsewhere.exists()


def test_a_lock_follows_no_link_and_makes_no_file_elsewhere(tmp_path):
    elsewhere, lock = tmp_path / "elsewhere", tmp_path / "sealing.lock"
    lock.symlink_to(elsewhere)
    with (
        pytest.raises(ConfigError, match=r"sealing\.lock cannot be kept"),
        SealingFolder(tmp_path).locked(),
    ):
        raise AssertionError("it is locked")
    assert not elsewhere.exists()


def test_a_lock_keeps_others_out_until_it_is_closed(tmp_path):
    path = tmp_path / "lock"
    handle, other = wait_for_lock(path), os.open(path, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
