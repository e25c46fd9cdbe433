"""Masked inputs that reach the server as one sum, because they were added under a second encryption."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import (
    Aborted,
    LocalProtocolError,
    Params,
    Phase,
    RemoteProtocolError,
    input_signature,
    masked_vector,
)
from tests.secagg.support.lab import Lab


def added(lab, clients):
    """What these clients would send, added by somebody else modulo 2^b."""
    bits = lab.params.ring_bits
    vectors = [masked_vector(lab.reply(i)).astype(np.int64) for i in clients]
    return sum(vectors) & ((1 << bits) - 1)


def unsigned(clients):
    return dict.fromkeys(clients, b"")


def finish(lab):
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    return lab.server.result()


@pytest.mark.parametrize("rates", [{}, {"threat_model": "semi-honest"}])
def test_one_sum_does_what_its_inputs_would(rates):
    lab = Lab(6, **rates).run_to(Phase.MASKED_INPUT)
    lab.server.receive_sum(unsigned(lab.ids), added(lab, lab.ids))
    result = finish(lab)
    assert np.array_equal(result.total, sum(lab.inputs.values()))
    assert result.survivors == tuple(lab.ids)


def test_a_sum_and_single_inputs_add_up():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    lab.answer(lab.ids[0])
    lab.server.receive_sum(unsigned(lab.ids[2:]), added(lab, lab.ids[2:]))
    result = finish(lab)
    assert result.survivors == (lab.ids[0], *lab.ids[2:])
    assert np.array_equal(result.total, sum(lab.inputs[i] for i in result.survivors))


def test_whoever_is_not_in_the_sum_counts_as_silent():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    lab.server.receive_sum(unsigned(lab.ids[:2]), added(lab, lab.ids[:2]))
    with pytest.raises(Aborted, match="2 of the"):
        lab.server.advance()


def test_nobody_is_in_a_sum_twice():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    total = added(lab, lab.ids)
    lab.server.receive_sum(unsigned(lab.ids), total)
    before = lab.server._tally.total.copy()
    with pytest.raises(RemoteProtocolError, match="second message"):
        lab.server.receive_sum(unsigned(lab.ids[:1]), total)
    assert np.array_equal(lab.server._tally.total, before)


def test_only_partners_are_in_a_sum():
    lab = Lab(6).run_to(Phase.MASKED_INPUT, silent={60: Phase.SHARE_KEYS})
    total = added(lab, lab.ids[:5])
    before = lab.server._tally.total.copy()
    with pytest.raises(RemoteProtocolError, match="no longer, part"):
        lab.server.receive_sum(unsigned(lab.ids), total)
    assert np.array_equal(lab.server._tally.total, before)
    lab.server.receive_sum(unsigned(lab.ids[:5]), total)
    assert np.array_equal(finish(lab).total, sum(lab.inputs[i] for i in lab.ids[:5]))


@pytest.mark.parametrize(
    "total", [np.zeros(3, np.int64), np.zeros((4, 1), np.int64), np.zeros(4, np.uint64)]
)
def test_a_sum_of_another_shape_is_refused(total):
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    with pytest.raises(LocalProtocolError, match="int64\\[4\\]"):
        lab.server.receive_sum(unsigned(lab.ids), total)
    lab.server.receive_sum(unsigned(lab.ids), added(lab, lab.ids))


@pytest.mark.parametrize(
    "phase", [Phase.SHARE_KEYS, Phase.CHECK_SHARES, Phase.CONSISTENCY, Phase.UNMASK]
)
def test_a_sum_at_another_time_is_refused(phase):
    lab = Lab(6).run_to(phase)
    with pytest.raises(LocalProtocolError, match=f"not due in phase {phase.name}"):
        lab.server.receive_sum(unsigned(lab.ids), np.zeros(4, np.int64))


def local_lab():
    params = Params.for_cohort(
        24, 4, max_abs=1000, dropout_rate=0.1, corrupt_rate=0.05, threat_model="malicious-local"
    )
    return Lab(24, params=params).run_to(Phase.MASKED_INPUT)


def apart(lab):
    """Everyone's signature, and the sum of everyone's words."""
    messages = {i: lab.reply(i) for i in lab.ids}
    total = sum(masked_vector(message).astype(np.int64) for message in messages.values())
    signed = {i: input_signature(message) for i, message in messages.items()}
    return signed, total & ((1 << lab.params.ring_bits) - 1)


def test_where_inputs_are_signed_the_signatures_come_along():
    lab = local_lab()
    signed, total = apart(lab)
    assert {len(signature) for signature in signed.values()} == {64}
    for client, signature in signed.items():
        lab.server.check_apart(client, signature)
    lab.server.receive_sum(signed, total)
    result = finish(lab)
    assert np.array_equal(result.total, sum(lab.inputs.values()))
    assert result.survivors == tuple(lab.ids)


@pytest.mark.parametrize("wrong", ["none", "another's", "damaged"])
def test_a_sum_with_an_input_that_is_not_signed_is_refused(wrong):
    lab = local_lab()
    signed, total = apart(lab)
    culprit, other = lab.ids[3], lab.ids[4]
    signed[culprit] = {
        "none": b"",
        "another's": signed[other],
        "damaged": bytes([signed[culprit][0] ^ 1]) + signed[culprit][1:],
    }[wrong]
    before = lab.server._tally.total.copy()
    for refused in (
        lambda: lab.server.check_apart(culprit, signed[culprit]),
        lambda: lab.server.receive_sum(signed, total),
    ):
        with pytest.raises(RemoteProtocolError, match="masked with other partners") as caught:
            refused()
        assert caught.value.culprit == culprit
    assert np.array_equal(lab.server._tally.total, before)
    assert not lab.server._answers


def test_mutant_that_checks_no_signature_ends_at_the_neighbours(monkeypatch):
    """What the check is for: one unsigned input, and every neighbour of its client would leave."""
    monkeypatch.setattr("secagg.roles.server.admission.check_input_apart", lambda *_: None)
    lab = local_lab()
    signed, total = apart(lab)
    lab.server.receive_sum(signed | {lab.ids[3]: bytes(64)}, total)
    lab.next_messages = lab.server.advance()
    with pytest.raises(RemoteProtocolError, match="shows no input of client 40"):
        lab.run_to(Phase.DONE)


def test_a_signature_where_none_is_due_is_refused():
    lab = Lab(6).run_to(Phase.MASKED_INPUT)
    with pytest.raises(RemoteProtocolError, match="nobody is shown"):
        lab.server.check_apart(lab.ids[0], bytes(64))
