"""Schema files: a written schema reads back, with its reasons and the entries to complete."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.data.tables.propose import propose
from fedavg.data.tables.schema import Schema, schema_from
from fedavg.data.tables.schema_file import schema_text
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
