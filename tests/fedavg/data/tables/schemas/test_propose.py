"""What is proposed for a column, with its reason, and what has to be answered first."""

import re

import numpy as np
import pandas as pd
import pytest

from fedavg.data.tables.columns import (
    Boolean,
    Category,
    Date,
    Identifier,
    Ignored,
    Number,
    Text,
)
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schemas.propose import propose
from fedavg.data.tables.schemas.schema import Schema
from tests.fedavg.support.tables import table, write

RNG = np.random.default_rng(0)


def _found(values, **given):
    """What is proposed for a column of these texts."""
    proposal = propose(table(c=values), Schema(**given))
    (found,) = proposal.findings
    return found


def _texts(numbers):
    return [str(number) for number in numbers]


NUMBERS = _texts(RNG.standard_normal(300).round(3))


@pytest.mark.parametrize("cell", ["", "NA", "nan", "?", "n/a", "NULL"])
def test_a_missing_cell_does_not_make_numbers_a_category(cell):
    """One of these among 300 numbers once made sixteen categories of them."""
    found = _found([*NUMBERS[:5], cell, *NUMBERS[6:]])
    assert found.column == Number(missing="median", indicator=True)
    assert found.missing == 1
    assert found.why.startswith("numbers, ")


def test_an_odd_cell_is_named_with_its_row_and_does_not_make_a_category():
    found = _found([*NUMBERS[:5], "abc", *NUMBERS[6:]])
    assert found.column == Number()
    assert found.advice[0].startswith("'abc' in row 6 is no number: correct it")


@pytest.mark.parametrize("word", ["--", "NM", "unknown", "#DIV/0!"])
def test_words_that_stand_for_nothing_among_numbers_are_proposed_as_missing(word):
    found = _found([*NUMBERS[:20], word, word, *NUMBERS[22:]])
    assert found.column == Number(markers=(word,), missing="median", indicator=True)
    assert f"'{word}' taken for missing" in found.why


def test_many_odd_cells_make_no_numbers():
    assert _found(["1", "2", "x", "y", "z"] * 20).column == Category(
        categories=("1", "2", "x", "y", "z")
    )


@pytest.mark.parametrize(
    ("no", "yes"), [("no", "yes"), ("False", "True"), ("N", "Y"), ("0", "1"), ("f", "t")]
)
def test_no_and_yes_are_a_boolean(no, yes):
    found = _found([yes, no, no, yes] * 5)
    assert found.column == Boolean()
    assert found.why == f"no and yes as {no!r} and {yes!r}"
    gaps = _found([yes, no, "", yes] * 5)
    assert gaps.column == Boolean(missing="most_frequent", indicator=True)


def test_other_words_are_a_category_in_their_order():
    found = _found(["F", "M", "M", "", "F"] * 5)
    assert found.column == Category(categories=("F", "M"))
    assert (found.distinct, found.missing) == (2, 5)
    codes = _found(["10", "9", "x"] * 10)
    assert codes.column == Category(categories=("10", "9", "x"))
    zeros = _found(["007", "010", "099"] * 10)
    assert zeros.column == Category(categories=("007", "010", "099"))


def test_words_that_differ_in_case_only_are_pointed_out():
    assert "'Male', 'male' differ in upper and lower case" in _found(["Male", "male"] * 9).advice[0]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (_texts(range(50)), "numbers the rows"),
        (_texts(range(1, 51)), "numbers the rows"),
        ([f"{n:x}-{n * n}" for n in range(50)], "identifies the row"),
        ([f"p{n}@example.org" for n in range(50)], "identifies the row"),
    ],
)
def test_identifiers_are_left_out_with_a_word(values, why):
    found = _found(values)
    assert found.column == Identifier()
    assert found.why.startswith("left out: ")
    assert why in found.why


