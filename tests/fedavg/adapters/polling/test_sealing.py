"""The files of a member's sealing keys: one for each epoch, and none under a name that is passed over."""

from __future__ import annotations

import pytest

from fedavg.adapters.polling.sealing import SealingFiles
from fedavg.errors import ConfigError


def test_keys_of_earlier_epochs_are_deleted_and_others_stay(tmp_path):
    for name in ("sealing-1", "sealing-2", "sealing-10", "journal"):
        (tmp_path / name).write_bytes(bytes(32))
    files = SealingFiles(tmp_path)
    assert sorted(files.paths) == [1, 2, 10]
    files.delete_before(2)
    files.delete_before(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal",
        "sealing-10",
        "sealing-2",
    ]
    assert sorted(files.paths) == sorted(SealingFiles(tmp_path).paths) == [2, 10]


@pytest.mark.parametrize(
    "name", ["sealing-x", "sealing-", "sealing-01", "sealing-1.part", "sealing--1"]
)
def test_a_key_of_no_epoch_is_refused(tmp_path, name):
    for there in ("sealing-1", name):
        (tmp_path / there).write_bytes(bytes(32))
    with pytest.raises(ConfigError, match=f"{name} names no epoch"):
        SealingFiles(tmp_path)


def test_a_member_without_a_key_is_told_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="holds no sealing key, such as sealing-1"):
        SealingFiles(tmp_path)
