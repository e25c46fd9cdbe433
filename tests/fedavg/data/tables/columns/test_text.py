"""Free text is left out, or becomes the presence of words in buckets that are asked for."""

import numpy as np
import pytest

from fedavg.data.tables.columns import Text
from fedavg.data.tables.columns.category import bucket_of
from fedavg.errors import DataError, SchemaError
from tests.fedavg.support.tables import cells


def test_text_is_left_out_unless_buckets_are_asked_for():
    assert Text().fields("note") == ()
    assert Text().encode(cells(["a b"])).arrays == ()


def test_words_set_their_buckets_whatever_their_case_and_order():
    column = Text(buckets=64)
    encoded = column.encode(cells(["Chest pain", "PAIN, chest!", "fever", ""], heading="note"))
    rows = np.stack(encoded.arrays, axis=1)
    assert rows.shape == (4, 64)
    assert (rows[0] == rows[1]).all()
    assert set(np.flatnonzero(rows[0])) == {bucket_of("chest", 64), bucket_of("pain", 64)}
    assert not rows[3].any()
    assert "3 words in 64 buckets" in encoded.notes[0]
    assert len(column.fields("note")) == 64


def test_words_that_share_a_bucket_are_counted():
    encoded = Text(buckets=2).encode(cells(["a b c d"]))
    assert "share one with another word" in encoded.notes[0]
    assert "of which 0" not in encoded.notes[0]


def test_what_text_cannot_be():
    with pytest.raises(SchemaError, match="buckets must be 2 or more, or 0"):
        Text(buckets=1)
    with pytest.raises(DataError, match="declared as text"):
        Text().labels(cells(["a"]))
    assert not Text().undeclared()
