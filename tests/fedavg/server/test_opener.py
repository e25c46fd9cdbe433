"""Openers: bounds of their own, one context for one sum, and nothing twice after a restart."""

from __future__ import annotations

import pytest

import secagg
from fedavg.errors import FedAvgError, LocalProtocolError
from fedavg.plan.resolution import resolve
from fedavg.protocol.messages import OpenRequest, Ready, encode, round_context
from fedavg.server.opener import Opener
from fedavg.sums.sides.others import MemoryJournal
from tests.e2e.small import LENGTH, SUMS, plan

RESOLVED = resolve(
    plan(SUMS["one-shot"]), num_clients=40, vector_length=LENGTH, num_rounds=3, largest_client=8
)


class Recording:
    """A side whose sessions note what they were opened for."""

    def __init__(self):
        self.specs, self.journals = [], []

    def session(self, spec, journal):
        self.specs.append(spec)
        self.journals.append(journal)
        return self

    def receive(self, messages):
        return tuple(messages)


def request(round_index=0, roster_size=None, digest=b"d" * 32, chunks=(b"x",), attempt=0):
    size = RESOLVED.bounds.floor if roster_size is None else roster_size
    return encode(OpenRequest(round_index, size, digest, chunks, attempt))


def opener():
    side = Recording()
    return Opener(RESOLVED, side, MemoryJournal()), side


def test_a_helper_computes_the_context_itself():
    one, side = opener()
    one.handle(request())
    floor = RESOLVED.bounds.floor
    context = round_context(RESOLVED.digest, 0, floor, b"d" * 32)
    assert side.specs == [RESOLVED.spec(floor, context)]


def test_messages_of_one_sum_reach_one_session():
    one, side = opener()
    for chunk in (b"delivery", b"proposal", b"request"):
        one.handle(request(chunks=(chunk,)))
    assert len(side.specs) == 1
    one.handle(request(digest=b"e" * 32))
    assert len(side.specs) == 2
    assert side.journals[0] is side.journals[1]


def test_v12_another_number_of_clients_is_another_sum():
    one, side = opener()
    floor = RESOLVED.bounds.floor
    one.handle(request())
    one.handle(request(roster_size=floor + 1))
    assert side.specs[0].context != side.specs[1].context


@pytest.mark.parametrize("beyond", [-1, 1])
def test_rosters_outside_the_plans_bounds_are_refused(beyond):
    bounds = RESOLVED.bounds
    size = bounds.floor - 1 if beyond < 0 else bounds.cap + 1
    one, side = opener()
    with pytest.raises(LocalProtocolError, match="outside the plan's bounds"):
        one.handle(request(roster_size=size))
    assert side.specs == []


@pytest.mark.parametrize("block", [0, 7, 2**31])
def test_a_sum_of_a_block_that_the_plan_does_not_have_is_refused(block):
    one, side = opener()
    floor = RESOLVED.bounds.floor
    with pytest.raises(LocalProtocolError, match=f"no sum of block {block}"):
        one.handle(encode(OpenRequest(0, floor, b"d" * 32, (b"x",), 0, block)))
    assert side.specs == []


@pytest.mark.parametrize("message", [encode(Ready(0)), b"", b"rubbish"])
def test_other_messages_are_refused(message):
    with pytest.raises(FedAvgError):
        opener()[0].handle(message)


def test_a_member_refuses_what_is_no_message_of_its_sum():
    sums = RESOLVED.plan.secure_sum
    largest = RESOLVED.spec(RESOLVED.bounds.cap, RESOLVED.digest)
    given = sums.provision(largest, {1: secagg.Identity.generate().public})
    material = next(iter(given.openers.values()))
    member = Opener(RESOLVED, sums.opener_side(material), MemoryJournal())
    with pytest.raises(secagg.RemoteProtocolError):
        member.handle(request())
