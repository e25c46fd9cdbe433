"""Schema files: a written schema reads back, with its reasons and the entries to complete."""

import dataclasses
import json
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data.tables.columns import Number
from fedavg.data.tables.schemas.file import schema_text
from fedavg.data.tables.schemas.propose import propose
from fedavg.data.tables.schemas.schema import Schema, schema_from
from tests.fedavg.support.tables import table

AGES = [str(17 + n % 74) for n in range(200)]


def _read(text):
    return schema_from(msgspec.toml.decode(text), "t.toml")


def _proposal(**columns):
    columns = {"age": AGES, "sick": ["no", "yes"] * 100} | columns
    return propose(table(**columns), Schema(target="sick"))


def test_a_file_reads_back_as_the_schema_and_gives_the_reasons():
    proposal = _proposal(
        city=["Rome", "São Paulo", 'the "eternal" one', "back\\slash"] * 50,
        seen=["2020-01-31", "2021-02-03"] * 100,
        rate=["5 %", "17 %", "", "9%"] * 50,
    )
    text = schema_text(proposal, private=False)
    assert _read(text) == proposal.schema
    assert "# whole numbers, 17 … 90 (74 different, 0 missing); such as" in text
    assert "[columns.sick]  # target" in text
    assert "TO COMPLETE" not in text
    assert "declared = false" in text
    assert max(map(len, text.splitlines())) < 160


def test_under_noise_the_file_says_what_to_complete_and_is_not_declared():
    text = schema_text(_proposal(seen=["2020-01-31", "2021-02-03"] * 100), private=True)
    assert "# bounds = [0.0, 90.0]  # TO COMPLETE: what is possible; the rows hold 17 … 90" in text
    assert '# bounds = ["2000-01-01", "2030-12-31"]  # TO COMPLETE' in text
    schema = _read(text)
    assert not schema.declared
    assert schema.columns["age"].undeclared() == "bounds"
    completed = text.replace("# bounds", "bounds").replace("declared = false", "declared = true")
    assert not any(column.undeclared() for column in _read(completed).columns.values())
    assert _read(completed).declared


def _bounds(low, high):
    """The bounds that a file suggests for numbers between two numbers."""
    found = _proposal().findings[0]
    found = dataclasses.replace(found, column=Number(), seen=(float(low), float(high)))
    proposal = dataclasses.replace(_proposal(), findings=(found,))
    suggested = re.search(r"# bounds = (.*)  # TO COMPLETE", schema_text(proposal, private=True))[1]
    return json.loads(suggested)


@pytest.mark.parametrize(
    ("low", "high", "suggested"),
    [
        (1992, 2004, [1990, 2010]),
        (1872, 2010, [1800, 2100]),
        (25, 34, [25, 35]),
        (-34, -25, [-35, -25]),
        (0.0031, 0.0042, [0.003, 0.005]),
        (1e6, 1e6 + 1, [1e6, 1e6 + 1]),
        (17, 90, [0, 90]),
        (5, 5, [0, 5]),
        (0, 0, [0, 1]),
        (-5, -5, [-5, 0]),
        (5e-324, 5e-324, [0, 1e-300]),
        (-5e-324, 7, [-1e-300, 7]),
    ],
)
def test_suggested_bounds_of_numbers_far_from_zero_are_near_the_numbers(low, high, suggested):
    assert _bounds(low, high) == suggested


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30))
def test_suggested_bounds_hold_the_numbers_and_are_near_those_far_from_zero(one, other):
    low, high = min(one, other), max(one, other)
    first, last = _bounds(low, high)
    spread, nearest = high - low, min(abs(low), abs(high))
    slack = 1e-9 * max(abs(low), abs(high))
    assert first < last
    assert first - slack <= low
    assert high <= last + slack
    if low * high > 0 and nearest > spread > 1e-6 * nearest:
        assert last - first <= 4 * spread


def test_under_noise_no_statistic_of_the_rows_fills_a_cell():
    text = schema_text(
        _proposal(gaps=["", *AGES[1:]], flag=["", "no", "yes", "no"] * 50), private=True
    )
    columns = _read(text).columns
    assert columns["gaps"].missing == columns["flag"].missing == "auto"


def test_questions_stand_at_the_top():
    proposal = propose(table(grade=["3", "4", "5"] * 9, x=AGES[:27]), Schema(target="grade"))
    assert "# TO ANSWER: target 'grade' has 3 different whole numbers" in schema_text(
        proposal, private=False
    )
    nothing = propose(table(x=AGES), Schema())
    assert 'target = ""' in schema_text(nothing, private=False)


@settings(deadline=None)
@given(
    heading=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(
        str.strip
    ),
    words=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), min_size=3
    ),
)
def test_any_heading_and_any_words_survive_the_file(heading, words):
    if not heading or heading == "y":
        return
    cells = (words * 40)[:100]
    proposal = propose(table(**{heading: cells, "y": ["no", "yes"] * 50}), Schema(target="y"))
    assert _read(schema_text(proposal, private=False)) == proposal.schema


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [
        ("1", "10", "[0.0, 10.0]"),
        ("-18.6", "218.2", "[-20.0, 300.0]"),
        ("0.005", "530", "[0.0, 600.0]"),
        ("-5", "-1", "[-5.0, -1.0]"),
    ],
)
def test_suggestions_are_round_and_outwards(low, high, bounds):
    text = schema_text(_proposal(x=[low, high, *([high] * 98), *([low] * 100)]), private=True)
    assert f"# bounds = {bounds}  # TO COMPLETE" in text