def test_a_heading_that_identifiers_have_is_believed():
    values = _texts(np.repeat(RNG.permutation(9000)[:40], 5))
    proposal = propose(table(patient_id=values, patientID=values, paid=values), Schema())
    kinds = [type(found.column) for found in proposal.findings]
    assert kinds == [Identifier, Identifier, Number]
    (advice,) = proposal.findings[0].advice
    assert "client = 'patient_id'" in advice
    assert "group = 'patient_id'" in advice


def test_a_small_table_of_whole_numbers_is_not_all_identifiers():
    assert isinstance(_found(_texts(RNG.permutation(9000)[:60])).column, Number)


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (["2020-01-31", "2020-02-01"] * 3, Date()),
        (["31/01/2020", "01/02/2020"] * 3, Date(pattern="%d/%m/%Y")),
        (["01/31/2020", "02/01/2020"] * 3, Date(pattern="%m/%d/%Y")),
        (["31.1.2020", "1.2.2020"] * 3, Date(pattern="%d.%m.%Y")),
        (["Jan-2018", "Mar-2018"] * 3, Date(parts=("days", "month"), pattern="%b-%Y")),
        (
            ["2020-01-31T08:30", "2020-02-01 09:00"] * 3,
            Date(parts=("days", "month", "weekday", "hour")),
        ),
        (["12:25:12", "08:00:00"] * 3, Date(parts=("hour",), pattern="%H:%M:%S")),
        (
            ["2020-01-31", "", "2020-02-02"] * 3,
            Date(missing="median", indicator=True),
        ),
    ],
)
def test_dates_are_recognised_with_their_pattern(values, column):
    assert _found(values).column == column


def test_dates_whose_day_and_month_cannot_be_told_apart_are_left_out():
    found = _found(["01/02/2020", "03/04/2020"] * 5)
    assert found.column == Ignored()
    assert "cannot be told apart" in found.why
    assert "'%d/%m/%Y', '%m/%d/%Y'" in found.advice[0]


def test_high_cardinality_and_sentences_are_left_out_with_advice():
    words = [f"w{n}" for n in RNG.integers(0, 500, 1000)]
    many = _found(words)
    assert many.column == Text()
    assert many.words_too_many
    assert "commonest words would cover" in many.advice[0]
    assert "words would share a bucket" in many.advice[1]
    said = _found([f"the patient said {n} that it hurts" for n in range(80)])
    assert said.column == Text()
    assert "sentences" in said.why


def test_empty_and_constant_columns_are_left_out():
    assert _found(["", "NA", ""]).column == Ignored()
    assert _found(["x"] * 5).why == "left out: every cell holds 'x'"
    assert _found(["x", "", "x"]).column == Category(categories=("x",))


def test_numbers_beyond_single_precision_are_no_words():
    found = _found(_texts(RNG.standard_normal(100) * 1e300))
    assert found.column == Ignored()
    assert "beyond ±1e+30" in found.why


def test_signs_around_numbers_are_taken_off():
    found = _found(["12%", "3.5 %", "7%"] * 9)
    assert found.column == Number(strip="%", unit="%")
    assert _found(["$5", "$1200", "$7"] * 9).column == Number(strip="$")


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([*_texts(RNG.integers(20, 80, 200)), "65526"], "lies far from all others"),
        ([*_texts(RNG.integers(1, 80, 200)), "-1", "-1"], "-1 is the only negative number"),
        (_texts(RNG.integers(1, 6, 200)), "if these are codes"),
    ],
)
def test_suspicious_numbers_are_pointed_out(values, word):
    assert any(word in advice for advice in _found(values).advice)


