"""V3: parameters and requests that a lying server chooses; each test with a mutant without the defence."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import secagg.committee.member as membership
from secagg import InternalError, RemoteProtocolError, UnsafeParametersError
from secagg.committee import CommitteeParams, CommitteePolicy, Contributor
from secagg.committee.arithmetic import sharing
from secagg.committee.arithmetic.sharing import rebuild
from secagg.committee.wire.codec import sums_of
from secagg.committee.wire.messages import Proposal, Request
from tests.hostile.mutants import FOUND, without
from tests.secagg.committee.support.lab import Lab, Phase, small

COLLUDING = 2


def missed(test, *arguments):
    with pytest.raises(FOUND):
        test(*arguments)


def read_by_the_server(params, clients):
    """What the sum over a victim and colluding clients says about the victim's input."""
    lab = Lab(params, n=clients)
    victim, liars = clients - 1, range(COLLUDING)
    deliveries = lab.until(Phase.REPORT)
    names = tuple(one.pair for one in lab.server._ordered())
    included = bytes(client in (victim, *liars) for client, _ in names)
    signatures, answers = {}, {}
    for j, message in deliveries.items():
        report = lab.read(lab.members[j].receive(message))
        hashed = hashlib.sha256(report.values).digest()
        proposal = Proposal(names, included, report.opened, hashed, report.signature)
        signatures[j] = lab.read(lab.members[j].receive(lab.write(proposal))).signature
    request = lab.write(Request(tuple(sorted(signatures.items())), (), ()))
    for j in deliveries:
        answers[j] = sums_of(params, lab.read(lab.members[j].receive(request)))
    places = sorted(answers)[: params.rebuild]
    table = [answers[j] for j in places]
    total = rebuild(params, places, np.array(table))
    return (total - lab.total(liars)).tolist(), lab.inputs[victim].tolist()


# Corrupt clients --------------------------------------------------------------------------------------


def test_v3_a_sum_has_two_honest_clients_beside_all_that_collude():
    """The server, no member and two clients: with a floor of three they would read the third input."""
    with pytest.raises(UnsafeParametersError, match="ask for min_clients=4 or more"):
        small(n=20, corrupt_clients=COLLUDING)
    honest = small(n=20, floor=4, corrupt_clients=COLLUDING)
    with pytest.raises(RemoteProtocolError, match=r"names 3 clients, where 4…20 may be"):
        read_by_the_server(honest, 20)


def test_v3_mutant_whose_floor_counts_colluders(monkeypatch):
    without(
        monkeypatch, CommitteeParams, "_check_sums", "self.min_clients < self.corrupt_clients + 2"
    )
    missed(test_v3_a_sum_has_two_honest_clients_beside_all_that_collude)
    learnt, true = read_by_the_server(small(n=20, corrupt_clients=COLLUDING), 20)
    assert learnt == true


# The server's numbers ---------------------------------------------------------------------------------

LOW = {
    "no corrupt member of fifty": small(50, 0, 24, threshold=13),
    "a threshold of five of fifty": small(50, 5, 5, threshold=5),
    "no corrupt client": small(50, 5, 5, corrupt_clients=0),
}


@pytest.mark.parametrize("name", LOW)
def test_v3_neither_client_nor_member_takes_numbers_below_its_floor(name):
    received = CommitteeParams.from_bytes(LOW[name].to_bytes())
    lab = Lab(small(50, 5, 5))
    lab.params = received
    with pytest.raises(UnsafeParametersError, match="this party asks for at least"):
        lab.contributor(0)
    with pytest.raises(UnsafeParametersError, match="this party asks for at least"):
        lab.member(0)


@pytest.mark.parametrize("name", LOW)
def test_v3_mutant_that_believes_the_servers_numbers(name, monkeypatch):
    without(monkeypatch, CommitteePolicy, "check", "offered < floor")
    missed(test_v3_neither_client_nor_member_takes_numbers_below_its_floor, name)


@pytest.mark.parametrize("party", [Contributor, membership.Member])
def test_v3_mutant_of_one_party_that_does_not_ask(party, monkeypatch):
    ask = ".check(self._params)\n"
    without(monkeypatch, party, "__init__", ask, "\n")
    missed(test_v3_neither_client_nor_member_takes_numbers_below_its_floor, next(iter(LOW)))


# Work -------------------------------------------------------------------------------------------------


def test_v3_a_request_without_a_quorum_costs_a_member_no_agreement(monkeypatch):
    lab = Lab()
    lab.until(Phase.REPORT)
    everything = lab.server._ordered()
    envelopes = tuple(one.message.envelopes[3] for one in everything)
    request = Request((), tuple(one.head for one in everything), envelopes)
    member, opened = lab.member(3), []
    monkeypatch.setattr(membership, "open_sealed", lambda *_: opened.append(1))
    with pytest.raises(RemoteProtocolError, match="shows 0 signatures"):
        member.receive(lab.write(request))
    assert not opened


def test_v3_mutant_that_opens_before_it_looks(monkeypatch):
    first = "names = self._asked(request)"
    early = f"{first}; self._open(request.heads, request.envelopes)"
    without(monkeypatch, membership.Member, "_answer", first, early)
    missed(test_v3_a_request_without_a_quorum_costs_a_member_no_agreement, monkeypatch)


# A member for which nothing opens ---------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [{}, {"max_abs": 2**40}, {"n": 9, "d": 12}])
def test_v4_a_member_for_which_nothing_opens_says_so(numbers):
    lab = Lab(small(**numbers))
    deliveries = lab.until(Phase.REPORT)
    delivered = lab.read(deliveries[3])
    spoiled = replace(delivered, envelopes=tuple(bytes(len(e)) for e in delivered.envelopes))
    deliveries[3] = lab.write(spoiled)
    reports = {j: lab.members[j].receive(message) for j, message in deliveries.items()}
    assert lab.read(reports[3]).opened == bytes(len(delivered.heads))
    for j, report in reports.items():
        lab.server.receive_member(j, report)
    result = lab.finish(lab.server.advance())
    assert lab.server.dropped_members == (3,)
    assert result.total.tolist() == lab.total(lab.people).tolist()


def test_v4_mutant_that_packs_an_empty_list(monkeypatch):
    mutant = without(monkeypatch, sharing, "pack_residues", 'if values.size else b""', "")
    monkeypatch.setattr(membership, "pack_residues", mutant)
    with pytest.raises(InternalError):
        test_v4_a_member_for_which_nothing_opens_says_so({})


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), b"\xff" * 32])
def test_v4_a_key_of_low_order_opens_nothing_and_ends_no_report(point):
    """A lying server delivers what its own admission should refuse; the client is its accomplice."""
    lab = Lab()
    delivered = lab.read(lab.until(Phase.REPORT)[3])
    head = replace(delivered.heads[0], public=point)
    signature = lab.people[head.client_id].sign(head.name(lab.session))
    changed = replace(
        delivered,
        heads=(head, *delivered.heads[1:]),
        signatures=(signature, *delivered.signatures[1:]),
    )
    report = lab.read(lab.members[3].receive(lab.write(changed)))
    assert report.opened == bytes([0, 1, 1, 1, 1])


def test_v4_mutant_that_takes_any_key(monkeypatch):
    without(
        monkeypatch,
        membership.Member,
        "_open_one",
        "except ValueError:",
        "except ZeroDivisionError:",
    )
    with pytest.raises(InternalError):
        test_v4_a_key_of_low_order_opens_nothing_and_ends_no_report(bytes(32))
