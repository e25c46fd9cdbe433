"""A server that wants more of a client than its one block: another, a second one, two in one sum."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.algorithms.blocks.deal import assigned_block
from fedavg.client import blocks as block_training
from fedavg.client import client
from fedavg.client.client import Client
from fedavg.client.update import ClientContext
from fedavg.errors import LocalProtocolError
from fedavg.plan.plan import Limits
from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    round_context,
    start_digest,
)
from fedavg.server.key_holder import KeyHolder
from he import HeError
from secagg import Identity, SecAggError
from tests.e2e.small import SUMS, examples
from tests.fedavg.support.block_plans import CUTS, LAYOUT, MODEL, resolution_with
from tests.hostile.mutants import FOUND, without

N = 24
BLOCKS = CUTS["rolling"]  # two blocks of one length: their vectors could be added
SENT = np.zeros(BLOCKS.lengths[0], dtype="<f4").tobytes()
OWN = {who: assigned_block(BLOCKS, who, 0, N) for who in range(N)}


def enrolled(name):
    resolution = resolution_with(BLOCKS, name=name, n=N)
    identities = {i: Identity.generate() for i in range(N)}
    known = {i: identity.public for i, identity in identities.items()}
    provision = SUMS[name].provision(resolution.spec(N, b"x" * 32), known)
    side = SUMS[name].client_side(provision.clients)
    ctx = ClientContext(resolution, MODEL.build(), LAYOUT, side, 0)
    people = {i: Client(i, examples(5, i), identities[i], ctx) for i in range(N)}
    return resolution, people, provision


def start(block, round_index=0):
    return RoundStart(round_index, SENT, block=block)


def asked_for_anothers_block():
    _, people, _ = enrolled("insecure-plain")
    with pytest.raises(LocalProtocolError, match=r"trains block . in round 0, but was asked for"):
        people[0].handle(encode(start(1 - OWN[0])))
    for wrong in (None, 2, -1):
        with pytest.raises(LocalProtocolError, match="asked for"):
            people[0].handle(encode(start(wrong)))
    reply = people[0].handle(encode(start(OWN[0])))  # nothing has changed by refusing
    assert [decode(r) for r in reply] == [Ready(0)]


def asked_for_two_blocks(attempts=(0, 0)):
    """Both blocks of a client would make √2 of its sensitivity, all B of them √B."""
    resolution, people, _ = enrolled("insecure-plain")
    sent = []
    for block, attempt in zip((OWN[0], 1 - OWN[0]), attempts, strict=True):
        first = RoundStart(0, SENT, block=block, attempt=attempt)
        try:
            people[0].handle(encode(first))
            digest = start_digest(first)
            context = round_context(resolution.digest, 0, 12, digest)
            opening = (
                SUMS["insecure-plain"]
                .server_side(b"")
                .session(resolution.of_block(block).spec(12, context), range(12))
            )
            sent += people[0].handle(encode(SumOpen(0, 12, opening.open()[0][0], attempt)))
        except LocalProtocolError:
            continue
    assert len(sent) == 1
    assert people[0].participations == 1


def summed_with_another_block():
    """One session is offered to clients of both blocks; the clients of the other block do not join."""
    resolution, people, provision = enrolled("secagg")
    for who, person in people.items():
        person.handle(encode(start(OWN[who])))
    context = round_context(resolution.digest, 0, 12, start_digest(start(0)))
    side = SUMS["secagg"].server_side(provision.server)
    offer = side.session(resolution.of_block(0).spec(12, context), range(12)).open()[0][0]
    joined = set()
    for who, person in people.items():
        try:
            person.handle(encode(SumOpen(0, 12, offer)))
            joined.add(OWN[who])
        except SecAggError:
            continue
    assert joined == {0}


def opened_too_often():
    """As many sums a round as blocks, each first message's once."""
    resolution, people, provision = enrolled("bfv")
    for who, person in people.items():
        person.handle(encode(start(OWN[who])))
    holder = KeyHolder(resolution, SUMS["bfv"].key_holder_side(provision.key_holder))
    requests = []
    for block in range(2):
        mine = [who for who in people if OWN[who] == block]
        digest = start_digest(start(block))
        context = round_context(resolution.digest, 0, len(mine), digest)
        spec = resolution.of_block(block).spec(len(mine), context)
        session = SUMS["bfv"].server_side(provision.server).session(spec, mine)
        for who, messages in session.open().items():
            for reply in people[who].handle(encode(SumOpen(0, len(mine), messages[0]))):
                session.receive(who, decode(reply).payload)
        ((_, chunks),) = session.advance().items()
        requests.append(OpenRequest(0, len(mine), digest, tuple(chunks), block=block))
    for request in requests:
        (answer,) = holder.handle(encode(request))
        assert isinstance(decode(answer), SumMessage)
        with pytest.raises(LocalProtocolError, match="was asked for before"):
            holder.handle(encode(request))
    for again in (requests[0], OpenRequest(0, 12, b"another first message", ())):
        with pytest.raises(LocalProtocolError, match="was asked for before"):
            holder.handle(encode(again))


