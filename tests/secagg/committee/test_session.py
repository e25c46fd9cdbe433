"""Whole sessions: exact sums, every pattern of silence, a new process for each message."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from secagg import Aborted, AbortReason, CapacityError, LocalProtocolError
from secagg.committee import CommitteePhase as Phase
from secagg.committee import simulate_committee
from tests.secagg.committee.support.lab import DIGEST, Lab, small

ASKED = (Phase.REPORT, Phase.SIGN, Phase.ANSWER)


@pytest.mark.parametrize(
    ("params", "n"),
    [
        (small(2, 0, 0, 1, 3), 3),
        (small(4, 1, 0, 3, 4), 4),
        (small(7, 1, 1, 100, 30), 30),
        (small(20, 2, 4, 64, 12, max_abs=21), 12),
        (small(9, 1, 1, 7, 5, max_abs=2**45), 5),
        (small(9, 2, 0, 7, 5, threshold=2, corrected=2), 5),
        (small(200, 20, 10, 3, 3), 3),
    ],
)
def test_the_sum_is_exact(params, n):
    rng = np.random.default_rng(7)
    bound = params.max_abs
    inputs = {i: rng.integers(-bound, bound + 1, params.vector_length) for i in range(n)}
    inputs[0] = np.full(params.vector_length, bound)
    inputs[1] = np.full(params.vector_length, -bound)
    result = simulate_committee(inputs, params)
    assert np.array_equal(result.total, sum(inputs.values()))
    assert result.survivors == tuple(range(n))
    assert (result.convictions, result.total.dtype) == ((), np.int64)


@pytest.mark.parametrize("m", [4, 5, 6])
def test_every_pattern_of_silent_members(m):
    """For each of 4^m assignments of "silent from phase x on": a sum exactly where enough are left."""
    params = small(m, 1, 0, 2, 3) if m == 4 else small(m, 1, m - 5, 2, 3, threshold=m - 3)
    lab = Lab(params)
    lab.contribute()
    start = lab.server.advance()
    contributions = dict(lab.server._accepted)
    for quiet in itertools.product(range(4), repeat=m):
        if m == 6 and sorted(quiet) != list(
            quiet
        ):  # which members does not matter; all do in m ≤ 5
            continue
        server = lab.collector()
        server._accepted = dict(contributions)
        server.advance()
        lab.server = server
        lab.journals = {j: type(lab.journals[j])() for j in lab.members}
        lab.members = {j: lab.member(j) for j in lab.members}
        silent = {phase: {j for j in range(m) if quiet[j] <= at} for at, phase in enumerate(ASKED)}
        left = [m - len(silent[phase]) for phase in ASKED]
        needed = params.rebuild + params.corrupt
        if left[0] < max(needed, params.quorum):
            expected = AbortReason.TOO_FEW_REPORTS
        elif left[1] < params.quorum:
            expected = AbortReason.TOO_FEW_SIGNATURES
        elif left[2] < needed:
            expected = AbortReason.TOO_FEW_ANSWERS
        else:
            expected = None
        if expected is None:
            result = lab.finish(start, silent=silent)
            assert np.array_equal(result.total, lab.total(lab.people))
        else:
            with pytest.raises(Aborted) as end:
                lab.finish(start, silent=silent)
            assert end.value.reason is expected
            assert server.phase is Phase.ABORTED
            with pytest.raises(LocalProtocolError):
                server.result()


@pytest.mark.parametrize("absent", [0, 1, 2, 3])
def test_the_promised_absence_is_borne(absent):
    params = small(9, 1, absent) if absent < 3 else small(9, 1, absent, threshold=4)
    for gone in itertools.combinations(range(9), absent):
        lab = Lab(params).contribute()
        result = lab.finish(silent=gone)
        assert np.array_equal(result.total, lab.total(lab.people))
        if absent > 1:
            break


@pytest.mark.parametrize("renewed", list(itertools.product([False, True], repeat=2)))
def test_a_new_process_for_each_message(renewed):
    """Only journals outlive a process; a member without its shares is sent the envelopes again."""
    lab = Lab().contribute()
    messages = lab.server.advance()
    for again in (*renewed, False):
        lab.ask(messages)
        messages = lab.server.advance()
        if again and lab.server.phase is not Phase.ANSWER:
            lab.members = {j: lab.member(j) for j in lab.members}
    assert lab.server.phase is Phase.DONE
    assert np.array_equal(lab.server.result().total, lab.total(lab.people))


def test_envelopes_are_sent_again_only_where_needed():
    lab = Lab()
    messages = lab.until(Phase.SIGN)
    lab.members[0] = lab.member(0)
    lab.ask(messages)
    requests = lab.server.advance()
    assert len(requests[0]) > 2 * len(requests[1])
    lab.finish(requests)


def test_a_member_that_lost_its_shares_after_signing_is_absent():
    lab = Lab()
    messages = lab.until(Phase.ANSWER)
    lab.members[3] = lab.member(3)
    with pytest.raises(LocalProtocolError, match="counts as absent"):
        lab.members[3].receive(messages[3])
    lab.ask(messages, silent={3})
    lab.server.advance()
    assert np.array_equal(lab.server.result().total, lab.total(lab.people))


@pytest.mark.parametrize("n", [3, 4, 5])
def test_clients_that_stay_silent_are_in_no_sum(n):
    for size in range(6):
        for there in itertools.combinations(range(5), size):
            lab = Lab(small(floor=n)).contribute(there)
            if size < n:
                with pytest.raises(Aborted) as end:
                    lab.server.advance()
                assert end.value.reason is AbortReason.TOO_FEW_CONTRIBUTIONS
                assert not lab.server.opened
            else:
                result = lab.finish()
                assert result.survivors == there
                assert np.array_equal(result.total, lab.total(there))
            if size == 3:
                break


def test_a_contributor_contributes_once_and_a_refused_vector_costs_nothing():
    lab = Lab()
    one = lab.contributor(0)
    for wrong in (
        np.zeros(4, np.int64),
        np.zeros(5),
        np.full(5, 10),
        np.full(5, -10),
        [0] * 5,
        None,
    ):
        with pytest.raises(CapacityError):
            one.contribute(wrong, message_digest=DIGEST)
    for wrong in (b"", bytes(31), bytes(33), "x", None):
        with pytest.raises(LocalProtocolError, match="message_digest"):
            one.contribute(lab.inputs[0], message_digest=wrong)
    lab.server.receive(0, one.contribute(np.full(5, 9), message_digest=bytearray(DIGEST)))
    assert lab.server.message_digest(0) == DIGEST
    with pytest.raises(LocalProtocolError, match="has contributed"):
        one.contribute(lab.inputs[0], message_digest=DIGEST)


def test_the_size_of_a_contribution_is_known_beforehand():
    for params in (small(), small(n=10_000, max_abs=2**40), small(20, 2, 4, 64, 12)):
        lab = Lab(params, n=3)
        assert len(lab.contribution(0)) == params.contribution_size


def test_survivors_are_known_before_the_answers_and_after_an_end():
    lab = Lab()
    assert lab.server.survivors == ()
    lab.until(Phase.SIGN)
    assert lab.server.survivors == (0, 1, 2, 3, 4)
    assert not lab.server.opened
    with pytest.raises(Aborted):
        lab.server.advance()
    assert lab.server.survivors == (0, 1, 2, 3, 4)
    assert not lab.server.opened


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"drop_clients": {9}}, "client 9"),
        ({"drop_clients": [1]}, "drop_clients"),
        ({"drop_members": {Phase.REPORT: {7}}}, "member 7"),
        ({"drop_members": {"report": {1}}}, "drop_members"),
        ({"transcript": ()}, "transcript"),
    ],
)
def test_the_simulation_refuses_what_has_no_effect(arguments, words):
    inputs = {i: np.zeros(5, np.int64) for i in range(5)}
    with pytest.raises(LocalProtocolError, match=words):
        simulate_committee(inputs, small(), **arguments)


def test_the_transcript_has_every_message_to_the_server():
    inputs = {i: np.zeros(5, np.int64) for i in range(4)}
    sent = []
    simulate_committee(
        inputs, small(), drop_clients={3}, drop_members={Phase.ANSWER: {6}}, transcript=sent
    )
    phases = [phase for phase, _, _ in sent]
    assert [phases.count(p.value) for p in (Phase.CONTRIBUTE, *ASKED)] == [3, 7, 7, 6]
