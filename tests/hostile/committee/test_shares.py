"""V4, V5, V7, V8, V11: rubbish shares, lying members, copies, colluders beyond the threshold, slander."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from secagg import Aborted, AbortReason, Conviction, Offence, RemoteProtocolError, WireFormatError
from secagg.committee import CommitteePhase as Phase
from secagg.committee import MemberError, check_rejection
from secagg.committee import contributor as dealer
from secagg.committee.arithmetic import sharing
from secagg.committee.arithmetic.sharing import (
    pack_residues,
    secret_points,
    unpack_residues,
    unpack_shares,
)
from secagg.committee.collector.admission import Accepted
from secagg.committee.verdicts.evidence import of_reports
from secagg.committee.wire.codec import packed_sums, sums_of
from secagg.committee.wire.messages import Answer, Report
from tests.secagg.committee.support.algebra import learnt, reduced, weights
from tests.secagg.committee.support.lab import Lab, small

BAD = 2
"""The client that deals wrong shares."""
SHIFTS = [701, 3001, 44, 1999, 2718, 5, 3141, 1, 808, 2222, 1313]
"""Near no polynomial of degree below 7, so that no few of them could be the wrong ones."""


def wide(**more):
    """m = 11, c = 2, R = 7: with everybody there, two lies are corrected and four members may be missing."""
    return small(11, 2, 2, **more)


def sealed_wrong(lab, client, places, monkeypatch, how):
    """A contribution whose shares for some members are wrong: in valid envelopes, or in broken ones."""
    with monkeypatch.context() as patch:
        if how == "beside the polynomial":
            honest = dealer.deal

            def deal(params, vector):
                dealt = honest(params, vector)
                for place in places:
                    dealt[place, 0, 0] = (dealt[place, 0, 0] + SHIFTS[place]) % params.moduli[0]
                return dealt

            patch.setattr(dealer, "deal", deal)
        elif how == "beyond the prime":
            honest = dealer.pack_shares

            def pack(params, dealt):
                shares = honest(params, dealt)
                for place in places:
                    shares[place] = b"\xff" * len(shares[place])
                return shares

            patch.setattr(dealer, "pack_shares", pack)
        else:
            keys, honest = iter(range(lab.params.n_members)), dealer.seal

            def seal(key, share, about):
                return honest(bytes(16) if next(keys) in places else key, share, about)

            patch.setattr(dealer, "seal", seal)
        return lab.contribution(client)


HOW = ["beside the polynomial", "beyond the prime", "for nobody"]


def with_wrong(lab, places, monkeypatch, how, clients=(BAD,)):
    for i in lab.people:
        wrong = i in clients
        message = sealed_wrong(lab, i, places, monkeypatch, how) if wrong else lab.contribution(i)
        lab.server.receive(i, message)
    return lab


def honest_sum(lab, without=()):
    clients = [i for i in lab.people if i not in without]
    return tuple(clients), lab.total(clients)


def outcome(lab, **more):
    result = lab.finish(**more)
    return result.survivors, result.total


def same(found, expected):
    assert found[0] == expected[0]
    assert np.array_equal(found[1], expected[1])


# V4: rubbish shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("count", range(1, 12))
def test_v4_rubbish_for_any_number_of_members_costs_its_client_alone(how, count, monkeypatch):
    """Beyond c it is named with evidence; up to c it is left out, since a member could have lied instead."""
    lab = with_wrong(Lab(wide()), set(range(count)), monkeypatch, how)
    same(outcome(lab), honest_sum(lab, {BAD}))
    convicted = [found.client_id for found in lab.server.convictions]
    assert convicted == ([BAD] if count > lab.params.corrupt else [])
    assert lab.server.dropped_members == ()
    disputes = set() if convicted else {(j, BAD) for j in range(count)}
    assert set(lab.server.disputes) == disputes


@pytest.mark.parametrize("how", HOW)
def test_v4_the_evidence_convinces_others_and_a_rumour_does_not(how, monkeypatch):
    lab = with_wrong(Lab(wide()), {1, 3, 5}, monkeypatch, how)
    lab.finish()
    (found,) = lab.server.convictions
    about = {
        "params": lab.params, "committee": lab.committee, "clients": lab.clients, "context": lab.context,
    }  # fmt: skip
    assert found.offence is Offence.REJECTED_SHARES
    check_rejection(found, **about)
    for other in (replace(found, client_id=3), replace(found, offence=Offence.DISPUTES)):
        with pytest.raises(RemoteProtocolError, match="shows no evidence"):
            check_rejection(other, **about)
    with pytest.raises(RemoteProtocolError, match="shows no evidence"):
        check_rejection(found, **about | {"context": b"another"})
    for cut in range(0, len(found.evidence), 97):
        with pytest.raises((RemoteProtocolError, WireFormatError)):
            check_rejection(replace(found, evidence=found.evidence[:cut]), **about)
    for at in range(0, len(found.evidence), 61):
        mauled = bytearray(found.evidence)
        mauled[at] ^= 1
        with pytest.raises((RemoteProtocolError, WireFormatError)):
            check_rejection(replace(found, evidence=bytes(mauled)), **about)


def test_v4_c_members_cannot_make_up_evidence():
    """All that two liars and a server can sign: their own reports, beside those of honest members."""
    lab = Lab(wide())
    messages = lab.until(Phase.REPORT)
    names = [one.pair for one in lab.server._ordered()]

    def deny(j, reply):
        report = lab.read(reply)
        if j > 1:
            return reply
        values = unpack_residues(lab.params, report.values, 5, lab.params.checks)
        packed = pack_residues(lab.params, values[1:])
        return signed_report(lab, j, names, bytes([0, 1, 1, 1, 1]), packed)

    lab.ask(messages, alter=deny)
    lab.sent = lab.server.advance()
    assert lab.server.convictions == ()
    reports = [lab.write(report) for report in map(lab.read, made(lab, messages, deny))]
    evidence = of_reports(0, lab.server._accepted[0].message.signature, names, reports)
    with pytest.raises(RemoteProtocolError, match="enough members against"):
        check_rejection(
            Conviction(0, Offence.REJECTED_SHARES, evidence),
            params=lab.params, committee=lab.committee, clients=lab.clients, context=lab.context,
        )  # fmt: skip


def made(lab, messages, alter):
    return [alter(j, lab.member(j).receive(message)) for j, message in messages.items()]


def signed_report(lab, j, names, opened, packed):
    hashed = hashlib.sha256(packed).digest()
    statement = Report.signed(lab.session, j, names, opened, hashed)
    return lab.write(Report(j, lab.identities[j].sign(statement), opened, packed))


def test_v4_several_bad_dealers_that_frame_different_members(monkeypatch):
    """Two clients, each with wrong shares for two members of its own: four honest members would be named."""
    lab = Lab(wide())
    for i in lab.people:
        places = {0: {1, 2}, 1: {3, 4}}.get(i)
        how = "beside the polynomial"
        lab.server.receive(
            i, sealed_wrong(lab, i, places, monkeypatch, how) if places else lab.contribution(i)
        )
    same(outcome(lab), honest_sum(lab, {0, 1}))
    assert (lab.server.dropped_members, lab.server.convictions) == ((), ())


def test_v4_more_clients_than_c_that_frame_the_same_members_cost_c_members_at_most(monkeypatch):
    lab = with_wrong(
        Lab(wide(n=9)), {4, 7}, monkeypatch, "beside the polynomial", clients=(0, 1, 2, 3)
    )
    same(outcome(lab), honest_sum(lab))  # four clients cost two members: the smaller loss
    assert lab.server.dropped_members == (4, 7)
    assert lab.server.convictions == ()


# V5: lying members --------------------------------------------------------------------------------------


def lie(lab, liars, *, at=0):
    """Members whose answers are wrong and signed."""

    def alter(j, reply):
        if j not in liars:
            return reply
        answer = lab.read(reply)
        sums = sums_of(lab.params, answer)
        sums[0, at] = (sums[0, at] + 1 + j) % lab.params.moduli[0]
        packed = packed_sums(lab.params, sums)
        statement = Answer.signed(lab.session, lab.server._set, j, packed)
        return lab.write(Answer(j, lab.identities[j].sign(statement), packed))

    return {Phase.ANSWER: alter}


@pytest.mark.parametrize("liars", [*itertools.combinations(range(0, 11, 2), 2), (3,), ()])
def test_v5_lies_up_to_the_radius_are_corrected_and_nobody_is_named(liars):
    lab = Lab(wide()).contribute()
    same(outcome(lab, alter=lie(lab, liars)), honest_sum(lab))
    assert (lab.server.convictions, lab.server.dropped_members) == ((), ())


@pytest.mark.parametrize(("absent", "lies"), [(0, 2), (1, 1), (2, 0)])
def test_v5_every_lie_costs_as_much_as_a_silence(absent, lies):
    """With `absent` missing, as many lies are corrected as further silences are borne; one more, no sum."""
    silent = {Phase.ANSWER: set(range(11 - absent, 11))}
    lab = Lab(wide()).contribute()
    same(outcome(lab, alter=lie(lab, range(lies)), silent=silent), honest_sum(lab))
    if lies < 2:
        lab = Lab(wide()).contribute()
        with pytest.raises(Aborted) as end:
            lab.finish(alter=lie(lab, range(lies + 1)), silent=silent)
        assert end.value.reason is AbortReason.FALSE_ANSWERS
        assert lab.server.opened


@pytest.mark.parametrize("c", [1, 2, 3])
def test_v5_no_c_liars_ever_make_a_wrong_sum(c):
    """Liars that add the same other polynomial: the strongest lie. With R answers it would pass."""
    params = small(9 + 2 * c, c, 2, 2, 3)
    lab = Lab(params)
    liars = set(range(c))
    (p,) = params.moduli

    def alter(j, reply):
        if j not in liars:
            return reply
        answer = lab.read(reply)
        sums = sums_of(params, answer)
        # A multiple of Π (x − x_i) over the honest ones that answer: zero at them, if its degree allowed.
        kept = [i for i in range(params.n_members) if i not in liars][: params.rebuild - 1]
        factor = 1
        for i in kept:
            factor = factor * (j - i) % p
        sums[0, :] = (sums[0, :] + factor) % p
        packed = packed_sums(params, sums)
        statement = Answer.signed(lab.session, lab.server._set, j, packed)
        return lab.write(Answer(j, lab.identities[j].sign(statement), packed))

    honest = [j for j in range(params.n_members) if j not in liars]
    for there in range(params.rebuild - 1, len(honest) + 1):
        lab.__init__(params)
        lab.contribute()
        silent = {Phase.ANSWER: set(honest[there:])}
        try:
            found = outcome(lab, alter={Phase.ANSWER: alter}, silent=silent)
        except Aborted:
            continue
        same(found, honest_sum(lab))


@pytest.mark.parametrize("how", HOW[:2])
def test_v5_a_dealer_that_frames_members_is_convicted_by_check_values(how, monkeypatch):
    """Three members of whom each would answer beside the polynomial: found before the set is fixed."""
    lab = with_wrong(Lab(wide()), {1, 4, 8}, monkeypatch, how)
    same(outcome(lab), honest_sum(lab, {BAD}))
    assert [found.client_id for found in lab.server.convictions] == [BAD]
    assert lab.server.dropped_members == ()


# V7: swapped, copied, mauled ----------------------------------------------------------------------------


def renamed(lab, message, client, **change):
    """A contribution under another client's name and valid signature."""
    content = replace(lab.read(message), client_id=client, **change)
    name = Accepted.of(content, lab.session).name
    return lab.write(replace(content, signature=lab.people[client].sign(name)))


