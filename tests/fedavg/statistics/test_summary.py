"""The result in files: every figure once, withheld ones with their reason."""

import csv
import json

import pytest

from fedavg.statistics import PrivacyBudget, Question, summarise
from tests.fedavg.support.silos import silos

ASKED = Question(bins=8, tables=(("sex", "ward"),), correlate=("age", "dose"))


@pytest.mark.parametrize("budget", [None, PrivacyBudget(1.0, 1e-6)], ids=["exact", "noisy"])
def test_csv_and_json_hold_the_same_figures(budget):
    found = summarise(silos(), ASKED, budget=budget)
    lines = list(csv.DictReader(found.csv().splitlines()))
    told = json.loads(found.json())
    assert set(lines[0]) == {"column", "statistic", "cell", "value", "low", "high", "withheld"}
    assert all((line["value"] == "") == (line["withheld"] != "") for line in lines)
    means = [line for line in lines if line["statistic"] == "mean"]
    assert [float(line["value"]) for line in means] == [
        column["mean"]["value"] for column in told["columns"] if column["mean"]
    ]
    assert len(lines) == len({(e["column"], e["statistic"], e["cell"]) for e in lines})
    assert (told["protection"] is None) == (budget is None)


def test_no_silo_is_named_in_a_result():
    of = silos()
    found = summarise(of, ASKED)
    for name in of.names:
        assert name not in found.csv()
        assert name not in found.json().decode()


def test_a_column_that_was_not_asked_for_is_not_there():
    found = summarise(silos(), Question(columns=("age",)))
    with pytest.raises(KeyError):
        found.column("dose")
