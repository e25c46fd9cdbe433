"""A committee that is drawn from all clients: its members, its bound, and who may say who was drawn."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from dp import Ledger
from fedavg import FedAvg, FixedCohort, FixedPoint, LocalTraining, Plan
from fedavg.adapters.exchange import Agreement, NodeKeys
from fedavg.adapters.polling import SumAgreement
from fedavg.config.build import build_job, load_config
from fedavg.errors import PlanError
from fedavg.plan.resolution import resolve
from fedavg.records.resolution import resolve_records
from fedavg.statistics import PrivacyBudget, summarise
from fedavg.sums.interface import FIRST_OPENER, SumSpec
from fedavg.sums.once import sum_once
from fedavg.sums.one_shot import OneShot, member_material, public_material
from fedavg.sums.one_shot.draw import Draw
from secagg import Identity
from secagg.committee import SealingKey, drawn_members
from tests.fedavg.adapters.exchange.parties import terms
from tests.fedavg.records.small import plan as record_plan
from tests.fedavg.support.silos import silos
from tests.hostile.mutants import FOUND, without

VALUE = "a beacon's value of 12:00"
SUMS = OneShot(committee=20, absent_members=2, drawn=VALUE, candidates=30, dropout_rate=0.2)
IDENTITIES = {client: Identity.generate() for client in range(1, 31)}
CLIENTS = {client: one.public for client, one in IDENTITIES.items()}
SPEC = SumSpec(5000, 9, None, 20, b"any sum")


def test_the_bound_is_the_exact_tail():
    for members in (20, 50, 200):
        bad = Draw(VALUE, 1000, 0.1).corrupt_members(members)

        def more_than(count, members=members):
            ways = sum(
                comb(100, k) * comb(900, members - k)
                for k in range(count + 1, min(100, members) + 1)
            )
            return Fraction(ways, comb(1000, members))

        assert more_than(bad) <= Fraction(1, 2**40) < more_than(bad - 1)


def test_a_share_of_the_clients_is_rounded_up():
    assert Draw(VALUE, 35, 0.1).corrupt == 4
    assert Draw(VALUE, 100, 0.07).corrupt == 7  # 0.07 · 100 is above 7 in float64


def test_corrupt_members_are_those_of_the_tail_at_least():
    assert SUMS._way.params(SUMS.key_spec(SPEC)).corrupt == 3  # all that there are in 30
    asked = OneShot(committee=20, absent_members=1, corrupt_members=5, drawn=VALUE, candidates=30)
    assert asked._way.params(asked.key_spec(SPEC)).corrupt == 5


def test_a_committee_that_is_too_small_is_refused_with_numbers_and_the_size_that_is_not():
    said = (
        "of 1000 clients 100 may be corrupt, and a draw of 50 has up to 24 of them, but once in 2\\^40: too "
        "many for a committee of this size .*; committee=60 is large enough"
    )
    with pytest.raises(PlanError, match=said):
        OneShot(committee=50, drawn=VALUE, candidates=1000)
    assert OneShot(committee=60, drawn=VALUE, candidates=1000).committee == 60
    with pytest.raises(PlanError, match="name the members, or enrol more clients"):
        OneShot(committee=4, absent_members=0, drawn=VALUE, candidates=6, corrupt_rate=0.6)
    with pytest.raises(PlanError, match="31 cannot be drawn from 30"):
        OneShot(committee=31, drawn=VALUE, candidates=30)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"drawn": VALUE}, "give both or none"),
        ({"candidates": 30}, "give both or none"),
        ({"drawn": "short", "candidates": 30}, "16 characters or more"),
        ({"drawn": VALUE, "candidates": 2}, "not 2"),
        ({"drawn": VALUE, "candidates": 30, "keys": "secagg"}, "has none: take it out"),
    ],
)
def test_what_does_not_go_together(given, what):
    with pytest.raises(PlanError, match=what):
        OneShot(**given)


def test_the_members_are_drawn_and_sum():
    given = SUMS.provision(SPEC, CLIENTS)
    drawn = drawn_members(CLIENTS, 20, VALUE.encode())
    assert sorted(given.openers) == sorted(FIRST_OPENER - member for member in drawn)
    assert SUMS.drawn_from(CLIENTS) == drawn
    assert OneShot().drawn_from(CLIENTS) == ()
    vectors = {client: np.arange(40) % 9 for client in range(1, 31)}
    total = sum_once(SUMS, vectors, max_abs=9, context=b"a drawn committee").total
    assert np.array_equal(total, 30 * (np.arange(40) % 9))


def test_what_is_assumed_says_what_the_committee_is():
    said = SUMS.assumptions(SPEC)
    assert said[0].startswith("The committee of 20 is drawn from 30 clients, of whom at most 3")
    assert VALUE in said[0]
    assert "at most 3 of the 20 members" in said[1]


def other_members():
    """An operator, or a server that hands out the material, names twenty others."""
    drawn = SUMS.drawn_from(CLIENTS)
    others = [client for client in CLIENTS if client not in drawn]
    named = sorted([*drawn[: 20 - len(others)], *others])
    cards = [SealingKey.generate(IDENTITIES[at], at, epoch=1).card for at in named]
    public = public_material(CLIENTS, {at: CLIENTS[at] for at in named}, cards)
    with pytest.raises(PlanError, match="not those that were drawn"):
        SUMS.client_side(public)
    with pytest.raises(PlanError, match="not those that were drawn"):
        SUMS.server_side(public).session(SPEC, sorted(CLIENTS)[:20])
    own = SealingKey.generate(IDENTITIES[named[0]], named[0], epoch=1)
    with pytest.raises(PlanError, match="not those that were drawn"):
        SUMS.opener_side(member_material(public, IDENTITIES[named[0]], own))


def test_other_members_than_the_drawn_ones_are_refused_by_every_party():
    other_members()


def test_mutant_that_believes_who_was_drawn(monkeypatch):
    without(monkeypatch, Draw, "check_members", "given != self.members(clients, len(given))")
    with pytest.raises((*FOUND, TypeError)):
        other_members()


def test_another_number_of_clients_has_another_bound():
    with pytest.raises(PlanError, match="candidates=30, and 29 clients are enrolled"):
        SUMS.provision(SPEC, dict(list(CLIENTS.items())[:29]))


def test_more_clients_than_there_are_enter_no_sum():
    with pytest.raises(PlanError, match="a sum over 31 clients, and candidates=30"):
        SUMS.check(replace(SPEC, roster_size=31))
    with pytest.raises(PlanError, match="asks at least 34 clients, and candidates=20"):
        OneShot(0.85, 0.08, absent_members=0, drawn=VALUE, candidates=20)
    with pytest.raises(PlanError, match="no cohort below 10000 is large enough"):
        OneShot(dropout_rate=0.9)


def _a_run():
    plan = Plan(
        FixedCohort(10),
        FixedPoint(1.0, 16, rounding="nearest"),
        None,
        SUMS,
        LocalTraining(),
        FedAvg(),
    )
    resolve(plan, num_clients=31, vector_length=9, num_rounds=5, largest_client=40)


def _records():
    resolve_records(record_plan(secure_sum=SUMS), silos=31, vector_length=9)


def _an_agreement_of_nodes():
    keys = [NodeKeys.generate(node) for node in range(31)]
    cards = [key.card for key in keys]
    Agreement.among(terms(sum=SUMS), cards, members=range(20))


def _an_agreement_of_parties():
    known = {**CLIENTS, 31: Identity.generate().public}
    SumAgreement(SUMS, 1000, 2**15, known)


@pytest.mark.parametrize(
    "door", [_a_run, _records, _an_agreement_of_nodes, _an_agreement_of_parties]
)
def test_a_wrong_number_of_clients_is_refused_where_it_becomes_known(door):
    with pytest.raises(PlanError, match="candidates=30, and 31 clients .* say candidates=31"):
        door()


def test_a_wrong_number_of_clients_costs_no_budget():
    given, ledger = silos(), Ledger(9.0, 1e-5)
    count = len(given.rows) + 1
    wrong = OneShot(committee=4, corrupt_members=0, absent_members=0, drawn=VALUE, candidates=count)
    with pytest.raises(PlanError, match=f"candidates={count}, and {count - 1} clients"):
        summarise(given, secure_sum=wrong, budget=PrivacyBudget(2.0, 1e-6), ledger=ledger)
    assert not ledger.history


def drawn_parties(**other):
    """Polled parties, of whom the drawn clients are the members."""
    drawn = SUMS.drawn_from(CLIENTS)
    people = {at: IDENTITIES[at] for at in drawn} | other.get("people", {})
    cards = tuple(SealingKey.generate(who, at, epoch=1).card for at, who in people.items())
    return SumAgreement(
        SUMS, 1000, 2**15, CLIENTS, {at: who.public for at, who in people.items()}, cards
    )


def put_others_in_their_places():
    """The operator of the file gives a drawn member's place to a person of their own."""
    assert tuple(sorted(drawn_parties().members)) == SUMS.drawn_from(CLIENTS)
    first = SUMS.drawn_from(CLIENTS)[0]
    with pytest.raises(PlanError, match="not the drawn ones .* one identity in both"):
        drawn_parties(people={first: Identity.generate()})


