"""Sums of groups: exactness, accounts, missing silos, floors, and what silos refuse."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.errors import CohortSizeError, LocalProtocolError, PlanError, RoundAbortedError
from fedavg.protocol.messages import RoundStart, encode
from fedavg.robust.deal import dealt
from fedavg.robust.rules import MedianOfGroups, TrimmedMeanOfGroups
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from tests.fedavg.records.small import federation, no_noise, resolved, silos

SECURE = SecAgg(dropout_rate=0.0)
MEDIAN = MedianOfGroups(3)
NINE = tuple(range(10, 19))


def _alone(run, group: int) -> np.ndarray:
    """One group's mean as its silos alone compute it."""
    found = run.resolution
    members = dealt(NINE, 3, 0)[group]
    total = np.zeros(found.vector_length, np.int64)
    for silo in members:
        party = run._parties.silos[silo]
        party._last = (0, 0)
        total += party._drawn_sum(run.released, 1.0)
        party._last = (-1, 0)
    return total / (found.scale * run._plan.divisor * len(members) / 9)


@pytest.mark.parametrize("rule", [MEDIAN, TrimmedMeanOfGroups(3)])
def test_without_noise_a_step_is_the_rule_over_the_groups_means(monkeypatch, rule):
    no_noise(monkeypatch)
    run = federation(silos(9, 20), rate=1.0, steps=1, robust=rule)
    before, means = run.released, np.array([_alone(run, group) for group in range(3)])
    (result,) = run.run()
    np.testing.assert_allclose(run.released, before - rule.combined(means), atol=1e-6)
    assert (result.silos, result.groups, result.shortened) == (9, 3, 0)


@pytest.mark.parametrize("sums", [SECURE, Bfv(dropout_rate=0.0), OneShot()])
def test_groups_have_secure_sums_of_their_own(sums):
    run = federation(silos(12, 10), secure_sum=sums, steps=2, robust=MEDIAN)
    results = list(run.run())
    assert [result.groups for result in results] == [3, 3]
    assert not any(result.voided or result.shortened for result in results)
    assert run.rosters == {4: 6}
    spent = run.epsilons
    assert spent == run.planned_epsilons()
    for silo in run.spent:
        assert run.spent[silo] == pytest.approx(spent.colluding, rel=1e-3)


def test_small_groups_are_counted_by_the_shares_of_their_own():
    """Nine silos in three groups: two of three shares count, against eight of nine; at one multiplier."""
    whole, parts = (
        resolved(9, secure_sum=SECURE, steps=30, robust=rule) for rule in (None, MEDIAN)
    )
    assert (whole.account.counted(9), parts.account.counted(3)) == (8, 2)
    assert parts.account.share_stddev(3) == pytest.approx(2 * whole.account.share_stddev(9))
    assert parts.noise_overhead == pytest.approx(np.sqrt(9 / 2))
    three, all_nine = parts.epsilons({3: 30}), whole.epsilons({9: 30})
    # The budget's observer sees one strength of noise; the server alone sees 3/2 of it, and not 9/8.
    assert three.colluding == pytest.approx(all_nine.colluding, rel=1e-4)
    assert three.server < all_nine.server
    visible = parts.account._event(3, 3).noise_multiplier
    assert visible == pytest.approx(np.sqrt(3 / 2), rel=1e-3)


def test_mutant_that_counts_all_silos_of_all_groups_claims_half_of_the_noise_it_needs(monkeypatch):
    """Shares for nine silos in sums of three: the noise of the two that count is a quarter of the claim."""
    parts = resolved(9, secure_sum=SECURE, robust=MEDIAN)
    wrong = resolved(9, secure_sum=SECURE)
    needed = parts.account.noise.noise_multiplier * parts.sensitivity.l2
    assert 2 * parts.account.share_variance(3) >= needed**2
    assert 2 * wrong.account.share_variance(9) < needed**2 / 3


def test_uneven_groups_fit_one_account():
    found = resolved(10, secure_sum=SECURE, robust=MEDIAN, steps=30)
    assert (found.sizes, found.summed, found.floor) == ((4, 3, 3), 4, 3)
    assert found.bounds.cap == 4
    larger, smaller = found.epsilons({4: 30}), found.epsilons({3: 30})
    assert smaller.release < larger.release
    assert smaller.colluding <= larger.colluding
    mixed = found.epsilons({4: 15, 3: 15})
    assert smaller.release < mixed.release < larger.release


