"""Withheld counts: what must be, what more is, and what a reader can still work out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from fedavg.statistics.exact.withheld import Sums, hidden_cells

RULES = {"min_people": 5, "min_silos": 3}


def _one_way(words):
    counts = np.array([sum(words), *words])
    return counts, Sums((0,), (tuple(range(1, len(counts))),))


def _two_way(grid):
    """All, row totals, column totals and cells, with every sum that ties them."""
    grid = np.array(grid)
    rows, columns = grid.shape
    counts = np.concatenate([[grid.sum()], grid.sum(axis=1), grid.sum(axis=0), grid.ravel()])
    row, column = np.arange(1, 1 + rows), np.arange(1 + rows, 1 + rows + columns)
    cell = np.arange(1 + rows + columns, len(counts)).reshape(rows, columns)
    wholes = [0, 0, *row, *column]
    parts = [tuple(row), tuple(column), *map(tuple, cell), *map(tuple, cell.T)]
    return counts, Sums(tuple(map(int, wholes)), tuple(tuple(map(int, p)) for p in parts))


def _hidden(counts, sums, silos=None):
    silos = np.full(len(counts), 9) if silos is None else silos
    return hidden_cells(counts, counts, silos, sums, **RULES)


def _interval(counts, hidden, sums, cell):
    """What a reader can say of one count: an oracle on all unknowns at once, without any shortcut."""
    unknown = np.flatnonzero(hidden).tolist()
    matrix, right = [], []
    for whole, parts in zip(sums.wholes, sums.parts, strict=True):
        line, known = np.zeros(len(unknown)), 0.0
        for member, sign in [(whole, 1.0), *((part, -1.0) for part in parts)]:
            if hidden[member]:
                line[unknown.index(member)] += sign
            else:
                known += sign * counts[member]
        matrix.append(line)
        right.append(-known)
    aim = np.zeros(len(unknown))
    aim[unknown.index(cell)] = 1.0
    low = linprog(aim, A_eq=np.array(matrix), b_eq=right, bounds=(0, None))
    high = linprog(-aim, A_eq=np.array(matrix), b_eq=right, bounds=(0, None))
    return low.fun, np.inf if high.status == 3 else -high.fun


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 4).flatmap(
        lambda rows: st.integers(2, 4).flatmap(
            lambda columns: st.lists(
                st.lists(st.integers(0, 20), min_size=columns, max_size=columns),
                min_size=rows,
                max_size=rows,
            )
        )
    )
)
def test_no_reader_narrows_a_count_that_had_to_be_withheld(grid):
    counts, sums = _two_way(grid)
    few, hidden = _hidden(counts, sums)
    if few[0]:  # with so few rows nothing is shown at all
        return
    for cell in np.flatnonzero(few):
        low, high = _interval(counts, hidden, sums, cell)
        assert low - 1e-6 <= counts[cell] <= high + 1e-6
        if not hidden.all():
            assert high - low >= max(5, counts[cell]) - 1e-5


@pytest.mark.parametrize("words", [(90, 3, 60), (90, 3), (3, 3, 90), (1, 4, 1, 300)])
def test_a_count_cannot_be_had_by_subtraction(words):
    counts, sums = _one_way(words)
    few, hidden = _hidden(counts, sums)
    assert hidden.sum() >= 2
    assert (hidden | ~few).all()
    gone = counts[1:][hidden[1:]].sum()
    assert gone >= 5


def test_small_counts_that_hide_one_another_cost_nothing_more():
    counts, sums = _one_way((200, 4, 4, 4))
    few, hidden = _hidden(counts, sums)
    assert hidden.tolist() == few.tolist() == [False, False, True, True, True]


def test_counts_of_few_silos_are_withheld_whatever_their_size():
    counts, sums = _one_way((200, 150, 300))
    few, hidden = _hidden(counts, sums, np.array([5, 2, 5, 5]))
    assert few.tolist() == [False, True, False, False]
    assert hidden.sum() == 2
    assert counts[hidden].sum() >= 2 * 150  # what both share is wider than the count itself


def test_zeros_and_large_counts_are_shown():
    counts, sums = _one_way((0, 50, 70))
    few, hidden = _hidden(counts, sums)
    assert not few.any()
    assert not hidden.any()


def test_a_two_way_table_withholds_a_rectangle():
    grid = [[2, 40, 50], [60, 70, 80], [90, 100, 110]]
    counts, sums = _two_way(grid)
    _, hidden = _hidden(counts, sums)
    cells = hidden[7:].reshape(3, 3)
    assert cells[0, 0]
    assert cells.sum() == 4
    rows, columns = cells.any(axis=1), cells.any(axis=0)
    assert list(itertools.compress(range(3), rows)) == [0, 1]
    assert columns.sum() == 2
    assert not hidden[:7].any()  # no total had to go
