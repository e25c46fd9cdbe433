"""S20: no key, seed, share or input is in reach of the frames of an exception of secagg."""

from __future__ import annotations

import dataclasses
import traceback
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import secagg.guards.calls
from secagg import (
    Client,
    Identity,
    InternalError,
    LocalProtocolError,
    Phase,
    RemoteProtocolError,
    SecAggError,
    Server,
    TrustServerDirectory,
    simulate,
)
from secagg.crypto.ephemeral import Ephemeral
from secagg.crypto.keys import AgreementKey, Secret
from secagg.crypto.ring import ring_dtype
from secagg.wire.codec import decode
from tests.hostile.leftovers import Leftovers, passed_on
from tests.hostile.mutants import FOUND
from tests.hostile.secagg.lying_server.test_roster import tampered
from tests.secagg.support.lab import ANY_OFFER, CONTEXT, Lab
from tests.secagg.support.snapshots import fork_client, fork_server

LEFTOVERS = Leftovers(secagg, SecAggError, (Client, Identity, Ephemeral, Secret, AgreementKey))
failures = LEFTOVERS.failures
INPUT = np.array([424, 717, 313, 999])  # the same numbers as words of a ring


# Search ----------------------------------------------------------------------------------------------


def secrets_of(client):
    """The bytes that a client must not leave behind."""
    held = client._secrets
    found = [held.seed, held.own_share, *held.routes.values(), *held.held.values()]
    found += [key.private_bytes() for key in (held.channel, held.mask) if key is not None]
    found += [held.identity.private_bytes(), *held.due.values()]
    return [secret for secret in found if secret]


def left_behind(error, secrets, vector=INPUT):
    """What an exception lets one reach: secrets, and objects that hold them."""
    return LEFTOVERS.left_behind(error, secrets, vector)


def words_of(client):
    """The input as the client holds it."""
    return INPUT.astype(ring_dtype(client.params.ring_bits))


# Failures --------------------------------------------------------------------------------------------


def at(phase):
    """Prepares a client of a session for its message of a phase, again and again."""
    lab = Lab(4, dropout_rate=0.25, corrupt_rate=0.25)
    for client in lab.clients.values():
        client._secrets.input = words_of(client)
    lab.run_to(phase)
    client, message = lab.clients[10], lab.next_messages.get(10)
    secrets = secrets_of(client)

    def prepare():
        twin = fork_client(client)
        call = twin.start if message is None else lambda: twin.receive(message)
        return call, (twin, call), secrets

    return prepare


CALLS = [
    Phase.ADVERTISE_KEYS,
    Phase.SHARE_KEYS,
    Phase.CHECK_SHARES,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
]


@pytest.mark.parametrize("phase", CALLS)
def test_s20_wherever_an_answer_fails_nothing_is_left(phase):
    """The client's start() and its five receive(): each line in turn."""
    count = 0
    for place, (client, again), error, secrets in failures(at(phase)):
        assert isinstance(error, InternalError), place
        assert not left_behind(error, secrets), place
        if client._secrets is not None and client.phase is phase:
            assert again(), place  # it failed at the door, before anything was done
            continue
        count += 1
        with pytest.raises(SecAggError):  # it had begun: there is no second answer
            again()
    assert count > 10


@pytest.mark.parametrize("phase", CALLS)
def test_s20_mutant_that_keeps_its_frames_is_found(phase, monkeypatch):
    monkeypatch.setattr(secagg.guards.calls, "_empty", lambda *_: None)
    monkeypatch.setattr(secagg.guards.calls, "_named", passed_on(InternalError))
    with pytest.raises(FOUND):
        test_s20_wherever_an_answer_fails_nothing_is_left(phase)


def giving(vector=INPUT):
    lab = Lab(4, dropout_rate=0.25, corrupt_rate=0.25)
    client = lab.clients[10]
    client._secrets.input = None
    secrets = secrets_of(client)

    def prepare():
        twin = fork_client(client)
        box = [vector.copy()]
        return lambda: twin.set_input(box.pop()), twin, secrets

    return prepare


def test_s20_wherever_the_input_is_refused_it_is_not_left():
    for place, client, error, secrets in failures(giving()):
        assert not left_behind(error, secrets), place
        assert client._secrets is not None  # another input may be given


