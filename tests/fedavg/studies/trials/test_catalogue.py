"""The form of a study follows from the tables that it has."""

from __future__ import annotations

import pytest

from fedavg.config.settings import Config
from fedavg.errors import ConfigError
from fedavg.runs.records.settings import RecordRun
from fedavg.studies.trials.catalogue import FORMS, form_of
from fedavg.studies.trials.clients import CLIENTS
from fedavg.studies.trials.records import RECORDS
from fedavg.studies.trials.settings import required, usual


@pytest.mark.parametrize(
    ("keys", "form"),
    [
        ([], CLIENTS),
        (["rounds", "privacy.epsilon"], CLIENTS),
        (["records"], RECORDS),
        (["seed", "records.epsilon"], RECORDS),
        (["robust.kind"], CLIENTS),
    ],
)
def test_the_first_form_whose_required_tables_are_there(keys, form):
    assert form_of(keys) is form


def test_a_table_that_nearly_decides_the_form_is_asked_about():
    with pytest.raises(ConfigError, match="unknown key 'recordss'. Do you mean 'records'"):
        form_of(["recordss.epsilon", "steps"])


def test_every_study_has_a_form():
    assert required(FORMS[-1].root) == frozenset()
    assert required(RecordRun) == {"records"}
    assert required(Config) == frozenset()


@pytest.mark.parametrize("form", FORMS)
def test_the_columns_are_the_values_of_a_cell(form):
    from typing import get_type_hints

    values = set()
    for name in ("check", "measure"):
        kind = type(form.trial(dict(form.example)))
        values |= set(get_type_hints(getattr(kind, name))["return"].__struct_fields__)
    assert values - {"warnings"} == set(form.columns)
    assert len(set(form.columns)) == len(form.columns)
    assert {observer.column for observer in form.words.observers} <= set(form.columns)
    assert form.words.axis in form.words.observers
    assert {form.words.count, form.words.lost} <= set(form.columns)
    assert set(form.strength) <= set(usual(form))
    assert set(form.without_effect) <= set(usual(form))
