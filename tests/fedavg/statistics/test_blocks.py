"""Blocks of coordinates: counts and sums of rows, against counting by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.statistics import SiloRows, Variable, blocks

AGE = Variable("age", bounds=(0.0, 8.0))
SEX = Variable("sex", ("F", "M"))
ROWS = SiloRows(
    {
        "age": np.array([0.0, 7.9, 8.0, np.nan, 4.0, -3.0]),
        "sex": np.array([0, 1, np.nan, 1, 1, 0.0]),
    },
    np.array([1, 1, 1, 2, 3, 3]),
)


def test_counts_of_rows_and_of_people():
    assert blocks.whole().total(ROWS, 3).tolist() == [18]
    assert blocks.whole().units(ROWS).tolist() == [3]
    assert blocks.presence(AGE).total(ROWS, 1).tolist() == [1, 5]
    assert blocks.words(SEX).total(ROWS, 1).tolist() == [2, 3, 1]
    assert blocks.words(SEX).units(ROWS).tolist() == [2, 3, 1]


def test_levels_of_a_tree_are_halves_of_one_another():
    counts = [level.total(ROWS, 1) for level in blocks.levels(AGE, 0.0, 8.0, 3)]
    assert counts[-1].tolist() == [2, 0, 0, 0, 1, 0, 0, 2]
    for wide, fine in itertools.pairwise(counts):
        assert wide.tolist() == fine.reshape(-1, 2).sum(axis=1).tolist()


def test_a_contingency_table_has_its_columns_as_margins():
    other = Variable("ward", ("A", "B", "C"))
    values = {**ROWS.values, "ward": np.array([0, 0, 2, np.nan, 1, 1.0])}
    rows = SiloRows(values, ROWS.people)
    grid = blocks.crossed(SEX, other).total(rows, 1).reshape(3, 4)
    assert grid.sum(axis=1).tolist() == blocks.words(SEX).total(rows, 1).tolist()
    assert grid.sum(axis=0).tolist() == blocks.words(other).total(rows, 1).tolist()


@pytest.mark.parametrize("block", [blocks.moments(AGE), blocks.pairs(AGE, AGE)])
def test_missing_cells_add_nothing(block):
    rows = SiloRows({"age": np.array([np.nan])}, np.array([0]))
    assert not block.total(rows, 1000).any()


def test_moments_are_those_of_the_scaled_and_clamped_numbers():
    scaled = np.clip((np.array([0.0, 7.9, 8.0, 4.0, -3.0]) - 4) / 4, -1, 1)
    found = blocks.moments(AGE).total(ROWS, 1 << 20) / (1 << 20)
    np.testing.assert_allclose(found, [scaled.sum(), (scaled**2).sum()], atol=1e-5)


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    ends=st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)),
)
def test_every_number_has_a_bin(value, ends):
    low, width = ends
    (place,) = blocks.leaf_of(np.array([value]), low, low + width, 64)
    assert 0 <= place < 64


def test_a_silo_without_rows_counts_nothing():
    empty = ROWS.taken(np.zeros(0, np.int64))
    for block in (blocks.words(SEX), blocks.crossed(SEX, SEX), blocks.moments(AGE)):
        assert not block.total(empty, 7).any()
