"""A server that cuts the cohort in parts, and clients left out that come back: one sum, of all, or none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import secagg.roles.client.client
import secagg.roles.client.consistency
import secagg.roles.server.blame
from secagg import Aborted, AbortReason, Phase, RemoteProtocolError
from secagg.crypto import ring
from secagg.crypto.masks import add_masks
from secagg.crypto.shamir import rebuild
from secagg.params.params import Requirements
from secagg.session.roster import self_seed
from secagg.wire.codec import decode, masked_vector
from secagg.wire.messages import MaskedInput, Partners, Signatures, Survivors
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab

# Two groups of partners -------------------------------------------------------------------------------


def members_of(group, size):
    return bytes(place in group for place in range(size))


def tell(lab, message_for, ids=None):
    """Each client's answer to a message of its own; the error of those that refuse."""
    answers, errors = {}, {}
    for i in lab.ids if ids is None else ids:
        try:
            answers[i] = lab.clients[i].receive(lab.encode(message_for(i)))
        except (RemoteProtocolError, Aborted) as error:
            errors[i] = error
    return answers, errors


def open_sum(lab, group, inputs, shares):
    """The sum over a group whose masks meet only within it, of its self-mask seeds' shares; or None.

    Args:
        lab: the session, already cut.
        group: positions.
        inputs: client id to masked input message.
        shares: client id to its message of shares.
    """
    roster, t = lab.roster, lab.params.threshold
    dtype = ring.ring_dtype(lab.params.ring_bits)
    total = np.zeros(lab.params.vector_length, dtype)
    seeds = []
    for place in group:
        dealer = roster.client_id(place)
        held = {}
        for holder, reply in shares.items():
            client, at = lab.clients[holder], roster.positions[holder]
            around = [p for p in roster.neighbours(at) if client._partners.members[p]]
            if at == place:
                held[at + 1] = decode(reply)[1].shares[0]
            elif place in around and client._survivors.members[place]:
                held[at + 1] = decode(reply)[1].shares[1 + around.index(place)]
        if len(held) < t:
            return None
        points = list(held)[:t]
        secret = rebuild(points, [held[point] for point in points])
        root = lab.clients[dealer]._partner_root
        seeds.append(self_seed(roster, root, secret, place))
        total += masked_vector(inputs[dealer]).astype(dtype)
    add_masks(total, [], seeds)
    return ring.centre(total, lab.params.ring_bits)


def split(lab, groups, *, told):
    """Tell each group that only it gives inputs; ask all to unmask `told`; one sum or None a group."""
    lab.run_to(Phase.MASKED_INPUT)
    size = len(lab.ids)
    group_of = {lab.roster.client_id(p): g for g in groups for p in g}
    inputs, refused = tell(lab, lambda i: Partners(members_of(group_of[i], size)))

    def survivors(i):
        alive = {p for p in told(group_of[i]) if lab.roster.client_id(p) in inputs}
        around = [p for p in lab.roster.neighbours(lab.roster.positions[i]) if p in alive]
        if not lab.params.local:
            return Survivors(members_of(alive, size))
        near = [p for p in around if p in group_of[i]]
        shown = [decode(inputs[lab.roster.client_id(p)])[1].partner_signature for p in near]
        return Survivors(members_of(alive, size), shown)

    views = {i: survivors(i) for i in inputs}
    signed, more = tell(lab, views.__getitem__, inputs)
    refused |= more
    pairs = {i: (lab.roster.positions[i], decode(signed[i])[1].signature) for i in sorted(signed)}

    def quorum(i):
        near = lab.roster.neighbours(lab.roster.positions[i])
        same = [pairs[j] for j in pairs if views[j].members == views[i].members]
        if lab.params.local:
            same = [pair for pair in same if pair[0] in near]
        return Signatures(tuple(same[: lab.params.quorum]))

    shares, more = tell(lab, quorum, signed)
    sums = [open_sum(lab, g, inputs, shares) for g in groups]
    return sums, refused | more


def group_sums(lab, groups):
    return [lab.total([lab.roster.client_id(p) for p in group]) for group in groups]