@pytest.mark.parametrize(
    ("values", "task", "column"),
    [
        (["yes", "no"] * 9, "auto", Boolean(values=("no", "yes"))),
        (["0", "1"] * 9, "auto", Boolean(values=("0", "1"))),
        (["a", "b", "c"] * 9, "auto", Category(categories=("a", "b", "c"))),
        (["2", "10"] * 9, "auto", Category(categories=("2", "10"))),
        (["1", "2", "3"] * 9, "classes", Category(categories=("1", "2", "3"))),
        (["1", "2", "3"] * 9, "numbers", Number()),
        (["0", "1"] * 9, "numbers", Number()),
        (NUMBERS, "auto", Number()),
        (_texts(RNG.integers(0, 99, 300)), "auto", Number()),
    ],
)
def test_what_is_predicted(values, task, column):
    proposal = propose(table(y=values, x=NUMBERS[: len(values)] * 1), Schema(target="y", task=task))
    assert proposal.schema.columns["y"] == column
    assert proposal.problems == ()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (
            ["3", "4", "5", "9"] * 9,
            r'4 different whole numbers, 3 … 9: say \[data\] task = "classes"',
        ),
        (["x"] * 9, "has 1 value"),
        ([f"w{n}" for n in range(40)], "40 different values in 40 rows, too many for classes"),
    ],
)
def test_a_target_that_may_be_two_things_is_asked_about(values, word):
    proposal = propose(table(y=values, x=NUMBERS[: len(values)]), Schema(target="y"))
    (problem,) = proposal.problems
    assert re.search(word, problem)


def test_several_targets_are_numbers_or_booleans():
    numbers = propose(table(a=NUMBERS, b=NUMBERS, x=NUMBERS), Schema(target=("a", "b")))
    assert [numbers.schema.columns[name] for name in "ab"] == [Number(), Number()]
    tags = ["0", "1"] * 150
    labels = propose(table(a=tags, b=tags, x=NUMBERS), Schema(target=("a", "b")))
    assert labels.schema.columns["a"] == Boolean(values=("0", "1"))
    mixed = propose(table(a=["u", "v", "w"] * 100, b=tags, x=NUMBERS), Schema(target=("a", "b")))
    assert "neither a number nor no and yes" in mixed.problems[0]


def test_a_missing_target_and_nothing_to_read_are_problems():
    assert "which column is predicted" in propose(table(x=NUMBERS), Schema()).problems[0]
    only = propose(table(y=["a", "b"] * 20, i=_texts(range(40))), Schema(target="y"))
    assert "no column is left for a model" in only.problems[0]


def test_declared_columns_are_kept_and_an_undeclared_one_makes_it_a_proposal():
    given = Schema(target="y", columns={"x": Number(bounds=(0, 1)), "y": Boolean()})
    whole = propose(table(x=NUMBERS, y=["no", "yes"] * 150), given)
    assert whole.declared
    assert whole.schema.declared
    assert whole.schema.columns == given.columns
    part = propose(table(x=NUMBERS, y=["no", "yes"] * 150, z=NUMBERS), given)
    assert not part.declared
    assert not part.schema.declared
    assert part.schema.columns["x"] == Number(bounds=(0, 1))


def test_columns_that_may_say_whose_a_row_is_are_pointed_out():
    said = propose(table(hospital=["a", "b"] * 150, x=NUMBERS), Schema(target="x")).notes
    assert "[data] client = 'hospital'" in said[-1]
    assert "--client 'hospital'" in said[-1]
    assert "'hospital' (2 values, about 150 rows each)" in said[-1]
    given = Schema(target="x", client="hospital")
    assert not propose(table(hospital=["a", "b"] * 150, x=NUMBERS), given).notes


def test_identifiers_that_rows_share_are_the_first_to_say_whose_a_row_is():
    """An identifier of every single row would make as many clients as there are rows."""
    patient = [f"P{n % 60}" for n in range(300)]
    columns = {"hospital": ["a", "b"] * 150, "patient_id": patient}
    columns |= {"record_id": [f"R{n}" for n in range(300)], "x": NUMBERS}
    proposal = propose(table(**columns), Schema(target="x"))
    assert proposal.schema.columns["patient_id"] == Identifier()
    assert "such as 'patient_id' (60 values, about 5 rows each) or 'hospital'" in proposal.notes[-1]
    assert "record_id" not in proposal.notes[-1]
    followed = propose(table(**columns), Schema(target="x", client="patient_id"))
    assert followed.schema.client == "patient_id"
    assert not followed.problems
    single = {"patient_id": columns["record_id"], "x": NUMBERS}
    assert not propose(table(**single), Schema(target="x")).notes


