"""V2: a party with its record in memory is copied by fork, and each copy would answer once.

Expected: in a fork nothing is signed, answered or opened on the word of a journal of another process.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from fedavg.errors import JournalError
from fedavg.sums.sides.others import MemoryJournal
from secagg import Directory, Identity, LocalProtocolError
from secagg.committee import Collector, Committee, CommitteeParams, Contributor, Member, SealingKey
from tests.hostile.mutants import FOUND, without

CONTEXT = b"round 1, n = 3"


def answering_in_a_fork(work) -> bool:
    """Whether `work` succeeds in a forked process; its refusal is a LocalProtocolError."""
    child = os.fork()
    if not child:
        code = 2
        try:
            work()
            code = 0
        except (LocalProtocolError, JournalError):
            code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code < 2
    return code == 0


def committee_of_two():
    """A collector that has reports, and two members whose next message is to sign a set."""
    params = CommitteeParams.for_committee(
        2, corrupt=0, absent=0, vector_length=2, max_clients=4, max_abs=9, min_clients=3
    )
    who = {i: Identity.generate() for i in range(4)}
    keys = {j: SealingKey.generate(who[j], j, epoch=1) for j in range(2)}
    directory = Directory({j: who[j].public for j in range(2)})
    committee = Committee(directory, [key.card for key in keys.values()], epoch=1)
    clients = Directory({i: it.public for i, it in who.items()})
    server = Collector(params, committee, clients, context=CONTEXT)
    for i, it in who.items():
        client = Contributor(params, i, it, committee, context=CONTEXT)
        server.receive(i, client.contribute(np.array([i, -1]), message_digest=bytes(32)))
    members = [
        Member(params, j, who[j], keys[j], committee, clients, context=CONTEXT, journal=journal)
        for j, journal in enumerate((MemoryJournal(), MemoryJournal()))
    ]
    for j, message in server.advance().items():
        server.receive_member(j, members[j].receive(message))
    return server, members


def signed_in_both() -> bool:
    server, members = committee_of_two()
    proposals = server.advance()
    forked = answering_in_a_fork(lambda: members[0].receive(proposals[0]))
    members[0].receive(proposals[0])  # where the journal was made, once
    with pytest.raises(Exception, match="has signed one"):
        members[0].receive(proposals[0])
    return forked


def test_v2_a_member_that_was_copied_by_fork_signs_in_one_process():
    assert not signed_in_both()


def test_v2_mutant_whose_memory_is_copied(monkeypatch):
    without(monkeypatch, MemoryJournal, "add", "self._process != os.getpid()")
    with pytest.raises(FOUND):
        test_v2_a_member_that_was_copied_by_fork_signs_in_one_process()