HALVES = ({0, 1, 2}, {3, 4, 5})


@pytest.fixture
def weak(monkeypatch):
    """t = 2 of 6 and sums of three: without it, sizes alone starve the attack."""
    monkeypatch.setattr(
        "secagg.params.params.requirements",
        lambda *_: Requirements(2, 5, quorum=4, min_survivors=3, min_roster=6),
    )


def test_s2_two_groups_of_partners_give_no_sum_of_either(weak):
    lab = Lab(6, dropout_rate=0.3)
    sums, refused = split(lab, HALVES, told=lambda _: range(6))
    assert set(refused) == set(lab.ids)
    assert all("no partner" in str(error) for error in refused.values())
    assert sums == [None, None]


def test_s2_each_group_alone_is_no_quorum(weak):
    lab = Lab(6, dropout_rate=0.3)
    sums, refused = split(lab, HALVES, told=lambda group: group)
    assert all("4 are needed" in str(error) for error in refused.values())
    assert sums == [None, None]


def test_s2_mutant_that_signs_for_others_partners_gives_two_sums(weak, monkeypatch):
    check = "int.from_bytes(members) & ~int.from_bytes(partners.members)"
    without(monkeypatch, secagg.roles.client.client, "check_survivors", check)
    honest = Survivors.signed
    monkeypatch.setattr(Survivors, "signed", lambda self, session, _: honest(self, session, b""))
    lab = Lab(6, dropout_rate=0.3)
    sums, refused = split(lab, HALVES, told=lambda _: range(6))
    assert not refused
    assert np.array_equal(sums, group_sums(lab, HALVES))


def test_s2_binding_signatures_to_the_partners_stops_it_too(weak, monkeypatch):
    check = "int.from_bytes(members) & ~int.from_bytes(partners.members)"
    without(monkeypatch, secagg.roles.client.client, "check_survivors", check)
    sums, refused = split(Lab(6, dropout_rate=0.3), HALVES, told=lambda _: range(6))
    assert len(refused) == 6
    assert sums == [None, None]


def test_s2_the_sizes_alone_starve_it():
    lab = Lab(6, dropout_rate=0.3)
    sums, refused = split(lab, HALVES, told=lambda _: range(6))
    assert all("4 are the least" in str(error) for error in refused.values())
    assert len(refused) == 6
    assert sums == [None, None]


# Clients that lie about what opened ------------------------------------------------------------------


def accuse(lab, liar, count):
    """The liar says that `count` of its neighbours' shares did not open; who is in the sum."""
    lab.run_to(Phase.CHECK_SHARES)
    for i in lab.ids:
        reply = lab.reply(i)
        if i == liar:
            message = decode(reply)[1]
            opened = tuple(at >= count and flag for at, flag in enumerate(message.opened))
            reply = lab.signed(dataclasses.replace(message, opened=opened))
        lab.server.receive(i, reply)
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.server.result().survivors))
    return lab.server.result().survivors


@pytest.mark.parametrize("count", [2, 3, 4])
def test_s12_a_client_that_accuses_many_goes_alone(count):
    lab = Lab(9, dropout_rate=0.3)
    assert accuse(lab, 50, count) == tuple(i for i in lab.ids if i != 50)


def test_s12_an_accusation_of_one_costs_one_client():
    lab = Lab(9, dropout_rate=0.3)
    assert len(accuse(lab, 50, 1)) == 8


def test_s12_mutant_that_believes_every_accusation_loses_honest_clients(monkeypatch):
    monkeypatch.setattr(secagg.roles.server.blame, "smallest_cover", set)  # all who are at odds
    with pytest.raises((*FOUND, Aborted, RemoteProtocolError)):
        test_s12_a_client_that_accuses_many_goes_alone(4)


# Clients that were left out --------------------------------------------------------------------------


