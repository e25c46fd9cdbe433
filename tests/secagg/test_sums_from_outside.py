"""Masked inputs that reach the server as one sum, because they were added under a second encryption."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Aborted, LocalProtocolError, Params, Phase, RemoteProtocolError, masked_vector
from tests.secagg.lab import Lab


def added(lab, clients):
    """What these clients would send, added by somebody else modulo 2^b."""
    bits = lab.params.ring_bits
    vectors = [masked_vector(lab.reply(i)).astype(np.int64) for i in clients]
    return sum(vectors) & ((1 << bits) - 1)


def finish(lab):
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    return lab.server.result()


@pytest.mark.parametrize("rates", [{}, {"threat_model": "semi-honest"}])
def test_one_sum_does_what_its_inputs_would(rates):
    lab = Lab(6, **rates).run_to(Phase.MASKED_INPUT)
    lab.server.receive_sum(lab.ids, added(lab, lab.ids))
    result = finish(lab)
    assert np.array_equal(result.total, sum(lab.inputs.values()))
    assert result.survivors == tuple(lab.ids)


def test_a_sum_and_single_inputs_add_up():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    lab.answer(lab.ids[0])
    lab.server.receive_sum(lab.ids[2:], added(lab, lab.ids[2:]))
    result = finish(lab)
    assert result.survivors == (lab.ids[0], *lab.ids[2:])
    assert np.array_equal(result.total, sum(lab.inputs[i] for i in result.survivors))


def test_whoever_is_not_in_the_sum_counts_as_silent():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    lab.server.receive_sum(lab.ids[:2], added(lab, lab.ids[:2]))
    with pytest.raises(Aborted, match="2 of the"):
        lab.server.advance()


def test_nobody_is_in_a_sum_twice():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    total = added(lab, lab.ids)
    lab.server.receive_sum(lab.ids, total)
    before = lab.server._total.copy()
    with pytest.raises(RemoteProtocolError, match="second message"):
        lab.server.receive_sum(lab.ids[:1], total)
    assert np.array_equal(lab.server._total, before)


def test_only_partners_are_in_a_sum():
    lab = Lab(6).run_to(Phase.MASKED_INPUT, silent={60: Phase.SHARE_KEYS})
    total = added(lab, lab.ids[:5])
    before = lab.server._total.copy()
    with pytest.raises(RemoteProtocolError, match="no longer, part"):
        lab.server.receive_sum(lab.ids, total)
    assert np.array_equal(lab.server._total, before)
    lab.server.receive_sum(lab.ids[:5], total)
    assert np.array_equal(finish(lab).total, sum(lab.inputs[i] for i in lab.ids[:5]))


@pytest.mark.parametrize(
    "total", [np.zeros(3, np.int64), np.zeros((4, 1), np.int64), np.zeros(4, np.uint64)]
)
def test_a_sum_of_another_shape_is_refused(total):
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    with pytest.raises(LocalProtocolError, match="int64\\[4\\]"):
        lab.server.receive_sum(lab.ids, total)
    lab.server.receive_sum(lab.ids, added(lab, lab.ids))


@pytest.mark.parametrize(
    "phase", [Phase.SHARE_KEYS, Phase.CHECK_SHARES, Phase.CONSISTENCY, Phase.UNMASK]
)
def test_a_sum_at_another_time_is_refused(phase):
    lab = Lab(6).run_to(phase)
    with pytest.raises(LocalProtocolError, match=f"not due in phase {phase.name}"):
        lab.server.receive_sum(lab.ids, np.zeros(4, np.int64))


def test_inputs_that_must_be_signed_are_taken_one_by_one():
    params = Params.for_cohort(
        24, 4, max_abs=1000, dropout_rate=0.1, corrupt_rate=0.05, threat_model="malicious-local"
    )
    lab = Lab(24, params=params).run_to(Phase.MASKED_INPUT)
    with pytest.raises(LocalProtocolError, match="signed, by itself"):
        lab.server.receive_sum(lab.ids, np.zeros(4, np.int64))
