"""A server that asks twice, and an intermediary that repeats and invents: one answer to each question."""

from __future__ import annotations

import pytest

from fedavg import FileJournal
from fedavg.adapters.polling import Board, ClientRounds, Letter, Party, Verdict
from fedavg.protocol.driver import PROTOCOL_ERRORS
from tests.fedavg.adapters.polling.agreed import agreement, board, client_rounds, parties, stage
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
        assert not answers(after, *(Letter(1, number, offer).to_bytes() for number in (1, 2, 7)))


def an_answer_repeated(folder):
    """A network that delivers twice: the second delivery is the first one again, and no misbehaviour."""
    agreed = agreement(members=False)
    one, people = board(agreed), parties(agreed, folder)
    going = True
    while going:
        sent = {address: people[address].answer(one.question(address)) for address in one.asked}
        for _ in range(2):
            for address, data in sent.items():
                assert one.answer(address, data) is Verdict.ACCEPTED
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


ATTACKS = {
    asked_twice: (Party, "answer", "letter.ticket == self._ticket"),
    a_round_opened_again: (
        ClientRounds,
        "begin",
        'not self.journal.add(b"client takes part in the sum " + spec.context)',
    ),
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