def comes_back(lab):
    """Client 50, left out for its accusations, sends a vector of its own; the session's result."""
    lab.run_to(Phase.CHECK_SHARES)
    for i in lab.ids:
        reply = lab.reply(i)
        if i == 50:
            message = decode(reply)[1]
            opened = tuple(at > 2 for at in range(len(message.opened)))
            reply = lab.signed(dataclasses.replace(message, opened=opened))
        lab.server.receive(i, reply)
    lab.next_messages = lab.server.advance()
    assert 50 not in lab.next_messages
    bits, length = lab.params.ring_bits, lab.params.vector_length
    vector = ring.pack(np.full(length, 5, ring.ring_dtype(bits)), bits)
    lab.server.receive(50, lab.signed(MaskedInput(50, length, bits, b"", b"", vector)))
    return lab


def test_s11_a_client_left_out_of_the_partners_gives_no_input():
    lab = Lab(9, dropout_rate=0.3)
    with pytest.raises(RemoteProtocolError, match="no longer") as caught:
        comes_back(lab)
    assert caught.value.culprit == 50
    lab.run_to(Phase.DONE)
    survivors = tuple(i for i in lab.ids if i != 50)
    assert lab.server.result().survivors == survivors
    assert np.array_equal(lab.server.result().total, lab.total(survivors))


def test_s11_mutant_that_hears_it_adds_its_vector(monkeypatch):
    without(
        monkeypatch,
        secagg.roles.server.server.Server,
        "_check_sender",
        "client_id not in self._live",
    )
    lab = comes_back(Lab(9, dropout_rate=0.3))
    assert lab.server._tally.total.tolist() == [5] * 4


def test_s3_it_finds_no_ear_at_the_honest_either():
    """Told by an accomplice who the partners are, an honest client that is not among them ends."""
    lab = Lab(9, dropout_rate=0.3).run_to(Phase.MASKED_INPUT)
    with pytest.raises(RemoteProtocolError, match="without this client"):
        lab.clients[50].receive(lab.encode(Partners(b"\1\1\1\1\0\1\1\1\1")))


# Quorums of neighbours: arcs of the ring ---------------------------------------------------------------

LOCAL = {"dropout_rate": 1 / 64, "corrupt_rate": 1 / 64, "threat_model": "malicious-local"}


def arcs_of(lab, length):
    """The ring in two: positions of `length` places in a row, and the rest."""
    order = list(lab.roster.graph._order)
    return set(order[:length]), set(order[length:])


def cut_ring(lab, length):
    lab.run_to(Phase.MASKED_INPUT)
    groups = arcs_of(lab, length)
    sums, refused = split(lab, groups, told=lambda group: group)
    return groups, sums, refused


def test_s2_an_arc_of_the_ring_cannot_be_cut_off():
    """Its end clients have too few partners on the side they are left with, and end it; so do the next."""
    lab = Lab(64, **LOCAL)
    assert (lab.params.degree, lab.params.threshold, lab.params.min_survivors) == (8, 7, 30)
    _, sums, refused = cut_ring(lab, 44)
    assert sums == [None, None]
    order = [lab.roster.client_id(p) for p in lab.roster.graph._order]
    for end in (*order[:4], *order[40:44]):
        assert isinstance(refused[end], Aborted)


def test_s2_mutant_with_a_threshold_of_half_gives_two_arcs(monkeypatch):
    monkeypatch.setattr(
        "secagg.params.params.requirements",
        lambda *_: Requirements(5, 8, quorum=3, min_survivors=18, min_roster=63),
    )
    lab = Lab(64, **LOCAL)
    groups, sums, refused = cut_ring(lab, 44)
    assert not refused
    assert np.array_equal(sums, group_sums(lab, groups))


def test_s5_arcs_below_the_floor_are_not_even_begun():
    lab = Lab(40, **LOCAL).run_to(Phase.MASKED_INPUT)
    small, _ = arcs_of(lab, lab.params.min_survivors - 1)
    inside = lab.roster.client_id(min(small))
    with pytest.raises(RemoteProtocolError, match="18 are the least"):
        lab.clients[inside].receive(lab.encode(Partners(members_of(small, 40))))


