"""A server that asks twice, and an intermediary that repeats and invents: one answer to each question."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from fedavg import FileJournal
from fedavg.adapters.polling import (
    Board,
    ClientRounds,
    Letter,
    Party,
    SumAgreement,
    Verdict,
    content_digest,
    open_party,
)
from fedavg.adapters.polling import folder as folders
from fedavg.errors import ConfigError
from fedavg.files import replace_file
from fedavg.protocol.driver import PROTOCOL_ERRORS
from fedavg.sums.interface import FIRST_OPENER
from secagg import Identity
from tests.fedavg.adapters.polling.agreed import (
    CLIENTS,
    MEMBERS,
    MODEL,
    SEALING,
    agreement,
    board,
    client_rounds,
    parties,
    stage,
)
from tests.hostile.mutants import FOUND, without


def answers(party, *questions):
    """All different answers that a party gives."""
    given = set()
    for question in questions:
        try:
            given.add(party.answer(question))
        except PROTOCOL_ERRORS:
            continue
    return given - {None}


def asked_twice(folder):
    """The server asks the question of one ticket again, as it was and with another session's messages."""
    agreed = agreement(members=False)
    for client in range(6):
        party = Party(client_rounds(agreed, client), folder / f"outbox{client}")
        first, other = board(agreed).question(client), board(agreed).question(client)
        assert first != other
        given = answers(party, first)
        assert len(given) == 1
        for question in (first, other, first):
            assert party.answer(question) in given


def a_round_opened_again(folder):
    """A server that was restored from a backup, or lies, opens round 1 again; the clients were restarted.

    With a second vector in a sum over other clients it would learn the difference of two sums, such as one
    client's vector.
    """
    agreed = agreement(members=False)
    first, second = board(agreed), board(agreed)
    for client in range(6):
        journal = folder / f"journal{client}"
        before = Party(
            client_rounds(agreed, client, FileJournal(journal)), folder / f"outbox{client}"
        )
        assert answers(before, first.question(client))
        after = Party(
            client_rounds(agreed, client, FileJournal(journal)), folder / f"outbox{client}"
        )
        offer = Letter.from_bytes(second.question(client)).messages
        # Under the ticket that the client knows it would send its old answer, so the server takes others.
        assert not answers(
            after, *(Letter(1, number, offer, MODEL).to_bytes() for number in (1, 2, 7))
        )


def a_round_opened_under_another_model(folder):
    """The same with another model: the claim of a number holds for all contents."""
    agreed = agreement(members=False)
    other = b"another model"
    session = agreed.server_side().session(agreed.spec(1, other), sorted(agreed.clients))
    first, second = board(agreed), Board(session, 1, other)
    for client in range(6):
        rounds = _trains_from_anything(client_rounds(agreed, client))
        sent = [
            answers(Party(rounds, folder / f"outbox{client}.{life}"), one.question(client))
            for life, one in enumerate((first, second))  # its outbox is lost between the two
        ]
        assert [len(given) for given in sent] == [1, 0]


def _trains_from_anything(rounds):
    """A client that takes any model: the defence must not be the test's own check of it."""
    return dataclasses.replace(rounds, update=lambda number, _: rounds.update(number, MODEL))


def models_of_its_own_for_one_client(folder):
    """The server gives client 3 a model from which only client 3 makes something else than zero.

    The sum over all clients would be client 3's vector.
    """
    for members in (True, False):
        agreed = agreement(members=members)
        one, people = board(agreed), parties(agreed, folder / str(members))
        (folder / str(members)).mkdir()
        target = Party(
            _trains_from_anything(client_rounds(agreed, 3)), folder / str(members) / "other"
        )
        letter = Letter.from_bytes(one.question(3))
        asked = Letter(1, 0, letter.messages, b"a model for client 3 alone").to_bytes()
        for given in answers(target, asked):
            one.answer(3, given)
        del people[3]
        for address in people:
            if address in one.asked:
                one.answer(address, people[address].answer(one.question(address)))
        while one.advance():
            for address in set(one.asked) & set(people):
                one.answer(address, people[address].answer(one.question(address)))
            if 3 in one.asked:
                for given in answers(target, one.question(3)):
                    one.answer(3, given)
        assert one.result().survivors == (0, 1, 2, 4, 5)