@pytest.mark.parametrize("vector", [INPUT * 10, INPUT.astype(np.int32), INPUT[:2], INPUT.tolist()])
def test_s20_nor_by_a_typed_refusal(vector):
    lab = Lab(4, dropout_rate=0.25, corrupt_rate=0.25)
    lab.clients[10]._secrets.input = None
    box = [vector]
    with pytest.raises(SecAggError) as caught:
        lab.clients[10].set_input(box.pop())
    assert not left_behind(caught.value, secrets_of(lab.clients[10]), np.asarray(vector))


def joining():
    lab = Lab(4, dropout_rate=0.25, corrupt_rate=0.25)
    offer = Server(lab.params, context=CONTEXT, directory=TrustServerDirectory()).offer()
    private = lab.identities[10].private_bytes()

    def prepare():
        box = [Identity.from_private_bytes(private)]

        def call():
            told = {"context": CONTEXT, "policy": ANY_OFFER}
            return Client.from_offer(offer, 10, box.pop(), lab.directory, **told)

        return call, None, [private]

    return prepare


def restoring():
    private = Identity.generate().private_bytes()

    def prepare():
        box = [private]
        return lambda: Identity.from_private_bytes(box.pop()), None, [private]

    return prepare


def signing():
    identity = Identity.generate()
    return lambda: (lambda: identity.sign(b"x"), None, [identity.private_bytes()])


@pytest.mark.parametrize("prepare", [joining, restoring, signing])
def test_s20_identities_are_not_left_either(prepare):
    for place, _, error, secrets in failures(prepare()):
        assert not left_behind(error, secrets), place


def test_s20_mutant_that_keeps_its_arguments_is_found(monkeypatch):
    """Frames emptied, and the arguments of the outermost one forgotten about."""

    def keeping(call):
        def outermost(*args, **kwargs):
            try:
                return call.__wrapped__(*args, **kwargs)
            except SecAggError as error:
                secagg.guards.calls._empty(error, None)
                raise

        outermost.__code__ = outermost.__code__.replace(co_filename=LEFTOVERS.door)
        return outermost

    monkeypatch.setattr(Client, "set_input", keeping(Client.set_input))
    with pytest.raises(FOUND):
        test_s20_nor_by_a_typed_refusal(INPUT * 10)


def test_s20_arguments_that_do_not_fit_are_pythons_type_error_and_not_left():
    box = [Identity.generate()]
    private = box[0].private_bytes()
    with pytest.raises(
        TypeError, match="missing 1 required keyword-only argument: 'context'"
    ) as caught:
        Client.from_offer(b"", 10, box.pop(), {})
    assert not left_behind(caught.value, [private])


def test_s20_a_key_of_another_size_is_not_left():
    box = [bytes(range(200, 231))]
    with pytest.raises(LocalProtocolError, match="31") as caught:
        Identity.from_private_bytes(box.pop())
    assert not left_behind(caught.value, [bytes(range(200, 231))])


# Failures that a server can bring about ----------------------------------------------------------------


def refused(client, message):
    """The error, and what the client knew."""
    secrets, held = secrets_of(client), client._secrets
    with pytest.raises(SecAggError) as caught:
        client.receive(message)
    assert client.phase is Phase.ABORTED
    assert held.input is held.seed is held.mask is held.channel is held.identity is None
    assert not any((held.routes, held.held, held.due, held.own_share))
    return caught.value, secrets


def ended_by_a_channel_key():
    """A colluder's channel key of low order: found with seed and shares in hand."""
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    client = lab.clients[10]
    client._secrets.input = words_of(client)
    return refused(lab.clients[10], tampered("low order", lab))


def ended_by_a_mask_key(monkeypatch):
    """A colluder's mask key of low order: found with seed and input in hand."""
    monkeypatch.setattr("secagg.roles.server.admission.acceptable_agreement_key", lambda _: True)
    lab = Lab(5)
    for client in lab.clients.values():
        client._secrets.input = words_of(client)
    for i, client in lab.clients.items():
        sent = client.start()
        if i == 50:
            own = dataclasses.replace(client._own, mask_key=bytes(32))
            signed = lab.identities[i].sign(own.signed(lab.session))
            client._own = dataclasses.replace(own, signature=signed)
            sent = lab.encode(client._own)
        lab.server.receive(i, sent)
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.MASKED_INPUT)
    return refused(lab.clients[10], lab.next_messages[10])


def test_s20_a_hostile_server_gets_nothing_into_a_log(monkeypatch):
    for error, secrets in (ended_by_a_channel_key(), ended_by_a_mask_key(monkeypatch)):
        assert isinstance(error, RemoteProtocolError)
        assert "low order" in str(error)
        assert not left_behind(error, secrets)


