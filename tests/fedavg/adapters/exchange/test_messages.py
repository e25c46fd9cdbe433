"""Requests and replies as bytes."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.adapters.exchange.messages import (
    Reply,
    Request,
    Round,
    Stage,
    read_reply,
    read_request,
)
from fedavg.errors import WireFormatError

FACTS = Round("run", 1, "train", 4, 10, bytes(32))


def test_they_come_back():
    request = Request.about(Stage.OPEN, FACTS, b"a" * 32, b"body")
    assert read_request(request.to_bytes()) == request
    assert request.facts("run", "train") == FACTS
    reply = Reply(7, (b"one", b"two"))
    assert read_reply(reply.to_bytes()) == reply


def test_answers_are_counted_for_an_agreement_and_a_kind_alone():
    """Run, number and content of a round change the order in which slots are tried, and no slot."""
    of = {
        frozenset(replace(FACTS, **changes).slot_facts(b"a" * 32, 20))
        for changes in ({}, {"run": "another"}, {"number": 17}, {"content": bytes(31) + b"1"})
    }
    assert len(of) == 1
    assert len(next(iter(of))) == 20
    other = replace(FACTS, kind="evaluate")
    assert not next(iter(of)) & set(other.slot_facts(b"a" * 32, 20))
    assert not next(iter(of)) & set(FACTS.slot_facts(b"b" * 32, 20))
    assert replace(FACTS, run="another").model_fact(b"", b"", 0) == FACTS.model_fact(b"", b"", 0)


@given(st.binary(max_size=80))
def test_other_bytes_are_refused_with_one_kind_of_error(data):
    for read in (read_request, read_reply):
        for head in (b"", b"FXR1", b"FXA1"):
            with contextlib.suppress(WireFormatError):
                read(head + data)


@pytest.mark.parametrize(
    "changes",
    [
        {"agreement": b""},
        {"content": bytes(31)},
        {"number": -1},
        {"asked": 1 << 32},
        {"length": -5},
        {"stage": "train"},
    ],
)
def test_odd_requests_are_refused(changes):
    good = msgspec.structs.asdict(Request.about(Stage.NAME, FACTS, bytes(32)))
    with pytest.raises(WireFormatError):
        read_request(b"FXR1" + msgspec.msgpack.encode(list({**good, **changes}.values())))


@pytest.mark.parametrize("data", [b"", b"FXA1", b"FXR1\x92\x01\x90", "FXA1", None])
def test_no_reply(data):
    with pytest.raises(WireFormatError, match="reply"):
        read_reply(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "another"},
        {"number": 2},
        {"kind": "evaluate"},
        {"asked": 5},
        {"length": 11},
        {"content": b"1" * 32},
    ],
)
def test_every_fact_is_in_the_name_of_the_sum(changes):
    other = replace(FACTS, **changes)
    assert other.context(bytes(32)) != FACTS.context(bytes(32))


def test_the_agreement_is_in_the_name_of_the_sum():
    assert FACTS.context(bytes(32)) != FACTS.context(b"1" * 32)


def test_a_fact_holds_under_every_content_and_every_number_of_nodes():
    other = replace(FACTS, content=b"1" * 32, asked=5, length=11)
    assert other.fact("contributes") == FACTS.fact("contributes")
    assert len({FACTS.fact("a"), FACTS.fact("b"), replace(FACTS, number=2).fact("a")}) == 3


def test_parts_of_a_name_do_not_run_together():
    one, other = replace(FACTS, run="ab", kind="c"), replace(FACTS, run="a", kind="bc")
    assert one.context(bytes(32)) != other.context(bytes(32))
    assert one.fact("x") != other.fact("x")
