"""What a party requires of a committee's parameters."""

from __future__ import annotations

import math

import pytest

from secagg import LocalProtocolError, UnsafeParametersError
from secagg.committee import CommitteeParams, CommitteePolicy
from tests.secagg.committee.support.lab import small


def test_every_committee_of_the_page_is_accepted():
    """The table of docs/protocol.md."""
    for m, c, absent, t in ((10, 1, 1, 5), (20, 2, 2, 10), (50, 5, 22, 16), (50, 5, 10, 25)):
        CommitteePolicy().check(small(m, c, absent, threshold=t))


@pytest.mark.parametrize(
    ("params", "policy", "words"),
    [
        (small(20, 1, 1), {}, "corrupt=1 .* at least 2 "),
        (small(7, 1, 1), {"min_corrupt_share": 0.3}, "corrupt=1 .* at least 2 "),
        (small(20, 2, 2, threshold=4), {}, "threshold=4 .* at least 5 "),
        (small(corrupt_clients=0), {}, "corrupt_clients=0 .* at least 1 "),
        (small(), {"corrupt_clients": 2}, "corrupt_clients=1 .* at least 2 "),
        (small(), {"min_clients": 4}, "min_clients=3 .* at least 4 "),
    ],
)
def test_parameters_below_a_floor_are_refused(params, policy, words):
    with pytest.raises(UnsafeParametersError, match=words):
        CommitteePolicy(**policy).check(params)


@pytest.mark.parametrize("members", range(1, 101))
def test_a_share_is_the_number_that_was_written(members):
    """29 of 100 are 0.29 of them, although the product of the two floats is below 29."""
    params = CommitteeParams(members, 0, 0, 0, 1, 1, 3, 1, 3) if members > 1 else None
    for hundredths in range(0, 100, 7):
        floor = hundredths * members // 100
        policy = CommitteePolicy(
            min_corrupt_share=hundredths / 100, min_threshold_share=0, corrupt_clients=0
        )
        if params is None or floor == 0:
            continue
        with pytest.raises(UnsafeParametersError, match=f"at least {floor} "):
            policy.check(params)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"min_corrupt_share": 1.0}, UnsafeParametersError),
        ({"min_threshold_share": -0.1}, UnsafeParametersError),
        ({"min_corrupt_share": math.nan}, UnsafeParametersError),
        ({"min_clients": 2}, UnsafeParametersError),
        ({"corrupt_clients": -1}, UnsafeParametersError),
        ({"min_corrupt_share": "a tenth"}, LocalProtocolError),
        ({"min_clients": True}, LocalProtocolError),
    ],
)
def test_a_requirement_that_is_none_is_refused(value, error):
    with pytest.raises(error):
        CommitteePolicy(**value)