def test_s20_mutant_logs_seed_shares_and_input(monkeypatch):
    monkeypatch.setattr(secagg.guards.calls, "_empty", lambda *_: None)
    shares = left_behind(*ended_by_a_channel_key())
    inputs = left_behind(*ended_by_a_mask_key(monkeypatch))
    assert "secret bytes" in shares
    assert {"secret bytes", "input"} <= set(inputs)


def test_s20_the_callers_own_error_stays_its_own():
    """A call made while another error is handled leaves that one as it is, as the context."""
    client, own = Lab(4).clients[10], "the caller's"

    def handling():
        try:
            int(own)
        except ValueError:
            client.start()
            client.start()

    with pytest.raises(LocalProtocolError) as caught:
        handling()
    context = caught.value.__context__
    assert isinstance(context, ValueError)
    assert own in str(context)
    (frame,) = [frame for frame, _ in traceback.walk_tb(context.__traceback__)]
    assert frame.f_code is handling.__code__


def test_s20_an_interrupt_passes_and_ends_the_session(monkeypatch):
    lab = Lab(4).run_to(Phase.MASKED_INPUT)
    client, secrets = lab.clients[10], secrets_of(lab.clients[10])

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("secagg.roles.client.client.mask_input", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        client.receive(lab.next_messages[10])
    assert client.phase is Phase.ABORTED
    assert not left_behind(caught.value, secrets)


def test_s20_an_executor_of_processes_is_sent_no_seed():
    lab = Lab(4)
    with ProcessPoolExecutor(1) as executor:
        for client in lab.clients.values():
            client._executor = executor
        lab.run_to(Phase.MASKED_INPUT)
        client, secrets = lab.clients[10], secrets_of(lab.clients[10])
        with pytest.raises(LocalProtocolError, match="threads") as caught:
            client.receive(lab.next_messages[10])
    assert client.phase is Phase.ABORTED
    assert not left_behind(caught.value, secrets)


# The server, which rebuilds seeds and keys at the end ---------------------------------------------------


def unmasking():
    lab = Lab(4, dropout_rate=0.25, corrupt_rate=0.25)
    seeds = [client._secrets.seed for client in lab.clients.values()]
    keys = [client._secrets.mask.private_bytes() for client in lab.clients.values()]
    lab.run_to(Phase.UNMASK, silent={40: Phase.MASKED_INPUT})
    for i in lab.next_messages:
        lab.answer(i)
    # a seed of a client in the sum, or the mask key of one that is not
    secrets = [*seeds[:3], keys[3]]

    def prepare():
        twin = fork_server(lab.server)
        return twin.advance, twin, secrets

    return prepare


def test_s20_wherever_unmasking_fails_nothing_is_left():
    for place, server, error, secrets in failures(unmasking()):
        assert isinstance(error, InternalError), place
        assert not left_behind(error, secrets), place
        if server.phase is Phase.ABORTED:
            assert server._tally.total is None, place


def test_s20_mutant_server_that_keeps_its_frames_is_found(monkeypatch):
    monkeypatch.setattr(secagg.guards.calls, "_empty", lambda *_: None)
    monkeypatch.setattr(secagg.guards.calls, "_named", passed_on(InternalError))
    with pytest.raises(FOUND):
        test_s20_wherever_unmasking_fails_nothing_is_left()


def test_s20_an_input_half_added_ends_the_session(monkeypatch):
    """A server that went on would give a wrong sum, in silence."""
    lab = Lab(5).run_to(Phase.MASKED_INPUT)

    def half(total, *_):
        total[:2] += 1
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("secagg.roles.server.tally.ring.add_packed", half)
        reply = lab.reply(10)
        with pytest.raises(InternalError, match="MemoryError in tests"):
            lab.server.receive(10, reply)
    assert lab.server.phase is Phase.ABORTED
    with pytest.raises(LocalProtocolError, match="ABORTED"):
        lab.server.receive(20, lab.reply(20))


def test_s20_a_simulation_leaves_no_input():
    lab = Lab(4)
    inputs = {10 * i: INPUT * 10 for i in range(1, 5)}
    box = [inputs]
    del inputs
    with pytest.raises(SecAggError) as caught:
        simulate(box.pop(), lab.params)
    assert not left_behind(caught.value, [], INPUT * 10)
    assert isinstance(decode(lab.server.offer())[0], bytes)