def members_told_of_another_model(folder):
    """The server tells the members another digest than the clients' content: no share opens under it."""
    agreed = agreement()
    one, people = board(agreed), parties(agreed, folder)
    stage(one, people)
    one.advance()
    opened = set()
    for member in range(9):
        address = FIRST_OPENER - member
        letter = Letter.from_bytes(one.question(address))
        other = Letter(1, 1, letter.messages, content_digest(b"another model")).to_bytes()
        opened |= {one.answer(address, given) for given in answers(people[address], other)}
    assert Verdict.ACCEPTED not in opened


def an_answer_of_an_old_enrolment(folder):
    """The operator enrols everybody anew in the same folders: round 1 has no old answer in it."""
    old = agreement()
    stage(board(old), parties(old, folder))
    stranger = {**old.clients, 5: Identity.generate().public}
    new = msgspec.structs.replace(old, clients=stranger)
    one, people = board(new), parties(new, folder)
    for client in range(5):
        assert one.answer(client, people[client].answer(one.question(client))) is Verdict.ACCEPTED


def shares_damaged_on_their_way(folder):
    """A network that damages the end of an answer: the honest bytes count when they come again."""
    agreed = agreement(length=4000)  # so long that a ciphertext is sent, and then the shares
    one, people = board(agreed), parties(agreed, folder)
    for client in CLIENTS:
        good = people[client].answer(one.question(client))
        first, *rest = Letter.from_bytes(good).messages
        damaged = (first, *(part[:-1] + bytes([part[-1] ^ 1]) for part in rest))
        assert one.answer(client, Letter(1, 0, damaged).to_bytes()) is Verdict.REFUSED
        assert one.answer(client, good) is Verdict.ACCEPTED
    assert one.complete


def an_identity_that_others_read(folder):
    """Another user of the machine can read a key: the party does not start with it."""
    agreed = agreement(members=False)
    (folder / "client-0").mkdir()
    replace_file(folder / "client-0" / "agreement.json", agreed.to_bytes())
    replace_file(folder / "client-0" / "identity", CLIENTS[0].private_bytes(), mode=0o644)
    FileJournal(folder / "client-0" / "journal")
    with pytest.raises(ConfigError, match="others can read"):
        open_party(folder / "client-0", lambda client, number, length, content: None)


def an_answer_repeated(folder):
    """A network that delivers twice: the second delivery is the first one again, and no misbehaviour.

    Other bytes in the party's name are then neither taken nor held against it.
    """
    agreed = agreement(members=False)
    one, people = board(agreed), parties(agreed, folder)
    going = True
    while going:
        sent = {address: people[address].answer(one.question(address)) for address in one.asked}
        for _ in range(2):
            for address, data in sent.items():
                assert one.answer(address, data) is Verdict.ACCEPTED
        for address, data in sent.items():
            letter = Letter.from_bytes(data)
            more = Letter(letter.number, letter.stage, (*letter.messages, b"more"))
            assert one.answer(address, more.to_bytes()) is Verdict.SECOND
        going = one.advance()
    assert one.refused == {}
    assert len(one.result().survivors) == 6


def answers_in_another_name(folder):
    """A party sends its own bytes, and an earlier stage's, in the name of client 3, who then still counts."""
    agreed = agreement(members=False)
    one, people = board(agreed), parties(agreed, folder)
    old = people[3].answer(one.question(3))
    stage(one, people)
    one.advance()
    own = people[5].answer(one.question(5))
    assert one.answer(3, own) is Verdict.REFUSED
    assert one.answer(3, old) is Verdict.CLOSED
    stage(one, people)
    while one.advance():
        stage(one, people)
    assert 3 in one.result().survivors


