"""The sensitivity of the whole vector: exact in grid units, against random and worst-case neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.errors import PlanError
from fedavg.statistics import Question, SiloRows, Variable
from fedavg.statistics.noise.layout import asked, laid_out

VARIABLES = (
    Variable("age", bounds=(0.0, 120.0)),
    Variable("dose", bounds=(-7.3, 11.9)),
    Variable("sex", ("F", "M")),
    Variable("ward", ("A", "B", "C")),
)
ASKED = Question(bins=8, tables=(("sex", "ward"),), correlate=("age", "dose"))
RANGES = ((-50.0, 200.0), (-20.0, 20.0))  # wider than the bounds: values are clamped


def _layout(most, question=ASKED, multiplier=3.7):
    return laid_out(asked(question, VARIABLES).all, question, most, multiplier, 2.0**21)


def _rows(cells):
    table = np.array(cells, np.float64).reshape(-1, 4)
    values = {v.name: table[:, at] for at, v in enumerate(VARIABLES)}
    return SiloRows(values, np.arange(len(table)))


def _worst(most):
    """Equal rows at the bounds, with a cell in every column."""
    return _rows([[120.0, 11.9, 1.0, 2.0]] * most)


def _numbers(low, high):
    return st.floats(low, high, allow_nan=False) | st.just(np.nan)


ROW = st.tuples(
    *(_numbers(*ends) for ends in RANGES),
    st.sampled_from([0.0, 1.0, np.nan]),
    st.sampled_from([0.0, 1.0, 2.0, np.nan]),
)


@settings(max_examples=200, deadline=None)
@given(
    others=st.lists(ROW, max_size=8),
    mine=st.lists(ROW, min_size=1, max_size=4),
    most=st.just(4),
)
def test_no_unit_moves_the_sum_further_than_the_sensitivity(others, mine, most):
    layout = _layout(most)
    moved = layout.encode(_rows([*others, *mine])) - layout.encode(_rows(others))
    exact = sum(int(x) ** 2 for x in moved.tolist())
    assert exact <= layout.squared
    assert exact <= layout.sensitivity.l2**2
    assert sum(abs(int(x)) for x in moved.tolist()) <= layout.sensitivity.l1


@pytest.mark.parametrize("most", [1, 3, 20])
def test_the_worst_neighbour_attains_the_sensitivity_exactly(most):
    layout = _layout(most)
    moved = layout.encode(_worst(most))
    assert sum(int(x) ** 2 for x in moved.tolist()) == layout.squared
    assert int(np.abs(moved).sum()) == pytest.approx(layout.sensitivity.l1, rel=1e-12)
    assert layout.sensitivity.l1 >= int(np.abs(moved).sum())
    assert layout.sensitivity.l2**2 >= layout.squared


def test_a_bound_that_is_no_short_fraction_does_not_reach_beyond_one():
    """−7.3 … 11.9: the division by half the range must not give 1.0000000000000002."""
    layout = _layout(1)
    for dose in (11.9, -7.3, np.nextafter(11.9, 12), 1e300, -1e300):
        moved = layout.encode(_rows([[120.0, dose, 0.0, 0.0]]))
        assert sum(int(x) ** 2 for x in moved.tolist()) <= layout.squared


def test_scales_minimise_the_sum_of_squared_errors():
    """Any other split of the same sensitivity has a larger weighted error (1,000 random ones)."""
    layout = _layout(1)
    places = layout.places
    scale2 = np.array([place.scale**2 for place in places], float)
    norm2 = np.array([place.block.squared for place in places], float)
    need = np.array([place.block.need for place in places], float)

    def error(split):
        return (need / split).sum() * (split * norm2).sum()

    rng = np.random.default_rng(3)
    best = error(scale2)
    for _ in range(1000):
        assert error(scale2 * rng.uniform(0.5, 2, len(scale2))) >= best * (1 - 1e-4)


def test_emphasis_makes_a_column_more_precise_and_others_less():
    plain = _layout(1)
    loud = _layout(1, Question(bins=8, emphasis={"age": 16.0}))
    plain = _layout(1, Question(bins=8))

    def noise(layout, name):
        place = next(p for p in layout.places if p.block.name == name)
        return np.sqrt(layout.squared) / place.scale

    assert noise(loud, "age: moments") < 0.8 * noise(plain, "age: moments")
    assert noise(loud, "dose: moments") > noise(plain, "dose: moments")


def test_shares_add_up_to_the_budget():
    layout = _layout(3)
    assert sum(layout.share(place) for place in layout.places) == pytest.approx(1.0)
    assert layout.length == sum(place.block.length for place in layout.places)


def test_a_grid_without_room_is_refused():
    with pytest.raises(PlanError, match="no room on the grid"):
        _layout(10_000, multiplier=100.0)