def test_s5_mutant_without_the_floor_begins_them(monkeypatch):
    without(monkeypatch, secagg.roles.client.consistency, "_check_members", "count < least")
    with pytest.raises((*FOUND, Aborted)):
        test_s5_arcs_below_the_floor_are_not_even_begun()


def split_status(lab, victim, share):
    """A part of the victim's neighbours is told that it dropped; shares of each secret that are given."""
    lab.run_to(Phase.CONSISTENCY)
    roster, out = lab.roster, lab.roster.positions[victim]
    around = roster.neighbours(out)
    blind = {roster.client_id(p) for p in around[:share]}
    sent = {i: decode(lab.sent[Phase.MASKED_INPUT, i])[1] for i in lab.ids}
    inputs = {i: message.partner_signature for i, message in sent.items()}

    def survivors(i):
        alive = [p for p in range(len(lab.ids)) if i not in blind or p != out]
        near = [p for p in roster.neighbours(roster.positions[i]) if p in alive]
        shown = [inputs[roster.client_id(p)] for p in near]
        return Survivors(members_of(alive, len(lab.ids)), shown)

    signed, _ = tell(lab, survivors)

    def quorum(i):
        same = [
            (roster.positions[j], decode(signed[j])[1].signature)
            for j in lab.ids
            if j in signed and (j in blind) == (i in blind)
        ]
        near = [pair for pair in same if pair[0] in roster.neighbours(roster.positions[i])]
        return Signatures(tuple(near[: lab.params.quorum]))

    shares, refused = tell(lab, quorum, signed)
    alive = sum(roster.positions[i] in (*around, out) for i in shares if i not in blind)
    return alive, sum(i in blind for i in shares), refused


@pytest.mark.parametrize("share", range(9))
def test_s1_split_views_of_a_neighbour_never_give_both_secrets(share):
    """k = 8, t = 7, one colluder: however its neighbours are split, one side falls short by two."""
    lab = Lab(24, **LOCAL)
    assert (lab.params.degree, lab.params.threshold, lab.params.colluders) == (8, 7, 1)
    alive, dropped, _ = split_status(lab, 50, share)
    assert min(alive, dropped) + lab.params.colluders < lab.params.threshold


def test_s1_mutant_with_a_low_threshold_gives_both(monkeypatch):
    monkeypatch.setattr(
        "secagg.params.params.requirements",
        lambda *_: Requirements(3, 8, quorum=2, min_survivors=12, min_roster=23),
    )
    monkeypatch.setattr(secagg.roles.client.client, "check_quorum", lambda *_: None)
    lab = Lab(24, **LOCAL)
    alive, dropped, refused = split_status(lab, 50, 4)
    assert not refused
    assert min(alive, dropped) >= lab.params.threshold


def test_s2_a_view_that_a_quorum_of_neighbours_does_not_share_gets_no_shares():
    lab = Lab(24, **LOCAL)
    _, dropped, refused = split_status(lab, 50, 2)
    assert dropped == 0
    assert sum("3 are needed" in str(error) for error in refused.values()) >= 2


def test_s2_mutant_without_the_quorum_answers_it(monkeypatch):
    without(monkeypatch, secagg.roles.client.client, "check_quorum", "shown < quorum")
    with pytest.raises(FOUND):
        test_s2_a_view_that_a_quorum_of_neighbours_does_not_share_gets_no_shares()


def test_s4_mutant_policy_joins_a_local_session_unasked(monkeypatch):
    from tests.hostile.secagg.lying_server import test_local as local

    without(monkeypatch, secagg.Policy, "_check_model", "params.local and not self.allow_local")
    with pytest.raises(FOUND):
        local.test_it_must_be_asked_for_by_name()


def test_s5_clients_of_a_silent_neighbourhood_end_by_themselves():
    lab = Lab(40, **LOCAL).run_to(Phase.MASKED_INPUT)
    around = lab.roster.neighbours(0)
    members = bytes(p not in around[: 10 - lab.params.threshold] for p in range(40))
    with pytest.raises(Aborted) as caught:
        lab.clients[10].receive(lab.encode(Partners(members)))
    assert caught.value.reason is AbortReason.TOO_FEW_SHARES
