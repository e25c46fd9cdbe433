"""An agreement with everybody's keys, and all roles of its sums in one process."""

from __future__ import annotations

import functools

import numpy as np

from fedavg import OneShot, SecAgg
from fedavg.adapters.polling import Board, ClientRounds, MemberRounds, Party, SumAgreement
from fedavg.sums.interface import FIRST_OPENER
from fedavg.sums.sides.others import MemoryJournal
from secagg import Identity
from secagg.committee import SealingKey

LENGTH = 40
CLIENTS = {i: Identity.generate() for i in range(6)}
MEMBERS = {j: Identity.generate() for j in range(9)}
EPOCHS = (1, 2, 3)
"""Rounds 1 … 9, 10 … 19 and 20 … 29."""
SEALING = {
    j: [SealingKey.generate(who, j, epoch=epoch) for epoch in EPOCHS] for j, who in MEMBERS.items()
}
CARDS = tuple(key.card for keys in SEALING.values() for key in keys)
ONCE = OneShot(0.2, 0.1, committee=9, corrupt_members=1, absent_members=2)


@functools.cache
def agreement(*, members=True, length=LENGTH):
    """OneShot with a committee, or SecAgg without."""
    clients = {i: who.public for i, who in CLIENTS.items()}
    if not members:
        return SumAgreement(SecAgg(0.2, 0.1), length, 2**15, clients)
    people = {j: who.public for j, who in MEMBERS.items()}
    return SumAgreement(ONCE, length, 2**15, clients, people, CARDS)


MODEL = b"the model of this round"


def update(client, number, content=MODEL, length=LENGTH):
    assert content == MODEL
    return np.arange(length, dtype=np.int64) - 100 * client + number


def board(agreed, number=1):
    spec = agreed.spec(number, MODEL)
    return Board(agreed.server_side().session(spec, sorted(agreed.clients)), number, MODEL)


def client_rounds(agreed, client, journal=None):
    journal = journal or MemoryJournal()
    return ClientRounds(
        agreed.client_side(),
        client,
        CLIENTS[client],
        agreed.spec_of,
        functools.partial(update, client, length=agreed.vector_length),
        journal,
        enter=functools.partial(agreed.enter, journal=journal),
    )


def member_rounds(agreed, member, journal=None):
    journal = journal or MemoryJournal()
    side = agreed.member_side(MEMBERS[member], *SEALING[member])
    enter = functools.partial(agreed.enter, journal=journal)
    return MemberRounds(side, agreed.spec_of, journal, enter)


def parties(agreed, folder, journals=None):
    """Address → party; all of them keep their outboxes in one folder."""
    journals = {} if journals is None else journals
    found = {}
    for address in agreed.addresses.values():
        journal = journals.setdefault(address, MemoryJournal())
        rounds = (
            client_rounds(agreed, address, journal)
            if address >= 0
            else member_rounds(agreed, FIRST_OPENER - address, journal)
        )
        found[address] = Party(rounds, folder / f"outbox{address}")
    return found


def stage(open_board, people):
    """Everybody answers the open stage."""
    for address in open_board.asked:
        open_board.answer(address, people[address].answer(open_board.question(address)))


def expected(clients, number=1):
    return sum(update(client, number) for client in clients)