@pytest.mark.parametrize("sign", [",", " ", "'"])
def test_numbers_in_another_notation_are_pointed_out(sign):
    """They are words in this file, such as a Parquet file of texts; the advice is what makes them numbers."""
    values = [f"{n:,}".replace(",", sign) for n in RNG.integers(10**4, 10**5, 300)]
    found = _found(values)
    assert not isinstance(found.column, Number)
    assert f'[data] file = {{ thousands = "{sign}" }}' in found.advice[0]
    asked = propose(table(c=values, x=NUMBERS), Schema(target="c")).problems
    assert found.advice[0] in asked[0]


def test_csv_and_parquet_of_one_table_are_proposed_alike(tmp_path):
    frame = pd.DataFrame(
        {
            "number": RNG.standard_normal(200),
            "gaps": np.where(RNG.random(200) < 0.1, np.nan, RNG.integers(0, 9, 200)),
            "codes": RNG.integers(0, 3, 200),
            "word": pd.Categorical(RNG.choice(["a", "b", "c"], 200)),
            "flag": RNG.random(200) < 0.5,
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 99, 200), "D"),
            "row": np.arange(200),
            "y": RNG.choice(["no", "yes"], 200),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    one, two = (
        propose(read_table(tmp_path / name), Schema(target="y")) for name in ("t.csv", "t.parquet")
    )
    assert one.schema.columns == two.schema.columns
    assert [(f.missing, f.distinct) for f in one.findings] == [
        (f.missing, f.distinct) for f in two.findings
    ]


def test_lists_are_left_out_with_their_type(tmp_path):
    proposal = propose(table(x=NUMBERS[:2], l=[[1], [2]]), Schema(target="x"))
    assert proposal.schema.columns["l"] == Ignored()
    assert "list" in proposal.findings[1].why


def test_a_dialect_is_said(tmp_path):
    path = write(tmp_path / "t.csv", "a;b\n0,5;x\n1,5;y\n")
    assert "semicolons" in propose(read_table(path), Schema(target="b")).notes[0]


AMOUNTS = [f"${price:,.2f}" for price in np.linspace(1_000, 200_000, 60)]


@pytest.mark.parametrize("task", ["auto", "numbers", "classes"])
def test_amounts_with_thousands_are_answered_with_both_settings(task):
    """The advice led from "too many for classes" to "no numbers", and back."""
    proposal = propose(table(c=AMOUNTS), Schema(target="c", task=task))
    (problem,) = proposal.problems
    assert (
        'thousands = "," } ([file] in a schema), and [data.columns."c"] kind = "number", strip = "$"'
        in problem
    )


def test_amounts_are_no_names_of_rows():
    found = _found(AMOUNTS)
    assert isinstance(found.column, Ignored)
    assert "numbers behind a sign" in found.why
    assert 'strip = "$"' in found.advice[0]


def test_a_target_behind_a_sign_is_a_number_if_the_task_says_so():
    texts = [f"$ {price:.2f}" for price in np.linspace(1, 99, 60)]
    proposal = propose(table(c=texts), Schema(target="c", task="numbers"))
    (found,) = proposal.findings
    assert not proposal.problems
    assert isinstance(found.column, Number)
    assert found.column.strip == "$"


def test_a_target_that_identifies_the_row_is_said_to():
    (problem,) = propose(table(c=[f"P{n}" for n in range(60)]), Schema(target="c")).problems
    assert "identifies the row: choose another target" in problem


def test_a_target_of_dates_is_a_question():
    """It was trained as so many words, without a note."""
    days = [f"2021-{month:02}-{day:02}" for month in range(1, 7) for day in range(1, 11)] * 4
    (problem,) = propose(table(c=days), Schema(target="c")).problems
    assert "holds dates such as '2021-01-01'" in problem
    assert 'task = "classes"' in problem
    proposal = propose(table(c=days), Schema(target="c", task="classes"))
    assert not proposal.problems
    assert isinstance(proposal.findings[0].column, Category)
