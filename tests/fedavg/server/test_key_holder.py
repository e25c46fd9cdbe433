"""The key holder over an agreement, here that of silos: one opening of a round, also after a restart."""

from __future__ import annotations

import pytest

from fedavg.errors import LocalProtocolError
from fedavg.protocol.messages import OpenRequest, Ready, encode
from fedavg.server.key_holder import KeyHolder
from fedavg.sums.encrypted import Bfv
from fedavg.sums.interface import KEY_HOLDER
from fedavg.sums.sides.others import MemoryJournal
from tests.fedavg.records.small import federation, resolved


class Opening:
    """A side that opens every sum."""

    def session(self, _):
        return self

    def receive(self, messages):
        return tuple(messages)


def test_the_key_holder_opens_one_sum_for_each_attempt():
    run = federation(secure_sum=Bfv(dropout_rate=0.0))
    holder = run._parties.others[KEY_HOLDER]
    request = encode(OpenRequest(0, 4, b"digest", ()))
    with pytest.raises(Exception, match=r"."):  # no chunks, so there is no sum
        holder.handle(request)
    with pytest.raises(LocalProtocolError, match="was asked for before"):
        holder.handle(request)


def test_the_key_holder_has_one_sum_a_round_for_each_block_and_attempt():
    found = resolved(4)
    holder = KeyHolder(found, Opening())
    assert holder.handle(encode(OpenRequest(0, 4, b"first", (b"sum",))))
    with pytest.raises(LocalProtocolError, match="was asked for before"):  # it was opened
        holder.handle(encode(OpenRequest(0, 3, b"second", (b"sum",), 1)))
    with pytest.raises(LocalProtocolError, match="allows no attempt 4"):
        holder.handle(encode(OpenRequest(1, 4, b"third", (b"sum",), 4)))
    with pytest.raises(LocalProtocolError, match="no sum of group 0"):
        holder.handle(encode(OpenRequest(1, 4, b"fourth", (b"sum",), 0, 0)))
    assert holder.handle(encode(OpenRequest(1, 4, b"fifth", (b"sum",))))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_journal_outlives_the_key_holder(restarted):
    found, journal = resolved(4), MemoryJournal()
    holder = KeyHolder(found, Opening(), journal)
    holder.handle(encode(OpenRequest(0, 4, b"first", (b"sum",))))
    if restarted:
        holder = KeyHolder(found, Opening(), journal)
    with pytest.raises(
        LocalProtocolError, match="before the key holder's restart|asked for before"
    ):
        holder.handle(encode(OpenRequest(0, 4, b"second", (b"sum",), 1)))


@pytest.mark.parametrize("size", [2, 5])
def test_the_key_holder_refuses_rosters_outside_the_bounds(size):
    holder = KeyHolder(resolved(4), None)
    with pytest.raises(LocalProtocolError, match="outside the plan's bounds"):
        holder.handle(encode(OpenRequest(0, size, b"", ())))
    with pytest.raises(LocalProtocolError, match="only opens sums"):
        holder.handle(encode(Ready(0)))
