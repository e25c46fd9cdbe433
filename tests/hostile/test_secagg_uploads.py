"""Uploads in parts, late ones and endless ones: staged, bounded, committed whole."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Phase, RemoteProtocolError, masked_vector, ring
from secagg.staging import Staging
from secagg.wire import encode_chunk
from tests.secagg.lab import Lab


def test_uploads_come_in_parts_and_are_committed_whole(monkeypatch):
    monkeypatch.setattr("secagg.client.CHUNK_SIZE", 13)
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
    bound = lab.server._largest()
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
    monkeypatch.setattr("secagg.client.CHUNK_SIZE", 13)
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.MASKED_INPUT)
    parts = list(lab.clients[60].chunks(lab.reply(60)))
    for part in parts[:-1]:
        lab.server.receive_chunk(60, part)
    assert not lab.server._total.any()
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
    assert np.array_equal(ring.centre(lab.server._total, bits), ring.centre(sum(vectors), bits))


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