@pytest.mark.parametrize("copies", [1, 4, 10])
def test_v7_copies_of_one_clients_message_open_nowhere(copies):
    """Each copier signs the victim's envelopes as its own: the sum must not become (copies + 1)·x."""
    lab = Lab(wide(n=15))
    victim = lab.contribution(0)
    for i in lab.people:
        message = renamed(lab, victim, i) if 1 <= i <= copies else None
        lab.server.receive(i, victim if i == 0 else message or lab.contribution(i))
    same(outcome(lab), honest_sum(lab, set(range(1, copies + 1))))
    assert {found.client_id for found in lab.server.convictions} == set(range(1, copies + 1))


@pytest.mark.parametrize(
    "fault", ["digest", "key", "exchanged", "one envelope", "signature", "sender"]
)
def test_v7_mauled_contributions_are_refused_at_the_door(fault):
    lab = Lab()
    first, second = lab.contribution(0), lab.contribution(1)
    one, other = lab.read(first), lab.read(second)
    mauled = {
        "digest": replace(one, message_digest=bytes(32)),
        "key": replace(one, public=other.public),
        "exchanged": replace(one, envelopes=other.envelopes),
        "one envelope": replace(one, envelopes=(other.envelopes[0], *one.envelopes[1:])),
        "signature": replace(one, signature=other.signature),
        "sender": other,
    }[fault]
    with pytest.raises(RemoteProtocolError) as refusal:
        lab.server.receive(0, lab.write(mauled))
    assert refusal.value.culprit == 0
    lab.server.receive(0, first)  # nothing has changed


