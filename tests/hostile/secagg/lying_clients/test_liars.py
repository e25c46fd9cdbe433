"""S15 and S16: clients that lie about shares, and dealers of wrong secrets, round after round."""

from __future__ import annotations

import pytest

import secagg.roles.server.blame
import secagg.roles.server.tally
import secagg.roles.server.unmask
from secagg import AbortReason, Offence, Phase, check_conviction
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.cheats import (
    accusing,
    another_seed,
    another_share,
    ended,
    exact,
    seven,
    with_another_key,
)
from tests.secagg.support.lab import CONTEXT, Lab

# S15: liars in the receipts --------------------------------------------------------------------------


def victims_in_layers(lab, liars, top):
    """Liar → whom it accuses: victims accused by `top` liars each, then by one less, …

    Each layer takes from the greedy choice, which leaves out whoever is at odds with most, honest clients
    in the place of liars (Johnson 1974).
    """
    accused = {liar: set() for liar in liars}
    roster, used = lab.roster, set()
    around = {
        place: [i for i in liars if roster.positions[i] in roster.neighbours(place)]
        for place in range(len(roster.ids))
        if roster.client_id(place) not in liars
    }
    for each in range(top, 0, -1):
        free = set(liars)
        for place in sorted(around, key=lambda p: -len(around[p])):
            able = [i for i in around[place] if i in free]
            if place in used or len(able) < each:
                continue
            for liar in able[:each]:
                accused[liar].add(roster.client_id(place))
                free.discard(liar)
            used.add(place)
    return accused


def coalition(n, count, top, rate=0.1):
    """A session in which as many clients lie as may, and everybody else is honest and stays."""
    lab = Lab(n, length=1, dropout_rate=0.1, corrupt_rate=rate).run_to(Phase.CHECK_SHARES)
    assert count == lab.params.colluders
    liars = lab.ids[-count:]
    accused = victims_in_layers(lab, liars, top)
    lab.run_to(Phase.MASKED_INPUT, lies={i: accusing(lab, i, accused[i]) for i in liars})
    return lab, liars


COALITIONS = [(20, 2, 2), (40, 4, 4), (100, 10, 5), (200, 20, 6)]


@pytest.mark.parametrize(("n", "count", "top"), COALITIONS)
def test_s15_a_coalition_costs_no_more_clients_than_it_has(n, count, top):
    """No more clients are lost than by silence, no honest one is convicted, and the sum is right."""
    lab, liars = coalition(n, count, top)
    assert len(lab.next_messages) >= n - count
    assert {c.client_id for c in lab.server.convictions} <= set(liars)
    assert lab.server.disputes
    assert all(set(pair) & set(liars) for pair in lab.server.disputes)
    assert len(exact(lab.run_to(Phase.DONE))) >= n - count
    assert lab.server.result().disputes == lab.server.disputes


def greedy(graph):
    """Remove the client in conflict with most others, and repeat."""
    left, gone = {p: set(others) for p, others in graph.items()}, set()
    while left:
        worst = max(left, key=lambda p: (len(left[p]), -p))
        gone.add(worst)
        for other in left.pop(worst):
            left[other].discard(worst)
            if not left[other]:
                del left[other]
    return gone


@pytest.mark.parametrize(("n", "count", "top"), COALITIONS[1:])
def test_s15_mutant_that_chooses_greedily_loses_honest_clients(n, count, top, monkeypatch):
    monkeypatch.setattr(secagg.roles.server.blame, "smallest_cover", greedy)
    monkeypatch.setattr(secagg.roles.server.blame, "proven", lambda *_: set())
    with pytest.raises((*FOUND, secagg.Aborted)):
        test_s15_a_coalition_costs_no_more_clients_than_it_has(n, count, top)


def accuses_three():
    """Of at most two corrupt clients one accuses three others: it must be corrupt itself."""
    lab = Lab(20, dropout_rate=0.2, corrupt_rate=0.1).run_to(Phase.CHECK_SHARES)
    around = lab.roster.neighbours(lab.roster.positions[200])
    victims = {lab.roster.client_id(place) for place in around[:3]}
    return lab, {200: accusing(lab, 200, victims)}


def test_s15_who_disputes_with_more_than_can_be_corrupt_is_named():
    lab, lies = accuses_three()
    assert 200 not in exact(lab.run_to(Phase.DONE, lies=lies))
    (conviction,) = lab.server.result().convictions
    assert (conviction.client_id, conviction.offence) == (200, Offence.DISPUTES)
    check_conviction(conviction, context=CONTEXT, directory=lab.directory)


