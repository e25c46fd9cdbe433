"""Dotted keys and their types, for both forms of configuration."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.errors import ConfigError
from fedavg.studies.trials.clients import CLIENTS
from fedavg.studies.trials.records import RECORDS
from fedavg.studies.trials.settings import dotted, flatten, nested, typed, usual

NAMES = st.text("abc", min_size=1, max_size=3)


@given(
    st.dictionaries(NAMES, st.integers()),
    st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(), min_size=1)),
)
def test_dotted_keys_and_nested_tables_are_the_same(top, tables):
    whole = {key: value for key, value in top.items() if key not in tables} | tables
    assert nested(dotted(whole)) == whole


def test_flattened_records_lie_over_the_default_again():
    trial = RECORDS.trial({"records.unit": "person", "records.epsilon": 2.0, "steps": 7})
    again = RECORDS.trial({k: v for k, v in flatten(trial.config).items() if v is not None})
    assert msgspec.to_builtins(again) == msgspec.to_builtins(trial)
    assert usual(RECORDS)["records.unit"] == "record"


@pytest.mark.parametrize(
    ("form", "key", "value", "said"),
    [
        (RECORDS, "records.epsilom", 1.0, "Do you mean 'epsilon'"),
        (RECORDS, "record.epsilon", 1.0, "Do you mean 'records'"),
        (RECORDS, "rounds", 3, "rounds"),
        (RECORDS, "privacy.epsilon", 1.0, "privacy"),
        (RECORDS, "records.epsilon", "3", "records.epsilon"),
        (RECORDS, "records.unit", "row", "records.unit"),
        (RECORDS, "records.rows", True, "records.rows"),
        (RECORDS, "secure_sum.kind", "seccagg", "secagg"),
        (CLIENTS, "records.epsilon", 1.0, "records"),
        (CLIENTS, "steps", 3, "steps"),
    ],
)
def test_a_mistake_is_named_with_its_key(form, key, value, said):
    with pytest.raises(ConfigError, match=said):
        typed(form, key, value)


def test_values_take_the_type_of_their_key():
    assert type(typed(RECORDS, "records.epsilon", 3)) is float
    assert typed(RECORDS, "robust.groups", 3) == 3
