"""A ledger's file with any one value replaced: a ledger that charges as much, or a typed refusal."""

from __future__ import annotations

import copy
import json

import pytest

from dp import DpError, GaussianEvent, InvalidParameterError, Ledger, PoissonSampling, SharedLedger
from dp.ledgers import ledger as ledger_module

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


def file_of_one_charge(path):
    """A label with an escape, since "\\u00e9" and "\\u00E9" are one string, and a number with an exponent."""
    shared = SharedLedger.create(path, Ledger(2.5, 1e-5))
    shared.charge(GaussianEvent(2.0), label="pilot é")
    return path.read_bytes()


def flipped(data):
    """The data with each of their bits flipped, one at a time."""
    for place, byte in enumerate(data):
        for bit in range(8):
            yield data[:place] + bytes([byte ^ 1 << bit]) + data[place + 1 :]


def accepted(path, data):
    """The upper ε that each copy with one flipped bit shows, of those that are accepted at all."""
    shown = []
    for changed in flipped(data):
        path.write_bytes(changed)
        try:
            shown.append(SharedLedger(path).upper_spent())
        except DpError:
            continue
    return shown


def test_every_flipped_bit_is_refused_with_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "ledger.json"
    data = file_of_one_charge(path)
    assert len(data) > 300
    for changed in flipped(data):
        path.write_bytes(changed)
        with pytest.raises(InvalidParameterError, match=r"ledger\.json is no intact .*Put back"):
            SharedLedger(path)
    path.write_bytes(data)
    SharedLedger(path).charge(GaussianEvent(50.0))


def test_each_charge_refuses_a_flipped_bit_and_leaves_the_file(tmp_path):
    path = tmp_path / "ledger.json"
    data = file_of_one_charge(path)
    opened = SharedLedger(path)
    changed = data.replace(b'"count": 1', b'"count": 0')
    path.write_bytes(changed)
    for ask in (opened.spent, opened.read, lambda: opened.charge(GaussianEvent(50.0))):
        with pytest.raises(InvalidParameterError, match="does not agree with its digest"):
            ask()
    assert path.read_bytes() == changed


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"1e-05", b"1E-05"),
        lambda data: data.replace(b"u00e9", b"u00E9"),
        lambda data: data + b"\n",
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data.replace(b'"version": 3', b'"version": 3.0'),
        lambda data: data.replace(b"{", b'{"epsilon": 9.0, ', 1),
        lambda data: data[: len(data) // 2],
    ],
)
def test_a_file_in_another_form_is_refused(change, tmp_path):
    path = tmp_path / "ledger.json"
    data = file_of_one_charge(path)
    assert change(data) != data
    path.write_bytes(change(data))
    with pytest.raises(InvalidParameterError, match="no intact ledger"):
        Ledger.load(path)


def test_a_file_without_a_digest_is_read_and_gets_one_at_the_next_charge(tmp_path):
    path = tmp_path / "ledger.json"
    content = json.loads(file_of_one_charge(path))
    del content["digest"]
    path.write_text(json.dumps(content, indent=1))
    older = SharedLedger(path)
    assert len(older.read().history) == 1
    older.charge(GaussianEvent(50.0))
    assert len(json.loads(path.read_bytes())["digest"]) == 64
    assert [charge.label for charge in SharedLedger(path).read().history] == ["pilot é", ""]


def test_mutant_without_the_comparison_shows_less_than_was_spent(tmp_path, monkeypatch):
    path = tmp_path / "ledger.json"
    data = file_of_one_charge(path)
    spent = SharedLedger(path).upper_spent()

    def trusting(raw):
        try:
            content = json.loads(raw)
        except ValueError as cause:
            raise InvalidParameterError("it is not JSON") from cause
        content.pop("digest", None)
        return content

    monkeypatch.setattr(ledger_module, "from_file", trusting)
    shown = accepted(path, data)
    assert sum(one < spent for one in shown) > 5
    assert min(shown) < 0.5 * spent
