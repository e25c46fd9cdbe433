"""Readings of a composition: few of them, and never on the wrong side of the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp.composition.reading import last_above, least


@dataclass
class Curve:
    """Log δ falls as −slope·ε^power, with a number that is none beyond `lost`."""

    slope: float
    power: float
    centre: float = 1.0
    end: float = 1e18
    reach: float = 0.5
    lost: float = math.inf
    asked: list[float] = field(default_factory=list)

    def log_delta_high(self, epsilon):
        self.asked.append(epsilon)
        return math.nan if epsilon > self.lost else -self.slope * epsilon**self.power

    log_delta_low = log_delta_high


@given(
    slope=st.floats(1e-3, 1e3),
    power=st.floats(0.7, 3.0),
    target=st.floats(-200.0, -1e-3),
    centre=st.floats(0.0, 100.0),
)
@settings(max_examples=200)
def test_both_sides_meet_at_the_answer_from_few_readings(slope, power, target, centre):
    curve = Curve(slope, power, centre)
    true = (-target / slope) ** (1 / power)
    high = least(curve, target, 0.0)
    assert curve.log_delta_high(high) <= target
    assert high == pytest.approx(true, rel=1e-10)
    low = last_above(curve, target, high * 1.01)
    assert curve.log_delta_low(low) > target
    assert low == pytest.approx(true, rel=1e-10)


def test_a_bisection_would_ask_several_times_as_often():
    curve = Curve(2.0, 1.3, centre=7.0)
    least(curve, -23.0, 0.0)
    assert len(curve.asked) <= 15  # log2(7/1e-10) is 36


def test_the_floor_is_enough_where_nothing_larger_is_needed():
    assert least(Curve(1.0, 1.0), -2.0, 5.0) == 5.0


def test_what_is_no_number_is_no_bound_on_either_side():
    """NaN is neither small enough for an upper bound nor large enough for a lower one."""
    assert least(Curve(1.0, 1.0, centre=8.0, end=20.0, lost=3.0), -5.0, 0.0) == math.inf
    found = last_above(Curve(1.0, 1.0, lost=3.0), -5.0, 8.0)
    assert found <= 3.0
    assert -found > -5.0
