"""Lists passed on in one pass give each holder what looking every item up would give it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import Aborted, AbortReason, Phase
from secagg.roles.server.outbox import (
    commitments_of,
    inboxes_of,
    promises_to,
    shares_by_dealer,
    whole_dealing,
)
from secagg.roles.server.unmask import find_masks, remove_masks
from secagg.session.graph import Graph
from secagg.wire.messages import COMMITMENT_SIZE, ShareKeys, UnmaskShares
from tests.secagg.support.lab import Lab


@st.composite
def cohorts(draw):
    """A ring of some clients, complete when the degree is that large, and two subsets of it."""
    size = draw(st.integers(2, 12))
    graph = Graph(draw(st.permutations(range(size))), degree=2 * draw(st.integers(1, 6)))
    roster = SimpleNamespace(ids=tuple(range(100, 100 + size)), neighbours=graph.neighbours)
    dealers = draw(st.sets(st.integers(0, size - 1)))
    return roster, dealers, draw(st.sets(st.sampled_from(sorted(dealers)))) if dealers else set()


def name(kind, dealer, holder):
    return f"{kind}: {dealer} to {holder}".ljust(COMMITMENT_SIZE).encode()


def dealt_by(roster, dealers):
    """Envelopes that say who wrote to whom."""
    return {
        dealer: ShareKeys(
            roster.ids[dealer],
            b"",
            b"",
            [name("b", dealer, to) + name("s", dealer, to) for to in roster.neighbours(dealer)],
        )
        for dealer in dealers
    }


@given(cohorts())
def test_an_inbox_is_what_neighbours_wrote(case):
    roster, dealers, _ = case
    inboxes = list(inboxes_of(roster, dealt_by(roster, dealers)))
    assert [holder for holder, _ in inboxes] == sorted(dealers)
    for holder, inbox in inboxes:
        assert list(inbox.envelopes) == [
            name("b", dealer, holder) + name("s", dealer, holder) if dealer in dealers else None
            for dealer in roster.neighbours(holder)
        ]


@given(cohorts())
def test_a_promise_is_the_share_that_is_due(case):
    roster, partners, survivors = case
    dealt = dealt_by(roster, range(len(roster.ids)))  # some dealt that are no partners
    dealt = {dealer: commitments_of(message) for dealer, message in dealt.items()}
    promises, dealings = promises_to(roster, dealt, partners, survivors)
    assert promises.keys() == survivors
    for holder, promised in promises.items():
        assert promised == b"".join(
            name("b" if dealer in survivors else "s", dealer, holder)
            for dealer in roster.neighbours(holder)
            if dealer in partners
        )
    masked_with = {
        place: tuple(other for other in roster.neighbours(place) if other in partners)
        for place in partners
    }
    assert dealings.keys() == set(partners)
    for dealer, dealing in dealings.items():
        whole = whole_dealing(roster, dealer, dealing, promises, masked_with)
        here, there = "bs" if dealer in survivors else "sb"
        around = roster.neighbours(dealer)
        assert whole.column == b"".join(name(here, dealer, holder) for holder in around)
        others = b"".join(name(there, dealer, holder) for holder in around)
        assert whole.other == hashlib.sha256(others).digest()


@given(cohorts())
def test_shares_come_by_dealer(case):
    roster, partners, holders = case
    masked_with = {
        place: tuple(other for other in roster.neighbours(place) if other in partners)
        for place in partners
    }
    answers = {
        holder: UnmaskShares(
            roster.ids[holder], b"", [(dealer, holder) for dealer in (holder, *masked_with[holder])]
        )
        for holder in holders
    }
    found = list(shares_by_dealer(answers, masked_with))
    assert [dealer for dealer, _ in found] == sorted(partners)
    for dealer, shares in found:
        assert shares.keys() == {dealer, *masked_with[dealer]} & holders
        assert all(share == (dealer, holder) for holder, share in shares.items())


def test_a_survivor_of_whom_nothing_came_is_not_passed_over():
    """Its mask would stay in the sum."""
    lab = Lab(5).run_to(Phase.UNMASK)
    for i in lab.ids:
        lab.answer(i)
    server, total = lab.server, lab.server._tally.total.copy()
    answers = {lab.roster.positions[i]: message for i, message in server._answers.items()}
    shares = list(shares_by_dealer(answers, server._tally.masked_with))

    def removed(shares):
        words = total.copy()
        told = (lab.roster, lab.partner_root, server._tally.alive, server._tally.masked_with)
        remove_masks(words, find_masks(*told, shares, server._tally.dealings))
        return words

    with pytest.raises(Aborted) as caught:
        removed(shares[:-1])
    assert caught.value.reason is AbortReason.TOO_FEW_UNMASK_SHARES
    assert not np.array_equal(removed(shares), total)


def test_what_stays_of_a_dealers_message_is_signed():
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    lab.answer(10)
    whole = lab.server._answers[10]
    kept = commitments_of(whole)
    told = lab.session, lab.roster.root
    assert kept.signed(*told) == whole.signed(*told)
    assert kept.signed(*told) != replace(kept, envelopes=kept.envelopes[1:]).signed(*told)
