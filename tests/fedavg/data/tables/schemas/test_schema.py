"""Schemas out of TOML: every mistake is named with its place and the nearest right word."""

import numpy as np
import pytest

from fedavg.data.tables.columns import Boolean, Category, Number
from fedavg.data.tables.schemas.schema import (
    MARKERS,
    Schema,
    check_headings,
    read_schema,
    schema_from,
)
from fedavg.errors import ConfigError, DataError

TOML = """
target = "sick"
client = "ward"
markers = ["", "-"]

[file]
separator = ";"

[columns.age]
kind = "number"
bounds = [0, 120]
missing = "median"
indicator = true

[columns.plan]
kind = "category"
categories = ["a", "b"]

[columns.sick]
kind = "boolean"
"""


def test_a_schema_is_read_from_toml(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(TOML)
    schema = read_schema(path)
    assert schema.targets == ("sick",)
    assert schema.roles == {"sick": "target", "ward": "client"}
    assert schema.markers == ("", "-")
    assert schema.file.separator == ";"
    assert schema.columns["age"] == Number(bounds=(0, 120), missing="median", indicator=True)
    assert schema.columns["plan"] == Category(categories=("a", "b"))
    assert list(schema.read) == ["age", "plan"]
    assert schema.declared


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({"targt": "y"}, "unknown key 'targt'. Do you mean 'target'"),
        ({"file": {"seperator": ";"}}, "unknown key 'file.seperator'. Do you mean 'separator'"),
        ({"file": {"decimal": "x"}}, "file: decimal must be '.' or ','"),
        ({"columns": []}, "columns must be a table"),
        ({"columns": {"a": "number"}}, "t.toml: columns.a: a column is a table"),
        ({"columns": {"a": {}}}, "columns.a: kind is missing; there are"),
        ({"columns": {"a": {"kind": "numbr"}}}, "no kind 'numbr'; .* Do you mean 'number'"),
        ({"columns": {"a": {"kind": "number", "bound": [0, 1]}}}, "Do you mean 'bounds'"),
        (
            {"columns": {"a": {"kind": "number", "bounds": [1, 0]}}},
            "columns.a: .*the lower one first",
        ),
        ({"columns": {"a": {"kind": "number", "bounds": [1]}}}, "columns.a: bounds: "),
        (
            {"columns": {"a": {"kind": "category"}}},
            "columns.a: .*needs a vocabulary .* neither is given",
        ),
        ({"task": "class"}, "task: there is no 'class'"),
    ],
)
def test_mistakes_are_named(raw, word):
    with pytest.raises(ConfigError, match=word):
        schema_from(raw, "t.toml")


def test_files_that_are_no_schema(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the schema"):
        read_schema(tmp_path / "none.toml")
    (tmp_path / "s.toml").write_text("a = ")
    with pytest.raises(ConfigError, match="no valid TOML"):
        read_schema(tmp_path / "s.toml")


def test_several_targets_and_none():
    assert Schema(target=("a", "b")).targets == ("a", "b")
    assert Schema().targets == ()
    assert Schema().markers == MARKERS


def test_headings_are_compared_with_the_table():
    schema = Schema(target="y", columns={"x": Number(), "y": Boolean()})
    check_headings(schema, ("x", "y", "z"), "t.csv")
    with pytest.raises(DataError, match="t.csv has no column 'x'; there are ab, y"):
        check_headings(schema, ("ab", "y"), "t.csv")
    with pytest.raises(DataError, match="no column 'target'; .* Do you mean 'targets'"):
        check_headings(Schema(target="target"), ("targets", "y"), "t.csv")
    with pytest.raises(DataError, match="column 'y' is named for two of target, client"):
        check_headings(Schema(target="y", client="y"), ("y",), "t.csv")


def test_columns_from_python_take_numpys_numbers():
    assert Number(bounds=(np.int64(0), np.float64(1))) == Number(bounds=(0.0, 1.0))
