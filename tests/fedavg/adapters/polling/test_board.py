"""The board: one question a party and stage, one answer, and what is refused changes nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fedavg.adapters.polling import Board, Letter, Verdict, content_digest
from fedavg.errors import LocalProtocolError
from fedavg.sums.interface import FIRST_OPENER
from secagg import Aborted
from tests.fedavg.adapters.polling.agreed import MODEL, agreement, board, expected, parties, stage


@pytest.mark.parametrize("members", [True, False])
def test_a_sum_is_exact(members, tmp_path):
    agreed = agreement(members=members)
    one, people = board(agreed), parties(agreed, tmp_path)
    tickets = []
    going = True
    while going:
        tickets.append(one.ticket)
        stage(one, people)
        assert one.complete
        going = one.advance()
    assert np.array_equal(one.result().total, expected(range(6)))
    assert tickets == [f"1.{i}" for i in range(4 if members else 6)]
    assert one.ticket == ""
    assert one.asked == ()
    assert one.contributed == set(range(6))
    assert one.refused == {}


def test_a_poll_gets_the_same_question_until_it_says_that_it_has_seen_it():
    one = board(agreement())
    assert one.question(3) == one.question(3, seen="0.0") == one.question(3, seen="nonsense")
    assert one.question(3, seen="1.0") is None
    assert one.question(None) is None
    assert one.question(99) is None
    assert one.question(FIRST_OPENER) is None  # not asked yet


def test_verdicts(tmp_path):
    agreed = agreement()
    one, people = board(agreed), parties(agreed, tmp_path)
    good = people[0].answer(one.question(0))
    letter = Letter.from_bytes(good)
    assert one.answer(0, good) is Verdict.ACCEPTED
    assert one.answer(0, good) is Verdict.ACCEPTED  # a retry
    other = Letter(1, 0, (*letter.messages, b"more")).to_bytes()
    assert one.answer(0, other) is Verdict.SECOND
    for party, data in ((None, good), (99, good), (FIRST_OPENER, good)):
        assert one.answer(party, data) is Verdict.CLOSED
    late = Letter(1, 1, letter.messages).to_bytes()
    assert one.answer(1, late) is Verdict.CLOSED
    early = Letter(2, 0, letter.messages).to_bytes()
    assert one.answer(1, early) is Verdict.CLOSED
    assert one.answer(1, b"noise") is Verdict.REFUSED
    assert one.answer(1, good) is Verdict.REFUSED  # signed by client 0
    assert set(one.refused) == {1}
    assert one.contributed == {
        0,
        1,
    }  # bytes in client 1's name count, since nobody knows whose they are


def test_refused_bytes_do_not_silence_the_party_in_whose_name_they_came(tmp_path):
    agreed = agreement(members=False)
    one, people = board(agreed), parties(agreed, tmp_path)
    good = {i: people[i].answer(one.question(i)) for i in range(6)}
    assert (
        one.answer(2, Letter(1, 0, Letter.from_bytes(good[1]).messages).to_bytes())
        is Verdict.REFUSED
    )
    assert not one.complete
    for client, data in good.items():
        assert one.answer(client, data) is Verdict.ACCEPTED
    assert one.complete


def test_a_silent_client_is_left_out_and_too_few_end_the_round(tmp_path):
    agreed = agreement()
    one, people = board(agreed), parties(agreed, tmp_path)
    for client in range(1, 6):
        one.answer(client, people[client].answer(one.question(client)))
    assert not one.complete
    while one.advance():
        stage(one, people)
    assert one.result().survivors == (1, 2, 3, 4, 5)
    two = board(agreed, 2)
    with pytest.raises(Aborted, match="too few clients contributed"):
        two.advance()
    assert two.ticket == ""
    assert two.answer(0, b"late") is Verdict.REFUSED
    with pytest.raises(LocalProtocolError, match="round 2 is over"):
        two.advance()


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "1", None])
def test_a_number_of_a_round_is_an_integer_from_1(number):
    agreed = agreement()
    session = agreed.server_side().session(agreed.spec(1, b""), sorted(agreed.clients))
    with pytest.raises(LocalProtocolError, match="number must be"):
        Board(session, number, b"")


@pytest.mark.parametrize("content", [None, "model", bytearray(b"model")])
def test_the_content_of_a_round_is_bytes(content):
    agreed = agreement()
    session = agreed.server_side().session(agreed.spec(1, b""), sorted(agreed.clients))
    with pytest.raises(LocalProtocolError, match="content of a round must be bytes"):
        Board(session, 1, content)


@pytest.mark.parametrize("members", [True, False])
def test_clients_get_the_content_once_and_members_its_digest_at_every_stage(members, tmp_path):
    agreed = agreement(members=members)
    one, people = board(agreed), parties(agreed, tmp_path)
    going, number = True, 0
    while going:
        for party in one.asked:
            given = content_digest(MODEL) if party < 0 else b"" if number else MODEL
            assert Letter.from_bytes(one.question(party)).content == given
        stage(one, people)
        going, number = one.advance(), number + 1


def test_damaged_shares_leave_the_honest_answer_acceptable(tmp_path):
    agreed = agreement()
    one, people = board(agreed), parties(agreed, tmp_path)
    good = people[2].answer(one.question(2))
    *chunks, shares = Letter.from_bytes(good).messages  # a short vector has shares alone
    damaged = shares[:-1] + bytes([shares[-1] ^ 1])
    for _ in range(2):
        answer = Letter(1, 0, (*chunks, damaged)).to_bytes()
        assert one.answer(2, answer) is Verdict.REFUSED
        assert "shares" in one.refused[2] or "sign" in one.refused[2]
    assert one.answer(2, good) is Verdict.ACCEPTED
    assert one.answer(2, good) is Verdict.ACCEPTED
    stage(one, people)
    while one.advance():
        stage(one, people)
    assert np.array_equal(one.result().total, expected(range(6)))


def test_a_poll_never_sees_half_of_two_stages(tmp_path):
    """A thread polls while stages change: each letter's messages are those of its ticket."""
    agreed = agreement(members=False)
    one, people = board(agreed), parties(agreed, tmp_path)
    seen, stop = {}, threading.Event()

    def poll():
        while not stop.is_set():
            if data := one.question(0):
                letter = Letter.from_bytes(data)
                seen.setdefault(letter.ticket, set()).add(letter.messages)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        going = True
        while going:
            stage(one, people)
            going = one.advance()
    finally:
        stop.set()
        thread.join()
    assert all(len(messages) == 1 for messages in seen.values())
