"""Questions and units: what is refused, and the rows of a person."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.errors import PlanError
from fedavg.statistics import Person, Question, Record
from fedavg.statistics.question import capped


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"bins": 33}, "power of two"),
        ({"bins": 2048}, "1,024"),
        ({"bins": True}, "bool"),
        ({"quantiles": (0.5, 0.25)}, "in order"),
        ({"quantiles": (0.5, 0.5)}, "in order"),
        ({"quantiles": (0.0,)}, "quantile"),
        ({"columns": ("a", "a")}, "twice"),
        ({"tables": (("a", "a"),)}, "two different"),
        ({"tables": (("a", "b"), ("b", "a"))}, "twice"),
        ({"tables": (("a", 3),)}, "heading"),
        ({"correlate": ("a",)}, "two columns"),
        ({"emphasis": {"a": 0.0}}, "emphasis"),
        ({"min_silos": 0}, "min_silos"),
        ({"min_people": 2.0}, "min_people"),
        ({"confidence": 1.0}, "confidence"),
        ({"columns": ("",)}, "heading"),
    ],
)
def test_a_question_that_means_nothing_is_refused(asked, said):
    with pytest.raises(PlanError, match=said):
        Question(**asked)


@pytest.mark.parametrize("wrong", [{"column": ""}, {"column": 3}, {"column": "p", "most_rows": 0}])
def test_a_person_needs_a_column_and_at_least_a_row(wrong):
    with pytest.raises(PlanError):
        Person(**wrong)


def test_numpy_scalars_are_numbers():
    assert Question(bins=np.int64(16), quantiles=(np.float64(0.5),)).bins == 16


def test_a_row_is_a_unit_of_one_row():
    assert (Record().most_rows, Record().column, Person("p").most_rows) == (1, "", None)


@given(
    people=st.lists(st.integers(0, 6), max_size=40),
    most=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_nobody_has_more_rows_than_allowed_and_nobody_loses_more_than_needed(people, most, seed):
    keys = np.random.default_rng(seed).random(len(people))
    people = np.array(people, np.int64)
    kept = capped(people, most, keys)
    assert sorted(set(kept.tolist())) == kept.tolist()
    for person in set(people.tolist()):
        assert (people[kept] == person).sum() == min(most, (people == person).sum())


@given(people=st.lists(st.integers(0, 4), min_size=1, max_size=30), gone=st.integers(0, 4))
def test_the_choice_of_ones_rows_does_not_depend_on_others(people, gone):
    people = np.array(people, np.int64)
    keys = np.random.default_rng(1).random(len(people))
    others = np.flatnonzero(people != gone)
    with_all = [row for row in capped(people, 2, keys) if people[row] != gone]
    alone = others[capped(people[others], 2, keys[others])]
    assert with_all == alone.tolist()
