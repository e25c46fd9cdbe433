"""A party: the same answer every time, none after an error, and what a restart keeps."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from fedavg import FileJournal
from fedavg.adapters.polling import Letter, Party, Verdict
from fedavg.errors import LocalProtocolError, WireFormatError
from fedavg.protocol.driver import PROTOCOL_ERRORS
from fedavg.sums.interface import FIRST_OPENER
from fedavg.sums.sides.others import MemoryJournal
from secagg import RemoteProtocolError
from tests.fedavg.adapters.polling.agreed import (
    agreement,
    board,
    client_rounds,
    expected,
    member_rounds,
    parties,
    stage,
)


def test_a_question_gets_the_same_bytes_every_time_and_after_a_restart(tmp_path):
    agreed = agreement()
    question = board(agreed).question(3)
    journal = FileJournal(tmp_path / "journal")
    party = Party(client_rounds(agreed, 3, journal), tmp_path / "outbox")
    first = party.answer(question)
    assert party.answer(question) == first
    assert party.seen == "1.0"
    restarted = Party(client_rounds(agreed, 3, journal), tmp_path / "outbox")
    assert restarted.seen == ""  # so that the next poll brings the question again
    assert restarted.answer(question) == first


@pytest.mark.parametrize("members", [True, False])
def test_an_outbox_of_another_agreement_is_not_sent(tmp_path, members):
    """The operator enrols again in place, with other bounds: round 1 of the new file is another round."""
    old = agreement(members=members)
    new = msgspec.structs.replace(old, max_abs=2**14)
    journal = FileJournal(tmp_path / "journal")
    before = Party(client_rounds(old, 3, journal), tmp_path / "outbox")
    sent = before.answer(board(old).question(3))
    one = board(new)
    after = Party(client_rounds(new, 3, journal), tmp_path / "outbox")
    answer = after.answer(one.question(3))
    assert answer != sent
    assert one.answer(3, answer) is Verdict.ACCEPTED


def test_a_client_without_its_outbox_takes_no_part_a_second_time(tmp_path):
    agreed = agreement()
    journal, question = FileJournal(tmp_path / "journal"), board(agreed).question(3)
    Party(client_rounds(agreed, 3, journal), tmp_path / "outbox").answer(question)
    (tmp_path / "outbox").unlink()
    again = Party(client_rounds(agreed, 3, FileJournal(tmp_path / "journal")), tmp_path / "outbox")
    with pytest.raises(LocalProtocolError, match="client 3 has taken part in round 1 before"):
        again.answer(question)
    assert again.answer(question) is None
    assert again.answer(board(agreed, 2).question(3))


@pytest.mark.parametrize(
    ("at", "kept", "refusal"),
    [
        (1, True, ""),
        (1, False, ""),  # a report is signed a second time, and is the same
        (2, True, "1.3: the shares are not here"),  # lost after it had said that it holds them
        (2, False, "1.2: proposes a set in a context in which this member has signed one"),
        (3, True, ""),
        (3, False, "1.3: the shares are not here"),
    ],
)
def test_a_member_restarts_at_any_stage(tmp_path, at, kept, refusal):
    """With its outbox it sends the same bytes; where it has signed or answered, it gives no other answer."""
    agreed, journals = agreement(), {}
    one, people = board(agreed), parties(agreed, tmp_path, journals)
    going, who, refused = True, FIRST_OPENER - 4, []
    while going:
        if one.ticket == f"1.{at}":
            lost = people[who].answer(one.question(who))
            if not kept:
                (tmp_path / f"outbox{who}").unlink()
            people[who] = Party(member_rounds(agreed, 4, journals[who]), tmp_path / f"outbox{who}")
            if kept:
                assert people[who].answer(one.question(who)) == lost
        for address in one.asked:
            try:
                data = people[address].answer(one.question(address))
            except PROTOCOL_ERRORS as error:
                refused.append(f"{one.ticket}: {error}")
            else:
                assert one.answer(address, data) is Verdict.ACCEPTED
        going = one.advance()
    assert np.array_equal(one.result().total, expected(range(6)))
    assert len(refused) == bool(refusal)
    assert "".join(refused).startswith(refusal)


def test_after_an_error_a_client_is_out_of_the_round_and_in_the_next(tmp_path):
    agreed = agreement(members=False)
    one, people = board(agreed), parties(agreed, tmp_path)
    stage(one, people)
    one.advance()
    wrong = Letter(1, 1, (b"no message of the protocol",)).to_bytes()
    with pytest.raises(RemoteProtocolError):
        people[0].answer(wrong)
    assert people[0].answer(one.question(0)) is None  # the question of this ticket was asked
    with pytest.raises(LocalProtocolError, match="has left the round"):
        people[0].answer(Letter(1, 2, (b"the next",)).to_bytes())
    two = board(agreed, 2)
    going = True
    while going:
        stage(two, people)
        going = two.advance()
    assert np.array_equal(two.result().total, expected(range(6), 2))


def test_an_update_that_fails_leaves_the_round_to_a_later_process(tmp_path):
    agreed, journal = agreement(), MemoryJournal()
    rounds = client_rounds(agreed, 1, journal)
    failing = dataclasses.replace(rounds, update=lambda number, content: 1 // 0)
    question = board(agreed).question(1)
    party = Party(failing, tmp_path / "outbox")
    with pytest.raises(ZeroDivisionError):
        party.answer(question)
    assert party.answer(question) is None
    assert Party(rounds, tmp_path / "outbox").answer(question)  # nothing had left


def test_a_disk_that_is_full_sends_nothing(tmp_path, monkeypatch):
    agreed = agreement()
    party = Party(client_rounds(agreed, 2), tmp_path / "gone" / "outbox")
    question = board(agreed).question(2)
    with pytest.raises(OSError, match="No such file"):
        party.answer(question)
    assert party.answer(question) is None


def test_bytes_that_are_no_question_change_nothing(tmp_path):
    agreed = agreement()
    party = Party(client_rounds(agreed, 2), tmp_path / "outbox")
    with pytest.raises(WireFormatError):
        party.answer(b"noise")
    assert party.seen == ""
    assert party.answer(board(agreed).question(2))


def test_an_outbox_of_other_bytes_is_named(tmp_path):
    (tmp_path / "outbox").write_bytes(b"noise")
    with pytest.raises(WireFormatError, match="outbox holds no answer; delete it"):
        Party(client_rounds(agreement(), 2), tmp_path / "outbox")


def test_nothing_prints_a_key(tmp_path):
    agreed = agreement()
    client, member = client_rounds(agreed, 2), member_rounds(agreed, 2)
    assert "identity" not in repr(client)
    assert "side=" not in repr(member)
    assert repr(Party(client, tmp_path / "outbox")) == "Party(seen='')"
