"""The schema of statistics: read off the rows without noise, declared under noise."""

import pytest

from fedavg.errors import ConfigError, DataError
from fedavg.statistics.declared import table_and_schema

TEXT = "site,who,age,sex\n" + "".join(
    f"s{n % 4},p{n % 50},{20 + n % 60},{'FM'[n % 2]}\n" for n in range(200)
)
SCHEMA = """
declared = true
[columns.age]
kind = "number"
bounds = [0, 120]
[columns.sex]
kind = "category"
categories = ["F", "M"]
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TEXT)
    return tmp_path / "t.csv"


def _read(file, **given):
    found = table_and_schema(file, client="site", person="who", **({"private": False} | given))
    return found.table, found.schema


def test_without_noise_the_kinds_are_read_off_the_rows(file):
    _, schema = _read(file)
    assert list(schema.columns) == ["age", "sex"]


def test_under_noise_an_undeclared_table_is_refused_with_a_file_to_complete(file):
    with pytest.raises(ConfigError, match=r"what 'age', 'sex' hold.*has been written"):
        _read(file, private=True)
    text = (file.parent / "t.noise.schema.toml").read_text()
    assert "TO COMPLETE" in text
    assert 'client = "site"' in text
    with pytest.raises(ConfigError, match="exists already"):
        _read(file, private=True)
    # The written file is refused until it is complete and declared.
    with pytest.raises(ConfigError, match=r"bounds of 'age'; that the schema is public"):
        _read(file, private=True, schema="t.noise.schema.toml")


def test_the_file_to_complete_has_the_columns_that_are_asked_for(file):
    with pytest.raises(ConfigError, match="has been written"):
        _read(file, private=True, columns=("age",))
    text = (file.parent / "t.noise.schema.toml").read_text()
    assert "[columns.age]" in text
    assert "[columns.sex]" not in text
    assert "TO ANSWER" not in text  # statistics predict no column


def test_a_complete_schema_is_taken_under_noise(file):
    (file.parent / "s.toml").write_text(SCHEMA)
    _, schema = _read(file, private=True, schema="s.toml")
    assert schema.columns["age"].bounds == (0, 120)
    assert not list(file.parent.glob("*.noise.*"))


def test_only_the_columns_that_are_asked_for_need_a_declaration(file):
    (file.parent / "s.toml").write_text(SCHEMA.split("[columns.sex]", maxsplit=1)[0])
    _, schema = _read(file, private=True, schema="s.toml", columns=("age",))
    assert list(schema.columns) == ["age"]
    with pytest.raises(ConfigError, match="what 'sex' hold"):
        _read(file, private=True, schema="s.toml")
    _, schema = _read(file, private=True, schema="s.toml", leave_out=("sex",))
    assert schema.columns["sex"].left_out


def test_bounds_without_a_word_that_they_are_public_are_refused(file):
    (file.parent / "s.toml").write_text(SCHEMA.replace("true", "false"))
    with pytest.raises(ConfigError, match="declared = true"):
        _read(file, private=True, schema="s.toml")


def test_a_column_that_is_not_there_is_refused(file):
    with pytest.raises(DataError, match="no column 'weight'"):
        _read(file, columns=("weight",))
    with pytest.raises(DataError, match="names the silo of each row"):
        _read(file, columns=("site",))
