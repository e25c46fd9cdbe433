"""The server of a step and the key holder: stages, rosters, and refusals that change nothing."""

from __future__ import annotations

import pytest

from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.protocol.messages import OpenRequest, Ready, RoundStart, SumMessage, decode, encode
from fedavg.records.server import StepKeyHolder, StepServer
from fedavg.sums.encrypted import Bfv
from tests.fedavg.records.small import federation, resolved

MODEL = bytes(72)
IDS = (10, 11, 12, 13)


def server() -> StepServer:
    found = resolved(4)
    side = found.plan.secure_sum.server_side(b"")
    return StepServer(found, side, RoundStart(0, MODEL), IDS)


def test_a_step_begins_with_the_model_for_every_silo():
    one = server()
    assert one.stage == "gradients"
    assert not one.collecting
    assert one.convictions == ()
    opened = one.open()
    assert list(opened) == list(IDS)
    assert decode(opened[10][0]) == RoundStart(0, MODEL)


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (10, Ready(1)),
        (10, Ready(0, 1)),
        (99, Ready(0)),
        (10, SumMessage(0, b"")),
        (10, RoundStart(0, MODEL)),
    ],
)
def test_messages_that_are_not_awaited_are_refused(sender, message):
    one = server()
    one.open()
    with pytest.raises(LocalProtocolError):
        one.receive(sender, encode(message))
    assert one.silent == frozenset(IDS)


def test_silos_that_are_not_ready_are_left_out_before_anything_left():
    one = server()
    one.open()
    for silo in (10, 12, 13):
        one.receive(silo, encode(Ready(0)))
    assert one.silent == {11}
    assert set(one.advance()) == {10, 12, 13}
    assert one.roster == (10, 12, 13)
    with pytest.raises(LocalProtocolError, match="still open"):
        one.result()
    with pytest.raises(LocalProtocolError, match="not awaited"):
        one.receive(11, encode(Ready(0)))


def test_too_few_silos_give_no_sum():
    one = server()
    one.open()
    one.receive(10, encode(Ready(0)))
    with pytest.raises(RoundAbortedError, match="1 silos are ready; a sum takes 3 … 4"):
        one.advance()
    assert one.roster == ()


def test_the_key_holder_opens_one_sum_for_each_attempt():
    run = federation(secure_sum=Bfv(dropout_rate=0.0))
    holder = run._parties.key_holder
    request = encode(OpenRequest(0, 4, b"digest", ()))
    with pytest.raises(Exception, match=r"."):  # no chunks, so there is no sum
        holder.handle(request)
    with pytest.raises(LocalProtocolError, match="was asked for before"):
        holder.handle(request)


@pytest.mark.parametrize("size", [2, 5])
def test_the_key_holder_refuses_rosters_outside_the_bounds(size):
    holder = StepKeyHolder(resolved(4), None)
    with pytest.raises(LocalProtocolError, match="outside the plan's bounds"):
        holder.handle(encode(OpenRequest(0, size, b"", ())))
    with pytest.raises(LocalProtocolError, match="only opens sums"):
        holder.handle(encode(Ready(0)))