def test_a_client_refuses_a_block_that_it_was_not_dealt():
    asked_for_anothers_block()


def test_mutant_that_trains_whatever_it_is_asked_for(monkeypatch):
    mutant = without(monkeypatch, block_training, "resolution_for", "start.block != own")
    monkeypatch.setattr(client, "resolution_for", mutant)
    with pytest.raises(FOUND):
        asked_for_anothers_block()


ATTEMPTS = pytest.mark.parametrize("attempts", [(0, 0), (0, 1)], ids=["the same", "another"])


@ATTEMPTS
def test_a_client_sends_one_block_a_round(attempts):
    asked_for_two_blocks(attempts)


@ATTEMPTS
def test_mutant_that_answers_a_round_for_every_block(monkeypatch, attempts):
    """Both guards gone: the deal, and one answer a round.  The vector of all sums would move by √2·C."""

    def any_block(resolution, _client_id, asked):
        return resolution.of_block(asked.block)

    for module in (client, block_training):
        monkeypatch.setattr(module, "resolution_for", any_block)
    monkeypatch.setattr("fedavg.client.update.resolution_for", any_block)
    without(monkeypatch, Client, "_train", "self._check_start(start)", "pass")
    with pytest.raises(FOUND):
        asked_for_two_blocks(attempts)


def test_two_blocks_are_never_summed_together():
    summed_with_another_block()


def test_mutant_whose_context_does_not_name_the_block(monkeypatch):
    honest = start_digest

    def blind(message):
        return honest(RoundStart(message.round, message.model, message.clip))

    monkeypatch.setattr(client, "start_digest", blind)
    monkeypatch.setitem(globals(), "start_digest", blind)
    with pytest.raises(FOUND):
        summed_with_another_block()


def test_the_key_holder_opens_each_block_once():
    opened_too_often()


@pytest.mark.parametrize("check", ["request.start_digest in tried", "opened >= count"])
def test_mutant_that_opens_more_often(monkeypatch, check):
    without(monkeypatch, KeyHolder, "handle", check)
    with pytest.raises((*FOUND, HeError)):
        opened_too_often()


def test_without_blocks_a_round_still_has_one_sum():
    resolution = resolution_with(None, name="bfv", n=N, limits=Limits(retries=0))
    provision = SUMS["bfv"].provision(resolution.spec(N, b"x" * 32), {})
    holder = KeyHolder(resolution, SUMS["bfv"].key_holder_side(provision.key_holder))
    with pytest.raises(HeError):
        holder.handle(encode(OpenRequest(0, N, b"one", (b"no sum",))))
    with pytest.raises(LocalProtocolError, match="was asked for before"):
        holder.handle(encode(OpenRequest(0, N, b"two", (b"no sum",))))


def test_the_key_holder_opens_no_sum_of_a_block_that_is_not_there():
    """Each block has vectors of its own length; a request that names none, or another, is refused."""
    cut, whole = (
        enrolled("bfv")[0],
        resolution_with(None, name="bfv", n=N, limits=Limits(retries=0)),
    )
    for resolution, blocks in ((cut, (None, 2, -1)), (whole, (0,))):
        provision = SUMS["bfv"].provision(resolution.spec(N, b"x" * 32), {})
        holder = KeyHolder(resolution, SUMS["bfv"].key_holder_side(provision.key_holder))
        for block in blocks:
            with pytest.raises(LocalProtocolError, match=f"no sum of block {block}"):
                holder.handle(encode(OpenRequest(0, 12, b"one", (), block=block)))
