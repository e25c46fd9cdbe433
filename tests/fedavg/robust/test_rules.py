"""Robust rules: known answers, the theorem on bad groups, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedavg.errors import PlanError
from fedavg.parts.tables import part_of_table
from fedavg.robust.rules import MedianOfGroups, TrimmedMeanOfGroups

RULES = (
    MedianOfGroups(3),
    MedianOfGroups(6),
    TrimmedMeanOfGroups(3),
    TrimmedMeanOfGroups(7, trim=2),
)


def test_known_answers():
    means = np.array([[0.0, 4.0], [1.0, 3.0], [5.0, -7.0], [9.0, 1.0]])
    np.testing.assert_array_equal(MedianOfGroups(4).combined(means), [3.0, 2.0])
    np.testing.assert_array_equal(TrimmedMeanOfGroups(4).combined(means), [3.0, 2.0])
    np.testing.assert_array_equal(MedianOfGroups(3).combined(means[:3]), [1.0, 3.0])


@given(st.sampled_from(RULES), st.data())
def test_bad_groups_move_no_coordinate_beyond_the_good_ones(rule, data):
    """The theorem of the module, for every number of groups that a rule combines."""
    present = data.draw(st.integers(rule.fewest, rule.groups))
    bad = data.draw(st.integers(0, rule.withstood(present)))
    numbers = st.floats(-1e12, 1e12)
    means = data.draw(arrays(float, (present, 4), elements=numbers))
    found = rule.combined(means)
    good = means[bad:]
    slack = 1e-15 * np.abs(good).sum(0)  # the mean of several numbers is rounded
    assert (found >= good.min(0) - slack).all()
    assert (found <= good.max(0) + slack).all()


@pytest.mark.parametrize("rule", RULES)
def test_one_bad_group_more_is_not_withstood(rule):
    present = rule.groups
    means = np.zeros((present, 1))
    means[: rule.withstood(present) + 1] = 1e9
    assert rule.combined(means)[0] > 1e6


def test_a_median_withstands_fewer_than_half():
    assert [MedianOfGroups(9).withstood(count) for count in (3, 4, 5, 8, 9)] == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("rule", [MedianOfGroups, TrimmedMeanOfGroups])
def test_two_groups_are_refused(rule):
    with pytest.raises(PlanError, match="of two groups nobody can tell which one is bad"):
        rule(2)
    with pytest.raises(PlanError):
        rule(True)


def test_trimming_leaves_a_group():
    with pytest.raises(PlanError, match="take at least 7"):
        TrimmedMeanOfGroups(6, trim=3)
    with pytest.raises(PlanError, match="robust.trim"):
        TrimmedMeanOfGroups(3, trim=0)


def test_rules_are_parts_of_a_configuration():
    found = part_of_table("robust", {"kind": "trimmed-mean", "groups": 5, "trim": 2}, "robust")
    assert found == TrimmedMeanOfGroups(5, trim=2)
