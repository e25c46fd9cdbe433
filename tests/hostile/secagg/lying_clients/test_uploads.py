"""Uploads in parts, late ones and endless ones: staged, bounded, committed whole."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Phase, RemoteProtocolError, Server, masked_vector
from secagg.crypto import ring
from secagg.roles.server.staging import Staging
from secagg.session.state import SERVER_AWAITS
from secagg.wire.bounds import largest_message
from secagg.wire.codec import encode_chunk
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab
from tests.secagg.support.snapshots import state_of


def test_uploads_come_in_parts_and_are_committed_whole(monkeypatch):
    monkeypatch.setattr("secagg.wire.codec.CHUNK_SIZE", 13)
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    parts = list(lab.clients[10].chunks(reply := lab.reply(10)))
    assert len(parts) == -(-len(reply) // 13) > 2
    lab.server.receive_chunk(10, parts[0])
    for wrong in (parts[0], parts[2]):
        with pytest.raises(RemoteProtocolError, match="out of turn"):
            lab.server.receive_chunk(10, wrong)
    for part in parts[1:]:
        assert 10 not in lab.server._answers
        lab.server.receive_chunk(10, part)
    for i in lab.ids[1:]:
        lab.answer(i)
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


def test_parts_without_end_are_bounded():
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    bound = largest_message(SERVER_AWAITS[lab.server.phase], lab.params)
    with pytest.raises(RemoteProtocolError, match="beyond any message"):
        lab.server.receive_chunk(10, encode_chunk(lab.session, 0, 2**32 - 1, bytes(bound + 1)))
    assert not lab.server._staging
    for i in range(bound // 10):
        lab.server.receive_chunk(10, encode_chunk(lab.session, i, 2**32 - 1, bytes(10)))
    with pytest.raises(RemoteProtocolError, match="beyond any message"):
        lab.server.receive_chunk(10, encode_chunk(lab.session, bound // 10, 2**32 - 1, bytes(10)))
    assert lab.server._staging.size <= bound


def test_parts_of_a_late_input_are_refused_unread():
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.MASKED_INPUT)
    late = list(lab.clients[60].chunks(lab.reply(60)))
    lab.run_to(Phase.CONSISTENCY, silent={60: Phase.MASKED_INPUT})
    with pytest.raises(RemoteProtocolError, match="no longer"):
        lab.server.receive_chunk(60, late[0])
    assert not lab.server._staging


def test_a_partial_upload_never_touches_the_sum(monkeypatch):
    monkeypatch.setattr("secagg.wire.codec.CHUNK_SIZE", 13)
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.MASKED_INPUT)
    parts = list(lab.clients[60].chunks(lab.reply(60)))
    for part in parts[:-1]:
        lab.server.receive_chunk(60, part)
    assert not lab.server._tally.total.any()
    lab.run_to(Phase.DONE, silent={60: Phase.MASKED_INPUT})
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids[:-1]))


def test_the_server_keeps_no_input():
    """What it holds of a vector, when all have come, is their sum."""
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    for i in lab.ids:
        lab.answer(i)
    assert all(not answer.packed for answer in lab.server._answers.values())
    vectors = [masked_vector(lab.sent[Phase.MASKED_INPUT, i]) for i in lab.ids]
    bits = lab.params.ring_bits
    assert np.array_equal(
        ring.centre(lab.server._tally.total, bits), ring.centre(sum(vectors), bits)
    )


def test_parts_of_another_count_change_nothing():
    staging = Staging()
    assert staging.add(1, 0, 3, b"a", limit=9) is None
    with pytest.raises(RemoteProtocolError, match="out of turn") as caught:
        staging.add(1, 1, 2, b"b", limit=9)
    assert caught.value.culprit == 1
    assert staging.add(1, 1, 3, b"b", limit=9) is None
    assert staging.add(2, 0, 1, b"x", limit=9) == b"x"
    assert bytes(staging.add(1, 2, 3, b"c", limit=9)) == b"abc"
    assert len(staging) == staging.size == 0


def test_s8_a_chunk_of_another_session_changes_nothing():
    one, other = (Lab(5).run_to(Phase.MASKED_INPUT) for _ in range(2))
    foreign = encode_chunk(other.session, 0, 2, b"part")
    with pytest.raises(RemoteProtocolError, match="another session") as caught:
        one.server.receive_chunk(10, foreign)
    assert caught.value.culprit == 10
    assert not one.server._staging


def test_s8_mutant_that_stages_it(monkeypatch):
    without(monkeypatch, Staging, "take", "sent != session")
    with pytest.raises(FOUND):
        test_s8_a_chunk_of_another_session_changes_nothing()


@pytest.mark.parametrize("again", ["chunk", "whole"])
def test_s11_nothing_follows_a_committed_upload(again):
    """A second copy of an input, in parts or whole, would count twice."""
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    reply = lab.reply(10)
    for part in lab.clients[10].chunks(reply):
        lab.server.receive_chunk(10, part)
    before = state_of(lab.server)
    send, message = {
        "chunk": (lab.server.receive_chunk, encode_chunk(lab.session, 0, 1, reply)),
        "whole": (lab.server.receive, reply),
    }[again]
    with pytest.raises(RemoteProtocolError, match="second message") as caught:
        send(10, message)
    assert caught.value.culprit == 10
    assert state_of(lab.server) == before


def test_s11_mutant_that_counts_an_input_twice(monkeypatch):
    without(monkeypatch, Server, "_check_sender", "if client_id in self._answers", "if False")
    for again in ("chunk", "whole"):
        with pytest.raises(FOUND):
            test_s11_nothing_follows_a_committed_upload(again)


def test_s11_a_whole_message_overtakes_its_parts():
    """What was staged is forgotten with it, so that the parts left over commit nothing."""
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    reply = lab.reply(10)
    lab.server.receive_chunk(10, encode_chunk(lab.session, 0, 2, reply[:9]))
    lab.server.receive(10, reply)
    assert not lab.server._staging
    with pytest.raises(RemoteProtocolError, match="second message"):
        lab.server.receive_chunk(10, encode_chunk(lab.session, 1, 2, reply[9:]))


def test_s11_a_whole_that_is_refused_leaves_nothing_staged():
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    reply = lab.reply(10)
    before = state_of(lab.server)
    lab.server.receive_chunk(10, encode_chunk(lab.session, 0, 2, reply[:60]))
    with pytest.raises(RemoteProtocolError, match="malformed"):
        lab.server.receive_chunk(10, encode_chunk(lab.session, 1, 2, b"?"))
    assert state_of(lab.server) == before
    lab.server.receive(10, reply)
