"""V4: lying clients, silent members and false answers together; exactly when a sum is certain.

The mutants of V11 in test_mutants.py take out the bounds on the members that are left out.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import secagg.committee.contributor as dealing
from secagg import Aborted
from secagg.committee.arithmetic.sharing import deal
from secagg.committee.wire.codec import packed_sums, sums_of
from secagg.committee.wire.messages import Answer
from tests.secagg.committee.support.lab import Lab, Phase, small

NUMBERS = [(9, 1, 2, 0, 4), (10, 1, 2, 1, 5), (12, 2, 3, 0, 5), (12, 1, 3, 0, 6)]


def outcome(params, lying, framed, silent, false, monkeypatch):
    """Clients that deal wrong shares to framed members; silent members; members that answer falsely."""
    lab = Lab(params, n=8)

    def wrong(numbers, vector):
        dealt = deal(numbers, vector)
        dealt[framed] = (dealt[framed] + 1) % np.array(numbers.moduli)[:, None]
        return dealt

    for i in lab.people:
        monkeypatch.setattr(dealing, "deal", wrong if i in lying else deal)
        lab.server.receive(i, lab.contribution(i))

    def alter(j, reply):
        if j not in false:
            return reply
        sums = (sums_of(params, lab.read(reply)) + 1 + j) % np.array(params.moduli)[:, None]
        packed = packed_sums(params, sums)
        said = Answer.signed(lab.session, lab.server._set, j, packed)
        return lab.write(Answer(j, lab.identities[j].sign(said), packed))

    result = lab.finish(
        silent={Phase.SIGN: silent, Phase.ANSWER: silent}, alter={Phase.ANSWER: alter}
    )
    assert np.array_equal(result.total, lab.total(result.survivors))
    return lab, result


@pytest.mark.parametrize("numbers", NUMBERS)
def test_v4_lying_clients_and_silent_members_within_the_numbers_leave_a_sum(numbers, monkeypatch):
    """Every s and e with s + e + c ≤ m − R − c and s + c ≤ m − q; c + 1 clients frame c members."""
    m, c, absent, corrected, t = numbers
    params = small(m, c, absent, corrected=corrected, threshold=t, n=8)
    room, tried = m - params.rebuild - c, 0
    for s, e in itertools.product(range(m), range(c + 1)):
        if s + e + c > room or s + c > m - params.quorum:
            continue
        framed = list(range(m - c, m))
        lying, silent = set(range(c + 1)), set(range(s))
        lab, result = outcome(params, lying, framed, silent, set(range(s, s + e)), monkeypatch)
        assert lab.server.dropped_members == tuple(framed)  # the limit: these were honest
        assert result.convictions == ()
        tried += 1
    assert tried


def test_v4_the_limit_lying_clients_and_a_silent_member_prevent_a_sum(monkeypatch):
    """absent = 1 and c = 1: two of eight clients lie, and one member is silent. docs/protocol.md says so."""
    params = small(10, 1, 1, n=8)
    outcome(params, {0}, [9], {0}, set(), monkeypatch)  # one client costs itself
    with pytest.raises(Aborted, match="8 of 9 needed") as end:
        outcome(params, {0, 1}, [9], {0}, set(), monkeypatch)
    assert end.value.convictions == ()
