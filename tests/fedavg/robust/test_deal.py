"""The public deal: sizes, completeness, one answer for all, and change from step to step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.errors import LocalProtocolError
from fedavg.robust.deal import dealt, group_of, group_sizes


@given(
    st.sets(st.integers(0, 10**6), min_size=3, max_size=40), st.integers(2, 9), st.integers(0, 999)
)
def test_each_member_is_in_one_group_and_sizes_differ_by_one_at_most(ids, groups, step):
    members = tuple(ids)
    found = dealt(members, groups, step)
    assert sorted(member for group in found for member in group) == sorted(members)
    assert tuple(len(group) for group in found) == group_sizes(len(members), groups)
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert found == dealt(tuple(sorted(members, reverse=True)), groups, step)
    for number, group in enumerate(found):
        assert all(group_of(member, members, groups, step) == number for member in group)


def test_companions_change_from_step_to_step():
    members = tuple(range(12))
    met = {
        other
        for step in range(30)
        for group in dealt(members, 4, step)
        if 0 in group
        for other in group
    }
    assert met == set(members)


def test_a_stranger_is_in_no_group():
    with pytest.raises(LocalProtocolError, match="member 9 is not enrolled"):
        group_of(9, (1, 2, 3), 3, 0)


def test_the_deal_is_the_same_in_every_version():
    """Known answer: the ids in the order of SHA-256("fedavg groups 3 5 ID"), computed by hashlib alone."""
    assert dealt((1, 2, 3, 4, 5, 6, 7), 3, 5) == ((2, 3, 7), (4, 6), (1, 5))
