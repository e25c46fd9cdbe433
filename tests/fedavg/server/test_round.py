"""The server of a round, here with the agreement of silos: stages, rosters, and harmless refusals."""

from __future__ import annotations

import pytest

from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.protocol.messages import Ready, RoundStart, SumMessage, decode, encode
from fedavg.server.round import RoundServer
from tests.fedavg.records.small import resolved

MODEL = bytes(72)
IDS = (10, 11, 12, 13)


def server() -> RoundServer:
    found = resolved(4)
    side = found.plan.secure_sum.server_side(b"")
    start = RoundStart(0, MODEL)
    return RoundServer(found, side, start=start, cohort=IDS, stage="gradients", members="silos")


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
    with pytest.raises(RoundAbortedError, match="1 silos are ready; a round takes 3 … 4"):
        one.advance()
    assert one.roster == ()
