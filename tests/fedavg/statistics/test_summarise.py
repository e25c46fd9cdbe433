"""The door: questions that do not fit the columns, and a ledger without noise."""

import pytest

from dp import Ledger
from fedavg.errors import DataError, PlanError
from fedavg.statistics import PrivacyBudget, Question, Silos, Variable, summarise
from tests.fedavg.support.silos import silos


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"columns": ("heigth",)}, "no column 'heigth'"),
        ({"columns": ("age",), "correlate": ("age", "dose")}, "'dose' is asked"),
        ({"correlate": ("age", "sex")}, "'sex' holds words"),
        ({"tables": (("age", "sex"),)}, "'age' holds numbers"),
        ({"emphasis": {"weight": 2.0}}, "'weight' is asked"),
    ],
)
def test_a_question_about_other_columns_is_refused(asked, said):
    with pytest.raises(DataError, match=said):
        summarise(silos(), Question(**asked))


def test_a_ledger_without_noise_is_refused():
    with pytest.raises(PlanError, match="exact sums have none"):
        summarise(silos(), ledger=Ledger(1.0, 1e-5))


def test_enormous_tables_are_refused():
    of = silos()
    words = tuple(map(str, range(60)))
    wide = (*of.variables[:2], Variable("sex", words), Variable("ward", words))
    with pytest.raises(DataError, match="3,721 cells"):
        summarise(Silos(wide, of.rows, of.names, of.unit), Question(tables=(("sex", "ward"),)))


def test_under_noise_bounds_and_the_rows_of_a_person_are_public():
    budget = PrivacyBudget(1.0, 1e-5)
    with pytest.raises(PlanError, match="'age', 'dose' are public"):
        summarise(silos(bounds=False), budget=budget)
    with pytest.raises(PlanError, match="--rows-per-person"):
        summarise(silos(people=50), budget=budget)