def test_a_drawn_member_signs_under_the_identity_that_was_drawn():
    put_others_in_their_places()


def test_mutant_that_looks_at_the_ids_alone(monkeypatch):
    check = "self.members != {member: self.clients[member] for member in drawn}"
    without(
        monkeypatch, SumAgreement, "_check_drawn", check, "sorted(self.members) != sorted(drawn)"
    )
    with pytest.raises(FOUND):
        put_others_in_their_places()


def test_nodes_of_an_engine_draw_their_committee():
    keys = [NodeKeys.generate(node) for node in range(30)]
    agreed = terms(sum=SUMS)
    found = Agreement.among(agreed, [key.card for key in keys])
    assert tuple(found.members) == SUMS.drawn_from(found.nodes)
    assert Agreement.from_bytes(found.to_bytes()).digest == found.digest
    with pytest.raises(PlanError, match="not those that were drawn"):
        Agreement.among(agreed, [key.card for key in keys], members=range(20))


def test_a_configuration_draws(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        '[secure_sum]\nkind = "one-shot"\n'
        f'options = {{ committee = 60, drawn = "{VALUE}", candidates = 1000 }}\n'
    )
    sums = build_job(load_config(path, {})).plan.secure_sum
    assert (sums.drawn, sums.candidates, sums.committee) == (VALUE, 1000, 60)
    with pytest.raises(PlanError, match="candidates=1000, and 900 clients"):
        build_job(load_config(path, {"data.clients": 900}))