def test_s15_mutant_that_convicts_nobody(monkeypatch):
    monkeypatch.setattr(secagg.roles.server.blame, "proven", lambda *_: set())
    with pytest.raises((*FOUND, ValueError)):
        test_s15_who_disputes_with_more_than_can_be_corrupt_is_named()


def test_s15_a_dealer_whose_shares_open_nowhere_is_named_too():
    """The other end of a dispute: the receipts of honest clients convict the dealer."""
    lab = Lab(20, dropout_rate=0.2, corrupt_rate=0.1).run_to(Phase.CHECK_SHARES)
    around = lab.roster.neighbours(lab.roster.positions[200])
    lies = {lab.roster.client_id(p): accusing(lab, lab.roster.client_id(p), {200}) for p in around}
    lab.run_to(Phase.DONE, lies=lies)
    assert [c.client_id for c in lab.server.convictions] == [200]


def test_s15_a_session_that_ends_says_who_was_at_odds():
    """With more liars than assumed no client is convicted, and the error holds the disputes."""
    lab = Lab(20, dropout_rate=0.1, corrupt_rate=0.1).run_to(Phase.CHECK_SHARES)
    pairs, ends = {}, set()
    for one in range(20):  # disputes without a common end, as many as fit
        free = [other for other in lab.roster.neighbours(one) if other not in ends]
        if one not in ends and free:
            pairs[one] = free[0]
            ends |= {one, free[0]}
    told = {lab.roster.client_id(a): lab.roster.client_id(b) for a, b in pairs.items()}
    end = ended(lab, lies={i: accusing(lab, i, {other}) for i, other in told.items()})
    assert end.reason is AbortReason.TOO_FEW_SHARES
    assert set(end.disputes) == set(told.items())
    assert end.convictions == ()
    assert end.culprit is None


# S16: bad dealers ------------------------------------------------------------------------------------


def test_s16_all_bad_dealers_of_a_session_are_named_at_once():
    """Else each of them would cost a session of its own."""
    lab = Lab(10, dropout_rate=0.4, corrupt_rate=0.0)
    play = with_another_key(lab, 20, 50)
    end = ended(lab, **play, lies={70: {Phase.SHARE_KEYS: another_seed}})
    assert end.reason is AbortReason.BAD_DEALER
    assert {c.client_id for c in end.convictions} == {20, 50, 70}
    assert end.culprit in {20, 50, 70}
    for conviction in end.convictions:
        assert conviction.offence is Offence.BAD_DEALER
        check_conviction(conviction, context=CONTEXT, directory=lab.directory)


def test_s16_mutant_that_stops_at_the_first(monkeypatch):
    without(
        monkeypatch,
        secagg.roles.server.tally,
        "find_masks",
        "masks.bad[position] = used",
        "masks.bad[position] = used; break",
    )
    monkeypatch.setattr(secagg.roles.server.unmask, "_check_enough", lambda *_: None)
    with pytest.raises(FOUND):
        test_s16_all_bad_dealers_of_a_session_are_named_at_once()


@pytest.mark.parametrize("liar", [10, 40, 70])
def test_s16_a_wrong_own_share_alone_costs_nothing(liar):
    """There are enough shares that were committed to: they rebuild the seed without it."""
    lab = seven()
    lab.run_to(Phase.DONE, lies={liar: {Phase.UNMASK: another_share}})
    assert exact(lab) == tuple(lab.ids)
    assert lab.server.result().convictions == ()


def test_s16_wrong_own_shares_of_all_but_a_threshold_cost_nothing():
    """On the complete graph t − 1 others and its own would be enough: all others give t or more."""
    lab = seven()
    liars = lab.ids[: 7 - lab.params.threshold]
    lab.run_to(Phase.DONE, lies={i: {Phase.UNMASK: another_share} for i in liars})
    assert exact(lab) == tuple(lab.ids)


def test_s16_mutant_that_uses_the_own_share_like_any_other(monkeypatch):
    without(
        monkeypatch,
        secagg.roles.server.unmask,
        "_rebuilt",
        "ways = [sorted(held), sorted(held.keys() - {dealer})]",
        "ways = [sorted(held)]",
    )
    with pytest.raises((*FOUND, secagg.Aborted)):
        test_s16_a_wrong_own_share_alone_costs_nothing(10)


def test_s16_an_own_share_that_is_needed_and_wrong_convicts_its_dealer():
    lab = seven()
    silent = [i for i in lab.ids if i != 20][: 7 - lab.params.threshold]
    play = {"silent": dict.fromkeys(silent, Phase.UNMASK)}
    end = ended(lab, **play, lies={20: {Phase.UNMASK: another_share}})
    assert [c.client_id for c in end.convictions] == [20]
    check_conviction(end.convictions[0], context=CONTEXT, directory=lab.directory)