def test_v7_a_client_that_signs_another_digest_than_it_sealed_is_left_out():
    lab = Lab(wide())
    for i in lab.people:
        message = lab.contribution(i)
        wrong = renamed(lab, message, i, message_digest=bytes(32))
        lab.server.receive(i, wrong if i == BAD else message)
    same(outcome(lab), honest_sum(lab, {BAD}))


def test_v7_envelopes_of_another_context_open_nowhere():
    lab = Lab(wide())
    for i in lab.people:
        stale = lab.contribution(i, context=b"round 0, model 7, n = 5")
        message = renamed(lab, stale, i) if i == BAD else lab.contribution(i)
        lab.server.receive(i, message)
    same(outcome(lab), honest_sum(lab, {BAD}))


def test_v7_envelopes_of_other_members_open_nowhere():
    lab = Lab(wide())
    for i in lab.people:
        message = lab.contribution(i)
        turned = lab.read(message).envelopes
        wrong = renamed(lab, message, i, envelopes=(*turned[1:], turned[0]))
        lab.server.receive(i, wrong if i == BAD else message)
    same(outcome(lab), honest_sum(lab, {BAD}))


# V8: too many colluders ---------------------------------------------------------------------------------


def shares_of(lab, client, members):
    """Some members' shares of one client, as they open them."""
    accepted, out = lab.server._accepted[client], {}
    for j in members:
        plain = lab.member(j)._open_one(accepted.head, accepted.message.envelopes[j])
        (values,), _ = unpack_shares(lab.params, [plain])
        out[j] = values[0, : lab.params.blocks]
    return out


