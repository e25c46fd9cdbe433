"""Folders: what is read, what is refused by name, and numbers that are used once."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.adapters.polling import (
    Letter,
    Verdict,
    begin_round,
    content_digest,
    open_party,
    sealing,
)
from fedavg.errors import ConfigError
from fedavg.files import FileJournal, replace_file
from fedavg.sums.interface import FIRST_OPENER
from secagg import Identity, LocalProtocolError
from tests.fedavg.adapters.polling.agreed import (
    CLIENTS,
    MEMBERS,
    MODEL,
    SEALING,
    agreement,
    board,
    expected,
    parties,
    stage,
    update,
)


def called(client, number, length, content):
    assert length == 40
    return update(client, number, content)


def folder_of(root, name):
    folder, number = root / name, int(name.split("-")[1])
    folder.mkdir()
    replace_file(folder / "agreement.json", agreement().to_bytes())
    keys = CLIENTS if name.startswith("client") else MEMBERS
    replace_file(folder / "identity", keys[number].private_bytes(), mode=0o600)
    FileJournal(folder / "journal")
    if name.startswith("member"):
        for key in SEALING[number]:
            replace_file(folder / f"sealing-{key.epoch}", key.private_bytes(), mode=0o600)
    return folder


def test_a_round_from_folders_is_exact_and_restarts(tmp_path):
    agreed = agreement()
    folders = {address: folder_of(tmp_path, name) for name, address in agreed.addresses.items()}
    one = board(agreed)
    people = {address: open_party(folder, called) for address, folder in folders.items()}
    stage(one, people)
    again = open_party(folders[3], called)
    assert one.answer(3, again.answer(one.question(3))) is Verdict.ACCEPTED
    while one.advance():
        stage(one, people)
    assert np.array_equal(one.result().total, expected(range(6)))
    assert FIRST_OPENER in people


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("client-1", "identity"),
        ("client-1", "agreement.json"),
        ("member-1", "identity"),
    ],
)
def test_a_missing_file_is_named(tmp_path, name, file):
    folder = folder_of(tmp_path, name)
    (folder / file).unlink()
    with pytest.raises(ConfigError, match=f"cannot read .*{name}/{file}: No such file"):
        open_party(folder, called)


@pytest.mark.parametrize(
    ("name", "file"),
    [("client-1", "identity"), ("member-1", "identity"), ("member-1", "sealing-2")],
)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_that_others_can_read_is_refused(tmp_path, name, file, mode):
    folder = folder_of(tmp_path, name)
    (folder / file).chmod(mode)
    with pytest.raises(ConfigError, match=f"others can read .*{name}/{file}: chmod 600 it"):
        open_party(folder, called)
    (folder / file).chmod(0o600)
    open_party(folder, called)


@pytest.mark.parametrize(
    "name", ["client-6", "member-9", "server", "client-x", "client--1", "client-01"]
)
def test_a_folder_of_another_name_is_no_party(tmp_path, name):
    folder = folder_of(tmp_path, "client-1").rename(tmp_path / name)
    with pytest.raises(ConfigError, match="knows no party"):
        open_party(folder, called)


def test_another_partys_keys_are_refused_before_any_round(tmp_path):
    client, member = folder_of(tmp_path, "client-1"), folder_of(tmp_path, "member-1")
    stranger = Identity.generate().private_bytes()
    replace_file(client / "identity", stranger, mode=0o600)
    with pytest.raises(ConfigError, match="client-1 by another identity"):
        open_party(client, called)
    replace_file(member / "identity", stranger, mode=0o600)
    party = open_party(member, called)
    with pytest.raises(LocalProtocolError, match="another identity or sealing key"):
        party.answer(Letter(1, 1, (b"a delivery",), content_digest(MODEL)).to_bytes())


def test_a_member_deletes_the_keys_of_epochs_that_are_over_before_it_answers(tmp_path):
    agreed = agreement()
    folders = {address: folder_of(tmp_path, name) for name, address in agreed.addresses.items()}
    people = {address: open_party(folder, called) for address, folder in folders.items()}
    for number, left in ((1, [1, 2, 3]), (12, [2, 3]), (20, [3])):
        one = board(agreed, number)
        stage(one, people)
        while one.advance():
            stage(one, people)
        assert np.array_equal(one.result().total, expected(range(6), number))
        kept = sorted(path.name for path in folders[FIRST_OPENER].glob("sealing*"))
        assert kept == [f"sealing-{epoch}" for epoch in left]
    assert open_party(folders[FIRST_OPENER], called).seen == ""  # with the one key that is left


def test_a_member_whose_old_key_cannot_be_deleted_answers_nothing(tmp_path, monkeypatch):
    member = folder_of(tmp_path, "member-1")
    party, at = open_party(member, called), FIRST_OPENER - 1
    one, clients = board(agreement(), 12), parties(agreement(), tmp_path)
    stage(one, clients)
    one.advance()
    question = one.question(at)

    def fails(path):
        raise OSError(30, "Read-only file system", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(sealing, "remove_file", fails)
        with pytest.raises(OSError, match="Read-only"):
            party.answer(question)
    assert party.answer(question) is None
    # The next process deletes it, and the member is back in this round.
    assert one.answer(at, open_party(member, called).answer(question)) is Verdict.ACCEPTED
    assert not (member / "sealing-1").exists()


def test_a_number_is_used_once(tmp_path):
    assert [begin_round(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "round").write_text("41\n")
    with pytest.raises(ConfigError, match="holds no number"):
        begin_round(tmp_path)
    (tmp_path / "round").write_text("41")
    assert begin_round(tmp_path) == 42
