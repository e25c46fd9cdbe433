"""A ledger's file with any one value replaced: a ledger that charges as much, or a typed refusal."""

from __future__ import annotations

import copy
import json

import pytest

from dp import DpError, GaussianEvent, InvalidParameterError, Ledger, PoissonSampling, SharedLedger

WRONG = [None, True, -1, 0, "x", [], {}, 2**70, -0.0, 1.5, float("nan"), ...]


def state():
    ledger = Ledger(5.0, 1e-5)
    ledger.charge(GaussianEvent(2.0, PoissonSampling(0.1)), 3)
    return ledger.state_dict()


def places(value, path=()):
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@pytest.mark.parametrize("path", list(places(state())), ids=str)
def test_one_wrong_value_has_a_typed_answer(path, tmp_path):
    file = tmp_path / "ledger.json"
    for wrong in WRONG:
        changed = copy.deepcopy(state())
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        if wrong is ...:
            del inner[path[-1]]
        else:
            inner[path[-1]] = wrong
        file.write_text(json.dumps(changed))
        try:
            Ledger.load(file).spent()
        except DpError:
            continue


def test_places_from_the_end_are_none():
    changed = state()
    changed["history"][0][0] = -1
    with pytest.raises(InvalidParameterError):
        Ledger.from_state_dict(changed)


def test_an_event_that_is_no_object_is_refused():
    changed = state()
    changed["events"][0]["event"] = "GaussianEvent"
    with pytest.raises(
        InvalidParameterError, match="an event is an object with its kind and fields"
    ):
        Ledger.from_state_dict(changed)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"null", b'{"a":' + b"[" * 100_000])
def test_what_is_no_json_is_refused(raw, tmp_path):
    file = tmp_path / "ledger.json"
    file.write_bytes(raw)
    with pytest.raises(InvalidParameterError):
        Ledger.load(file)
    with pytest.raises(InvalidParameterError):
        SharedLedger(file).charge(GaussianEvent(1.0))
