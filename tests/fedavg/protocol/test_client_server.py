"""A client, a server and a key holder alone: what they refuse, and that refusal changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.client.client import Client
from fedavg.client.update import ClientContext
from fedavg.errors import LocalProtocolError, RoundAbortedError, WireFormatError
from fedavg.models.layout import Layout
from fedavg.plan.resolution import resolve
from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
)
from fedavg.server.key_holder import KeyHolder
from fedavg.server.round import RoundServer
from fedavg.simulation.population import InProcess, Population
from he import HeError
from secagg import Identity
from tests.e2e.small import LENGTH, MODEL, SUMS, clients, examples, federation, plan

MODEL_BYTES = np.zeros(LENGTH, dtype="<f4").tobytes()


def resolution_of(name, n=20, **changes):
    return resolve(
        plan(SUMS[name], **changes),
        num_clients=n,
        vector_length=LENGTH,
        num_rounds=5,
        largest_client=8,
    )


def client_of(name, resolution, client_id=0):
    identities = {i: Identity.generate() for i in range(20)}
    directory = {i: identity.public for i, identity in identities.items()}
    spec = resolution.spec(20, b"x" * 32)
    provision = SUMS[name].provision(spec, directory)
    model = MODEL.build()
    side = SUMS[name].client_side(provision.clients)
    ctx = ClientContext(resolution, model, Layout.of(model), side, 0)
    return Client(client_id, examples(5, 3), identities[client_id], ctx), provision


@pytest.fixture
def trained():
    resolution = resolution_of("insecure-plain")
    client, _ = client_of("insecure-plain", resolution)
    reply = client.handle(encode(RoundStart(3, MODEL_BYTES)))
    assert [decode(r) for r in reply] == [Ready(3)]
    return client


def test_a_client_answers_a_round_once(trained):
    for index in (3, 2):
        with pytest.raises(LocalProtocolError, match="was in round"):
            trained.handle(encode(RoundStart(index, MODEL_BYTES)))


@pytest.mark.parametrize("size", [0, 1, 100, 10**6])
def test_a_client_refuses_rosters_outside_the_plan(size):
    """A roster said to be huge would shrink the noise share; a tiny one would expose the update."""
    resolution = resolution_of("secagg")
    client, _ = client_of("secagg", resolution)
    client.handle(encode(RoundStart(0, MODEL_BYTES)))
    with pytest.raises(LocalProtocolError, match="outside the plan"):
        client.handle(encode(SumOpen(0, size, b"")))


def test_a_mutant_without_the_roster_check_would_shrink_its_noise():
    """What the check above stops: the share that a client would add if told of a million clients."""
    from fedavg.encoding.fixed_point import FixedPoint
    from fedavg.privacy.noise import DistributedGaussian

    resolution = resolution_of(
        "secagg", n=60, encoding=FixedPoint(0.5, 9), noise=DistributedGaussian(1.0)
    )
    honest = resolution.share_stddev(60)
    assert resolution.share_stddev(10**6) < honest / 100


@pytest.mark.parametrize(
    "message",
    [
        SumOpen(2, 20, b""),  # another round
        SumMessage(3, b"x"),  # no session yet
        Ready(3),  # a client's own word
        OpenRequest(3, 20, b"", ()),  # for the key holder
    ],
)
def test_messages_at_a_wrong_time_change_nothing(trained, message):
    with pytest.raises(LocalProtocolError):
        trained.handle(encode(message))
    assert trained.participations == 0
    with pytest.raises(LocalProtocolError, match="another round or model"):
        trained.handle(encode(SumOpen(3, 20, b"not the opening")))


def test_junk_is_no_message(trained):
    with pytest.raises(WireFormatError):
        trained.handle(b"\x00junk")


def test_a_model_of_another_size_is_refused():
    client, _ = client_of("insecure-plain", resolution_of("insecure-plain"))
    with pytest.raises(LocalProtocolError, match="parameters"):
        client.handle(encode(RoundStart(0, MODEL_BYTES[:-4])))


def test_clients_with_another_model_are_not_summed_with():
    """The server shows one client another model: it holds another context, and its part is refused."""
    run = federation(SUMS["secagg"])
    resolution = run.resolve(1)
    population = Population(clients(20), run._faults)
    provision = SUMS["secagg"].provision(resolution.spec(20, b""), population.publics())
    model = MODEL.build()
    transport = InProcess(population, model, Layout.of(model))
    transport.equip(resolution, provision.clients, 0, None)
    transport.begin_round(0)
    server = RoundServer(
        resolution,
        SUMS["secagg"].server_side(provision.server),
        start=RoundStart(0, MODEL_BYTES),
        cohort=range(20),
    )
    trap = np.ones(LENGTH, dtype="<f4").tobytes()
    opening = server.open()
    opening[7] = (encode(RoundStart(0, trap)),)
    outgoing = opening
    failures = {}
    while outgoing:
        for delivery in transport.exchange(outgoing):
            if delivery.failure:
                failures[delivery.party] = delivery.failure
            for message in delivery.messages:
                server.receive(delivery.party, message)
        outgoing = server.advance()
    assert 7 not in server.result().survivors
    assert list(failures) == [7]


def server_of(name="insecure-plain", cohort=range(20)):
    resolution = resolution_of(name)
    side = SUMS[name].server_side(b"")
    return RoundServer(resolution, side, start=RoundStart(4, MODEL_BYTES), cohort=cohort)


def test_the_server_takes_only_what_it_awaits():
    server = server_of()
    server.open()
    for sender, message in [(77, Ready(4)), (1, Ready(3)), (1, SumMessage(4, b"x"))]:
        with pytest.raises(LocalProtocolError):
            server.receive(sender, encode(message))
    with pytest.raises(WireFormatError):
        server.receive(1, b"")
    assert server.silent == frozenset(range(20))
    server.receive(1, encode(Ready(4)))
    assert server.silent == frozenset(range(20)) - {1}
    assert server.roster == ()  # it is fixed when the sum begins
    with pytest.raises(LocalProtocolError, match="still open"):
        server.result()


def test_too_few_ready_clients_end_the_round():
    resolution = resolution_of("secagg")
    side = SUMS["secagg"].server_side(b"\x80")
    server = RoundServer(resolution, side, start=RoundStart(0, MODEL_BYTES), cohort=range(20))
    server.open()
    server.receive(1, encode(Ready(0)))
    with pytest.raises(RoundAbortedError, match="1 clients are ready"):
        server.advance()


def key_holder():
    resolution = resolution_of("bfv")
    _, provision = client_of("bfv", resolution)
    return KeyHolder(resolution, SUMS["bfv"].key_holder_side(provision.key_holder))


def test_the_key_holder_opens_a_round_once_and_no_small_roster():
    holder = key_holder()
    with pytest.raises(LocalProtocolError, match="outside the plan"):
        holder.handle(encode(OpenRequest(0, 1, b"m" * 32, ())))
    with pytest.raises(LocalProtocolError, match="only opens sums"):
        holder.handle(encode(Ready(0)))
    with pytest.raises(HeError):
        holder.handle(encode(OpenRequest(1, 20, b"m" * 32, (b"junk",))))
    with pytest.raises(LocalProtocolError, match="asked for before"):
        holder.handle(encode(OpenRequest(1, 20, b"m" * 32, ())))
