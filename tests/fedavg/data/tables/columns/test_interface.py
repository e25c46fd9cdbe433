"""A kind of column of a stranger's: one registered class, and schemas, encoding and models know it."""

from typing import ClassVar

import numpy as np
import pytest

from fedavg.data.tables.columns import Boolean
from fedavg.data.tables.columns.interface import Encoded, Field, Handled, no_labels
from fedavg.data.tables.encode import encode
from fedavg.data.tables.schemas.schema import Schema, schema_from
from fedavg.errors import SchemaError
from fedavg.parts import register
from tests.fedavg.support.tables import table


@register("column")
class Grade(Handled, frozen=True, tag="grade-of-a-test", kw_only=True):
    """Letters as numbers: A is 1."""

    policies: ClassVar[frozenset[str]] = frozenset({"auto", "drop"})

    best: str = "A"

    def fields(self, name):
        return (Field(name, bounds=(1.0, 26.0), missing=self.missing),)

    def encode(self, cells):
        codes, words = cells.words()
        places = np.array([*(ord(word) - ord(self.best) + 1.0 for word in words), np.nan])
        return Encoded((places[codes],), np.zeros(len(codes), bool), "a letter")

    def labels(self, cells):
        return no_labels(cells, "a grade")

    def undeclared(self):
        return ""


def test_a_strangers_kind_of_column_is_read_from_a_schema_and_encoded():
    raw = {"kind": "grade-of-a-test", "missing": "drop"}
    schema = schema_from({"target": "y", "columns": {"g": raw, "y": {"kind": "boolean"}}}, "t")
    assert schema.columns["g"] == Grade(missing="drop")
    rows = encode(table(g=["A", "C", ""], y=["no", "yes", "no"]), schema)
    assert rows.values.tolist() == [[1.0], [3.0]]
    assert rows.labels.tolist() == [0, 1]
    with pytest.raises(SchemaError, match="auto, drop"):
        Grade(missing="mean")
    assert isinstance(Schema(columns={"y": Boolean()}).read["y"], Boolean)


def test_a_field_has_categories_or_bounds():
    with pytest.raises(SchemaError, match="has categories and bounds"):
        Field("x", categories=("a",), bounds=(0.0, 1.0))
