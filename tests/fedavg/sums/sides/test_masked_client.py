"""A client of a masked sum that is put away after each message gives the sum that it would give in memory."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg import SecAgg
from fedavg.sums.interface import SumSpec
from fedavg.sums.sides.others import MemoryJournal
from secagg import Identity, LocalProtocolError, StateError

SPEC = SumSpec(3, 99, None, 5, b"one sum")


@pytest.fixture
def parties():
    people = {client: Identity.generate() for client in range(5)}
    chosen = SecAgg()
    provision = chosen.provision(SPEC, {client: who.public for client, who in people.items()})
    server = chosen.server_side(provision.server).session(SPEC, sorted(people))
    return people, chosen.client_side(provision.clients), server


def test_a_client_goes_on_from_its_state(parties):
    people, side, server = parties
    journals = {client: MemoryJournal() for client in people}
    states: dict[int, bytes] = {}
    for client, (opening,) in server.open().items():
        session = side.session(SPEC, client, people[client], opening, journals[client])
        session.set_input(np.array([client, -1, 7]))
        (message,) = session.start()
        states[client] = session.suspend()
        server.receive(client, message)
    left = []
    while messages := server.advance():
        for client, (message,) in messages.items():
            session = side.resume(
                SPEC.context, client, people[client], states[client], journals[client]
            )
            before = session.left
            (reply,) = session.receive(message)
            left.append((server.stage, before, session.left))
            server.receive(client, reply)
            if not session.over:
                states[client] = session.suspend()
    np.testing.assert_array_equal(server.result().total, [10, -5, 35])
    assert dict.fromkeys(left) == dict.fromkeys(
        [
            ("share_keys", False, False),
            ("check_shares", False, False),
            ("masked_input", False, True),
            ("consistency", True, True),
            ("unmask", True, True),
        ]
    )


def test_a_session_without_a_journal_is_not_put_away(parties):
    people, side, server = parties
    session = side.session(SPEC, 0, people[0], server.open()[0][0])
    session.start()
    with pytest.raises(LocalProtocolError, match="journal"):
        session.suspend()


def test_a_state_belongs_to_one_sum(parties):
    people, side, server = parties
    journal = MemoryJournal()
    session = side.session(SPEC, 0, people[0], server.open()[0][0], journal)
    session.start()
    with pytest.raises(StateError, match="another context"):
        side.resume(b"another sum", 0, people[0], session.suspend(), journal)
