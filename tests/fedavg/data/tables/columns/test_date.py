"""Columns of dates: days, months, weekdays and hours, checked against the calendar of Python's datetime."""

import math
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.data.tables.columns import Date
from fedavg.data.tables.columns.date import days_of
from fedavg.errors import DataError, SchemaError
from tests.fedavg.support.tables import cells

EPOCH = datetime.fromisoformat("1970-01-01")
ALL = ("days", "month", "weekday", "hour")


@given(
    st.datetimes(EPOCH - timedelta(days=60_000), EPOCH + timedelta(days=80_000)).map(
        lambda moment: moment.replace(microsecond=0)
    )
)
def test_every_part_is_the_calendars(moment):
    arrays = Date(parts=ALL).encode(cells([moment.isoformat()])).arrays
    assert arrays[0][0] == pytest.approx((moment - EPOCH) / timedelta(days=1), abs=1e-9)
    assert [int(part[0]) for part in arrays[1:]] == [
        moment.month - 1,
        moment.weekday(),
        moment.hour,
    ]


def test_names_of_the_fields_say_which_part_they_are():
    fields = Date(parts=ALL, bounds=("2020-01-01", "2020-12-31")).fields("seen")
    assert [field.name for field in fields] == [f"seen {part}" for part in ALL]
    assert fields[0].bounds == (days_of("2020-01-01", "iso"), days_of("2020-12-31", "iso"))
    assert [len(field.categories) for field in fields] == [0, 12, 7, 24]
    assert fields[2].categories[0] == "Mon"


def test_a_pattern_is_kept_to_and_other_cells_are_odd():
    column = Date(parts=("days", "month"), pattern="%d/%m/%Y")
    encoded = column.encode(cells(["31/01/1970", "2020-01-01", "", "30/02/2020"]))
    assert encoded.arrays[0][0] == 30
    assert encoded.odd.tolist() == [False, True, False, True]
    assert "%d/%m/%Y" in encoded.wanted
    assert np.isnan(encoded.arrays[1][1:]).all()


def test_days_beyond_the_bounds_are_clamped_and_counted():
    column = Date(parts=("days",), bounds=("2020-01-01", "2020-12-31"))
    encoded = column.encode(cells(["2019-05-05", "2020-06-01"], heading="seen"))
    assert encoded.arrays[0][0] == days_of("2020-01-01", "iso")
    assert "1 of 2 values lie beyond" in encoded.notes[0]


def test_dates_that_the_file_knows_are_those_of_the_text():
    moments = [datetime.fromisoformat("2020-02-29T13:30:00"), None]
    stored = cells(moments, kind=pa.timestamp("ns"))
    text = cells(["2020-02-29T13:30:00", ""])
    for ours, theirs in zip(
        Date(parts=ALL).encode(stored).arrays, Date(parts=ALL).encode(text).arrays, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    zoned = cells(["2020-02-29T13:30:00+02:00"])
    assert Date(parts=("hour",)).encode(zoned).arrays[0].tolist() == [11]


def test_a_constant_is_a_day_and_fills_every_part():
    column = Date(parts=("days", "weekday"), missing="constant", fill="1970-01-05")
    assert [field.fill for field in column.fields("d")] == [4, 0]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"parts": ()}, "parts of a date must be"),
        ({"parts": ("days", "days")}, "each once"),
        ({"pattern": "dd/mm"}, "must be 'iso', or one such as"),
        ({"bounds": ("2021-01-01", "2020-01-01")}, "first and its last"),
        ({"bounds": ("soon", "later")}, "not as 'soon'"),
        ({"missing": "constant", "fill": "x"}, "not as 'x'"),
        ({"missing": "most_frequent"}, "no missing = 'most_frequent'"),
    ],
)
def test_dates_that_contradict_themselves(arguments, word):
    with pytest.raises(SchemaError, match=word):
        Date(**arguments)


def test_dates_are_not_predicted_and_their_days_need_bounds():
    with pytest.raises(DataError, match="declared as a date"):
        Date().labels(cells(["2020-01-01"]))
    assert Date().undeclared() == "bounds"
    assert not Date(parts=("month",)).undeclared()
    assert math.isnan(days_of("9999-99-99", "iso"))
