"""A role's own copy of the agreement decides on roster and context, and no message of the server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedavg.errors import LocalProtocolError
from fedavg.protocol.agreement import agreed_spec, answered
from fedavg.protocol.messages import OpenRequest, SumMessage, decode, round_context
from tests.fedavg.records.small import resolved

DIGEST = b"d" * 32


def test_the_context_holds_round_roster_and_first_message():
    found = resolved(4)
    spec = agreed_spec(found, 2, 3, DIGEST)
    assert spec == replace(found.spec(3, round_context(found.digest, 2, 3, DIGEST)), round=2)
    others = [
        agreed_spec(found, 1, 3, DIGEST),
        agreed_spec(found, 2, 4, DIGEST),
        agreed_spec(found, 2, 3, b"e" * 32),
        agreed_spec(resolved(4, clip=2.0), 2, 3, DIGEST),
    ]
    assert len({one.context for one in [spec, *others]}) == 5


@pytest.mark.parametrize("roster", [-1, 0, 2, 5])
def test_a_roster_outside_the_bounds_is_refused(roster):
    with pytest.raises(LocalProtocolError, match=f"a roster of {roster} is outside .* 3 … 4"):
        agreed_spec(resolved(4), 0, roster, DIGEST)


def test_an_answer_names_the_round_and_attempt_of_its_request():
    (one, two) = answered(OpenRequest(7, 4, DIGEST, (), 2), [b"a", b"b"])
    assert (decode(one), decode(two)) == (SumMessage(7, b"a", 2), SumMessage(7, b"b", 2))
