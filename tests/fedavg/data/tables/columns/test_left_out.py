"""Identifiers and ignored columns become nothing and cannot be predicted."""

import pytest

from fedavg.data.tables.columns import Identifier, Ignored
from fedavg.errors import DataError
from tests.fedavg.support.tables import cells


@pytest.mark.parametrize("column", [Identifier(), Ignored()])
def test_what_is_left_out_becomes_nothing(column):
    assert column.fields("id") == ()
    encoded = column.encode(cells(["1", "x"]))
    assert encoded.arrays == ()
    assert not encoded.odd.any()
    assert not column.undeclared()
    with pytest.raises(DataError, match="only a number, a category or a boolean can be predicted"):
        column.labels(cells(["1"]))