def an_older_epoch_after_a_restart(folder):
    """A thief has keys of epoch 1; the server opens a round of that epoch, when epoch 2 began long ago.

    The parties were restarted, and their outboxes deleted: only their journals know of epoch 2.
    """
    agreed, member = agreement(), FIRST_OPENER - 4
    journals = {at: FileJournal(folder / f"journal{at}") for at in (3, member)}
    later = board(agreed, 12)
    first = parties(agreed, folder, dict(journals))
    stage(later, first)
    later.advance()
    assert answers(first[member], later.question(member))
    older, people = board(agreed, 5), parties(agreed, folder, dict(journals))
    for at in journals:
        (folder / f"outbox{at}").unlink()
        people[at] = parties(agreed, folder, dict(journals))[at]
    assert not answers(people.pop(3), older.question(3))
    for client in set(older.asked) & set(people):
        older.answer(client, people[client].answer(older.question(client)))
    older.advance()
    assert not answers(people[member], older.question(member))


def _member_folder(root):
    """The folder of member 4, with its keys of three epochs."""
    folder = root / "member-4"
    folder.mkdir()
    replace_file(folder / "agreement.json", agreement().to_bytes())
    replace_file(folder / "identity", MEMBERS[4].private_bytes(), mode=0o600)
    for key in SEALING[4]:
        replace_file(folder / f"sealing-{key.epoch}", key.private_bytes(), mode=0o600)
    return folder


def _sealing_of(folder):
    return sorted(path.name for path in folder.glob("sealing*"))


def a_disk_stolen_in_a_later_epoch(folder):
    """A thief takes a member's disk in epoch 2: no key of epoch 1 is on it."""
    mine = _member_folder(folder)
    FileJournal(mine / "journal")
    one, people = board(agreement(), 12), parties(agreement(), folder)
    stage(one, people)
    one.advance()
    at = FIRST_OPENER - 4
    party = open_party(mine, lambda *_: None)
    assert one.answer(at, party.answer(one.question(at))) is Verdict.ACCEPTED
    assert _sealing_of(mine) == ["sealing-2", "sealing-3"]


def a_key_that_a_crash_left(folder):
    """The process ended after it had recorded that epoch 2 began, or a backup brought the key back."""
    mine = _member_folder(folder)
    agreement().enter(12, FileJournal(mine / "journal"))
    open_party(mine, lambda *_: None)
    assert _sealing_of(mine) == ["sealing-2", "sealing-3"]


ATTACKS = {
    an_older_epoch_after_a_restart: (SumAgreement, "enter", "epoch < newest"),
    a_disk_stolen_in_a_later_epoch: (
        folders,
        "_member",
        "files.delete_before(agreed.enter(number, journal))",
        "agreed.enter(number, journal)",
    ),
    a_key_that_a_crash_left: (
        folders,
        "_member",
        "files.delete_before(agreed.newest_epoch(journal))",
        "pass",
    ),
    asked_twice: (Party, "answer", "asked == self._asked"),
    a_round_opened_again: (
        ClientRounds,
        "begin",
        'not self.journal.add(b"client takes part in the sum " + self.name(number))',
    ),
    a_round_opened_under_another_model: (
        ClientRounds,
        "begin",
        "self.name(number)",
        "spec.context",
    ),
    models_of_its_own_for_one_client: (SumAgreement, "spec_of", "+ digest", ""),
    members_told_of_another_model: (SumAgreement, "spec_of", "+ digest", ""),
    an_answer_of_an_old_enrolment: (
        Party,
        "answer",
        "asked == self._asked",
        "asked[1:] == (self._asked or ())[1:]",
    ),
    shares_damaged_on_their_way: (Board, "_receive", "digest in taken"),
    an_identity_that_others_read: (folders, "_secret", "path.stat().st_mode & 0o077"),
    an_answer_repeated: (Board, "answer", "party in stage.answered"),
    answers_in_another_name: (Board, "answer", "letter.ticket != stage.ticket"),
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_attack_fails(attack, tmp_path):
    attack(tmp_path)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_attack_succeeds_without_its_defence(attack, tmp_path, monkeypatch):
    without(monkeypatch, *ATTACKS[attack])
    with pytest.raises((*FOUND, *PROTOCOL_ERRORS)):
        attack(tmp_path)