def test_the_account_is_that_of_the_silo_in_the_most_and_largest_sums():
    run = federation(silos(10, 20), secure_sum=SECURE, steps=5, robust=MEDIAN)
    list(run.run())
    worst, counted = run._sums.worst(), run._sums._counted
    assert sum(worst.values()) == 5
    assert worst[4] == max(counts[4] for counts in counted.values())
    assert run.rosters == {4: 5, 3: 10}
    assert run.epsilons.colluding >= max(run.spent.values()) * (1 - 1e-9)


def test_a_silo_that_was_in_large_groups_only_is_counted_so():
    """After one step, no silo has a sum of four and one of three."""
    run = federation(silos(10, 10), secure_sum=SECURE, steps=1, robust=MEDIAN)
    list(run.run())
    assert run.rosters == {4: 1, 3: 2}
    assert run._sums.worst() == {4: 1}
    assert run.epsilons == run.planned_epsilons()


def test_groups_below_the_floors_are_refused():
    with pytest.raises(CohortSizeError, match="2 silos are too few in the smallest of 4 groups"):
        resolved(8, secure_sum=SECURE, robust=MedianOfGroups(4))
    with pytest.raises(CohortSizeError, match="cannot be dealt to robust.groups=9"):
        resolved(8, secure_sum=SECURE, robust=MedianOfGroups(9))
    with pytest.raises(PlanError, match="withstands 1 of 3 silos in the smallest of 3 groups"):
        resolved(9, secure_sum=SECURE, robust=MEDIAN, colluders=2)
    assert resolved(30, secure_sum=SECURE).colluders == 3
    assert resolved(30, secure_sum=SECURE, robust=MedianOfGroups(5)).colluders == 1


def test_a_group_with_a_missing_silo_is_drawn_again_and_the_others_are_not():
    missing = dealt(tuple(range(10, 22)), 3, 0)[1][0]
    run = federation(
        silos(12, 10),
        secure_sum=SECURE,
        robust=MEDIAN,
        steps=1,
        silent=lambda _step, stage: frozenset() if stage == "gradients" else frozenset({missing}),
    )
    (result,) = run.run()
    assert (result.groups, result.silos, len(result.voided)) == (3, 11, 1)
    assert run.rosters == {4: 3, 3: 1}
    # Only its own group is charged for the second attempt.
    attempts = {silo: party.attempts for silo, party in run._parties.silos.items()}
    again = set(dealt(tuple(range(10, 22)), 3, 0)[1]) - {missing}
    assert {silo for silo, count in attempts.items() if count == 2} <= again
    assert run.epsilons.colluding > run.planned_epsilons().colluding


def test_a_group_without_a_sum_is_left_out_while_the_rule_has_enough():
    """Of four groups of three, one loses a silo and falls below the floor of three; the rule takes three."""
    missing = dealt(tuple(range(10, 22)), 4, 0)[2][0]
    parts = {"secure_sum": SECURE, "robust": MedianOfGroups(4), "steps": 1}
    run = federation(silos(12, 10), silent=lambda *_: frozenset({missing}), **parts)
    (result,) = run.run()
    assert (result.groups, result.silos) == (3, 9)
    two = {missing, dealt(tuple(range(10, 22)), 4, 0)[0][0]}
    run = federation(silos(12, 10), silent=lambda *_: frozenset(two), **parts)
    with pytest.raises(
        RoundAbortedError,
        match="2 of 4 groups of step 1 gave a sum, and the rule 'group-median' needs 3",
    ):
        list(run.run())


def test_a_silo_refuses_another_group_than_its_own():
    run = federation(silos(9, 20), secure_sum=SECURE, robust=MEDIAN)
    party, model = run._parties.silos[10], run.released.astype("<f4").tobytes()
    own = next(number for number, group in enumerate(dealt(NINE, 3, 0)) if 10 in group)
    for group in (None, (own + 1) % 3, 7):
        with pytest.raises(LocalProtocolError, match=f"silo 10 is in group {own} of step 0"):
            party.handle(encode(RoundStart(0, model, block=group)))
    assert party.handle(encode(RoundStart(0, model, block=own)))
    alone = federation(silos(9, 20), secure_sum=SECURE)._parties.silos[10]
    with pytest.raises(LocalProtocolError, match="is in group None of step 0, not 1"):
        alone.handle(encode(RoundStart(0, model, block=1)))