def test_v8_r_colluders_read_an_input_and_that_is_where_it_breaks():
    lab = Lab(small(9, 1, 1, 6, 5, threshold=4)).contribute()
    (p,) = lab.params.moduli
    assert (lab.params.threshold, lab.params.packing, lab.params.rebuild) == (4, 3, 7)
    known = shares_of(lab, 0, range(7))
    points = [j + 1 for j in known]
    read = []
    for block in range(lab.params.blocks):
        for secret in secret_points(lab.params, p):
            factors = weights(points, secret, p)
            value = sum(f * int(known[j][block]) for f, j in zip(factors, known, strict=True)) % p
            read.append(value - p if value > p // 2 else value)
    assert read == lab.inputs[0].tolist()


def test_v8_shares_of_any_t_members_take_all_values():
    """Forty deals of one vector: their shares at any t members span t dimensions, and a constant beside.

    For uniform shares a smaller rank has probability below p^−30; p = 4,093.
    """
    params = small(9, 1, 1, 6, 5, threshold=4)
    (p,) = params.moduli
    deals = [sharing.deal(params, np.arange(6))[:, 0, 0].tolist() for _ in range(40)]
    for members in itertools.combinations(range(9), params.threshold):
        rows = [[1, *(deal[j] for j in members)] for deal in deals]
        assert len(reduced(rows, p)[0]) == 1 + params.threshold


@pytest.mark.parametrize("colluders", [3, 4, 5, 6, 7])
def test_v8_every_point_beyond_t_rules_out_inputs_and_t_points_none(colluders):
    """How many inputs of one block fit the colluders' shares, of all p³: p³, p³, p², p, 1 (as ranks)."""
    lab = Lab(small(9, 1, 1, 6, 5, threshold=4)).contribute()
    (p,), t, k = lab.params.moduli, 4, 3
    known = [*secret_points(lab.params, p), *range(1, t + 1)]
    rows = [
        [int(x == y) for y in known] if x in known else weights(known, x, p)
        for x in range(1, colluders + 1)
    ]
    turned = [row[k:] + row[:k] for row in rows]
    relations = learnt(turned, t, p)
    assert len(relations) == max(0, colluders - t)
    shares = shares_of(lab, 0, range(colluders))
    if relations:  # and the relations hold for the input
        for row in reduced_with(turned, shares, t, p):
            secrets = lab.inputs[0][:k]
            assert sum(a * int(s) for a, s in zip(row[0], secrets, strict=True)) % p == row[1]


def reduced_with(rows, shares, t, p):
    """The relations of the first block's secrets, each with its value."""
    joined = [[*row, int(shares[j][0])] for j, row in enumerate(rows)]
    form, pivots = reduced(joined, p)
    return [(row[t:-1], row[-1]) for row, pivot in zip(form, pivots, strict=True) if pivot >= t]


# V11: slander -------------------------------------------------------------------------------------------


def slander(lab, liars, clients, how):
    """Members that deny opened shares, or send false check values, about some clients."""

    def alter(j, reply):
        if j not in liars:
            return reply
        report = lab.read(reply)
        names = [one.pair for one in lab.server._ordered()]
        values = unpack_residues(lab.params, report.values, len(names), lab.params.checks)
        keep = [i for i in range(len(names)) if i not in clients or how == "false values"]
        opened = bytes(i in keep for i in range(len(names)))
        if how == "false values":
            values[list(clients), 0, 0] = (values[list(clients), 0, 0] + 1) % lab.params.moduli[0]
        return signed_report(lab, j, names, opened, pack_residues(lab.params, values[keep]))

    return {Phase.REPORT: alter}


@pytest.mark.parametrize("how", ["denial", "false values"])
@pytest.mark.parametrize("liars", [{0}, {3, 9}])
def test_v11_members_that_slander_all_clients_are_left_out_themselves(how, liars):
    lab = Lab(wide(n=9)).contribute()
    same(outcome(lab, alter=slander(lab, liars, range(9), how)), honest_sum(lab))
    assert set(lab.server.dropped_members) == liars
    assert lab.server.convictions == ()


@pytest.mark.parametrize("how", ["denial", "false values"])
@pytest.mark.parametrize("about", [{0}, {0, 4}, {1, 2, 3}])
def test_v11_slander_costs_no_more_than_there_are_liars(how, about):
    lab = Lab(wide(n=9)).contribute()
    survivors, total = outcome(lab, alter=slander(lab, {3, 9}, about, how))
    assert np.array_equal(total, lab.total(survivors))
    assert 9 - len(survivors) + len(lab.server.dropped_members) <= 2
    assert lab.server.convictions == ()


@pytest.mark.parametrize("how", ["denial", "false values"])
def test_v11_members_and_clients_together_name_nobody_honest(how, monkeypatch):
    """Two members slander one half; three clients frame two honest members; c = 2."""
    lab = Lab(wide(n=9))
    for i in lab.people:
        wrong = i in (6, 7, 8)
        lab.server.receive(
            i,
            sealed_wrong(lab, i, {5, 6}, monkeypatch, "beside the polynomial")
            if wrong
            else lab.contribution(i),
        )
    survivors, total = outcome(lab, alter=slander(lab, {0, 1}, {0, 1, 2}, how))
    assert np.array_equal(total, lab.total(survivors))
    assert len(survivors) >= 9 - (2 + 3)
    assert len(lab.server.dropped_members) <= 2
    assert {found.client_id for found in lab.server.convictions} <= {6, 7, 8}


@pytest.mark.parametrize("how", ["denial", "false values"])
def test_v11_members_are_left_out_only_while_a_sum_remains_possible(how):
    """With three members gone none can be spared: the slandered clients are left out instead."""
    lab = Lab(small(12, 2, 2, n=9, corrected=1)).contribute()
    silent = {9, 10, 11}
    survivors, total = outcome(lab, alter=slander(lab, {0}, {4, 5}, how), silent=silent)
    assert np.array_equal(total, lab.total(survivors))
    assert len(survivors) >= 7
    assert lab.server.convictions == ()


# What members send --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.REPORT, Phase.SIGN, Phase.ANSWER])
@pytest.mark.parametrize("fault", ["signature", "name", "session", "junk", "twice", "kind"])
def test_odd_messages_of_members_change_nothing(phase, fault):
    lab = Lab()
    messages = lab.until(phase)
    reply = lab.members[3].receive(messages[3])
    content = lab.read(reply)
    odd = {
        "signature": lab.write(replace(content, signature=bytes(64))),
        "name": lab.write(replace(content, member_id=2)),
        "session": reply[:8] + bytes(32) + reply[40:],
        "junk": reply + b"\0",
        "kind": messages[3],
        "twice": reply,
    }[fault]
    if fault == "twice":
        lab.server.receive_member(3, reply)
    with pytest.raises(MemberError) as refusal:
        lab.server.receive_member(3, odd)
    assert refusal.value.culprit == 3
    if fault != "twice":
        lab.server.receive_member(3, reply)
    lab.ask({j: m for j, m in messages.items() if j != 3})
    lab.sent = lab.server.advance()
    if lab.server.phase is not Phase.DONE:
        lab.finish(lab.sent)
    assert np.array_equal(lab.server.result().total, lab.total(lab.people))


def test_a_report_on_another_number_of_contributions_is_refused():
    lab = Lab()
    messages = lab.until(Phase.REPORT)
    names = [one.pair for one in lab.server._ordered()]
    message = signed_report(lab, 3, names[:4], bytes(4), b"")
    with pytest.raises(MemberError, match="another number"):
        lab.server.receive_member(3, message)
    lab.ask(messages)
