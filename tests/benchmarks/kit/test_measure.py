"""Measures and their bars, curves and their exponents."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import Bar, Curve, Measure
from benchmarks.kit.measure import exponent


@pytest.mark.parametrize(
    ("bar", "met"),
    [
        (Bar(4), True),
        (Bar(4.1), False),
        (Bar(0.5, of="ours", at_most=True), True),
        (Bar(0.4, of="ours", at_most=True), False),
        (None, None),
    ],
)
def test_bars_are_judged_on_what_they_are_about(bar: Bar | None, met: bool | None) -> None:  # noqa: FBT001 - a case
    assert Measure("k", "n", "s", ours=0.5, peer=2.0, bar=bar).met is met


def test_a_measure_without_its_peer_is_neither_met_nor_missed() -> None:
    assert Measure("k", "n", "s", ours=0.5, bar=Bar(1)).met is None


def test_figures_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not all finite"):
        Measure("k", "n", "s", ours=float("nan"))


@given(st.floats(-3, 3), st.floats(0.1, 100))
@settings(deadline=None, max_examples=50)
def test_the_exponent_of_a_power_law_is_found(power: float, factor: float) -> None:
    points = [(x, factor * x**power) for x in (1.0, 3.0, 10.0, 50.0)]
    assert exponent(points) == pytest.approx(power, abs=1e-9)


def test_small_sizes_can_be_left_out_of_a_fit() -> None:
    lines = {"ours": [(1.0, 50.0), (10.0, 10.0), (100.0, 100.0)]}
    assert Curve("k", "t", "n", "s", lines, fit_from=10).exponents["ours"] == pytest.approx(1)
