"""Each defence of the sum by a committee taken out, one at a time: a hostile test of group V fails."""

from __future__ import annotations

import pytest

import secagg.committee.contributor as dealing
import secagg.committee.member as membership
from secagg import Aborted
from secagg.committee import Collector, Committee, CommitteeParams, Member
from secagg.committee.arithmetic import sharing
from secagg.committee.collector import closing
from secagg.committee.collector.admission import Admission
from secagg.committee.verdicts import evidence, findings
from tests.hostile.committee import test_sets as sets
from tests.hostile.committee import test_shares as shares
from tests.hostile.mutants import FOUND, without


def missed(test, *arguments):
    """The test says that the attack went through."""
    with pytest.raises(FOUND):
        test(*arguments)


def no_claim(monkeypatch):
    without(monkeypatch, Member, "_claim", 'boolean("what journal.add returns", new)', "True")


def test_v1_mutant_whose_server_chooses_the_committee(monkeypatch):
    without(
        monkeypatch,
        Committee,
        "_check_number",
        "not len(self.directory) - absent <= cards <= len(self.directory)",
    )
    missed(sets.test_v1_a_server_that_holds_cards_back_chooses_no_committee)


@pytest.mark.parametrize("where", ["the same object", "another process", "another thread"])
def test_v2_mutant_that_signs_again(where, monkeypatch):
    no_claim(monkeypatch)
    missed(sets.test_v2_one_signature_a_context, where)


def test_v2_mutant_of_two_processes(monkeypatch):
    no_claim(monkeypatch)
    missed(sets.test_v2_two_processes_at_once_bring_one_signature)


def test_v2_mutant_that_answers_again(monkeypatch):
    no_claim(monkeypatch)
    missed(sets.test_v2_one_answer_a_context, True)


def test_v2_mutant_that_claims_a_session_instead_of_a_context(monkeypatch):
    without(monkeypatch, Member, "_claim", "self._context)", "self._session)")
    missed(sets.test_v2_the_fact_holds_for_the_context_under_any_parameters)


@pytest.mark.parametrize("name", ["fewer than the floor", "one client", "nobody"])
def test_v3_mutant_without_a_floor(name, monkeypatch):
    without(monkeypatch, Member, "_check_size", "low <= clients <= high", "True")
    missed(sets.test_v3_odd_sets_are_refused_before_anything_is_claimed, name, True)


@pytest.mark.parametrize("name", ["a stranger", "another digest", "fewer delivered"])
def test_v3_mutant_that_signs_what_it_did_not_see(name, monkeypatch):
    seen = "self._committee.directory.verify(self._identity.public, proposal.signature, own)"
    without(monkeypatch, Member, "_endorse", seen, "True")
    missed(sets.test_v3_odd_sets_are_refused_before_anything_is_claimed, name, True)


def test_v3_mutant_that_signs_shares_that_did_not_open(monkeypatch):
    opened = "all(proposal.opened[place] for place in places)"
    without(monkeypatch, Member, "_endorse", opened, "True")
    missed(sets.test_v3_a_set_with_a_share_that_did_not_open_is_not_signed)


@pytest.mark.parametrize("fault", ["unsigned", "another's signature"])
def test_v3_mutant_that_believes_the_delivery(fault, monkeypatch):
    without(monkeypatch, Member, "_report", "_require(signed,", "_require(True,")
    missed(sets.test_v3_odd_deliveries_are_not_reported_on, fault)


def test_v3_mutant_that_opens_any_number(monkeypatch):
    without(monkeypatch, Member, "_check_size", "low <= clients <= high", "True")
    missed(sets.test_v3_odd_deliveries_are_not_reported_on, "too few")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("one short", "_require(shown >= quorum,"),
        ("forged", "_require(valid,"),
        ("of another set", "_require(valid,"),
    ],
)
def test_v3_mutant_that_takes_a_quorum_that_is_none(fault, check, monkeypatch):
    without(monkeypatch, Member, "_check_quorum", check, "_require(True,")
    missed(sets.test_v3_quorums_that_are_none, fault)


def test_v3_mutant_that_answers_other_sessions(monkeypatch):
    without(monkeypatch, Member, "receive", "session != self._session")
    missed(sets.test_v3_quorums_that_are_none, "of another session")


def test_v3_mutant_that_adds_what_did_not_open(monkeypatch):
    without(monkeypatch, Member, "_answer", "len(present) == len(names)", "True")
    missed(sets.test_v3_a_member_whose_envelopes_changed_answers_nothing)


def test_v4_mutant_that_counts_everybody_in(monkeypatch):
    left_out = "out = gone | findings.guilty | findings.unclear"
    without(monkeypatch, closing, "choose", left_out, "out = frozenset()")
    with pytest.raises((Aborted, AssertionError)):
        shares.test_v4_rubbish_for_any_number_of_members_costs_its_client_alone(
            shares.HOW[0], 5, monkeypatch
        )


def test_v4_mutant_that_convicts_on_rumours(monkeypatch):
    proven = "_require(index in found.guilty"
    without(monkeypatch, evidence, "check_rejection", proven, "_require(True")
    monkeypatch.setattr(shares, "check_rejection", evidence.check_rejection)
    missed(shares.test_v4_c_members_cannot_make_up_evidence)


def test_v4_mutant_that_believes_unsigned_reports(monkeypatch):
    without(monkeypatch, evidence, "check_rejection", "_require(signed,", "_require(True,")
    monkeypatch.setattr(shares, "check_rejection", evidence.check_rejection)
    test = shares.test_v4_the_evidence_convinces_others_and_a_rumour_does_not
    missed(test, shares.HOW[0], monkeypatch)


def test_v4_mutant_that_names_at_c_objections(monkeypatch):
    mutant = without(monkeypatch, findings, "judge", "rest < 0", "rest <= 0")
    monkeypatch.setattr(closing, "judge", mutant)
    test = shares.test_v4_rubbish_for_any_number_of_members_costs_its_client_alone
    missed(test, "for nobody", 2, monkeypatch)


@pytest.mark.parametrize("c", [1, 2, 3])
def test_v5_mutant_that_sums_r_answers_however_many_may_lie(c, monkeypatch):
    """The radius of the code alone, without the c answers to spare."""
    radius = "spare = whole('answers', answers) - self.rebuild - self.corrupt"
    source = radius.replace("'", '"')
    without(monkeypatch, CommitteeParams, "radius", source, "spare = (answers - self.rebuild) // 2")
    missed(shares.test_v5_no_c_liars_ever_make_a_wrong_sum, c)


def test_v5_mutant_that_reads_no_check_values(monkeypatch):
    """Shares that open and lie on no polynomial then look like false answers of honest members."""
    sound = "unsound[part] = np.logical_not(_sound(params, places, table))"
    mutant = without(monkeypatch, findings, "judge", sound, "pass")
    monkeypatch.setattr(closing, "judge", mutant)
    with pytest.raises((Aborted, AssertionError)):
        shares.test_v5_a_dealer_that_frames_members_is_convicted_by_check_values(
            shares.HOW[0], monkeypatch
        )


def unbound(monkeypatch):
    """Keys and associated data that do not say whose share it is."""
    for module in (dealing, membership):
        key, about = module.share_key, module.associated
        monkeypatch.setattr(
            module, "share_key", lambda a, s, p, _, place, key=key: key(a, s, p, 0, place)
        )
        monkeypatch.setattr(
            module, "associated", lambda s, _, place, __, about=about: about(s, 0, place, bytes(32))
        )


def test_v7_mutant_whose_shares_name_no_client(monkeypatch):
    unbound(monkeypatch)
    missed(shares.test_v7_copies_of_one_clients_message_open_nowhere, 4)


def test_v7_mutant_whose_shares_name_no_message(monkeypatch):
    unbound(monkeypatch)
    missed(shares.test_v7_a_client_that_signs_another_digest_than_it_sealed_is_left_out)


@pytest.mark.parametrize("fault", ["digest", "key", "exchanged", "one envelope", "signature"])
def test_v7_mutant_that_takes_unsigned_contributions(fault, monkeypatch):
    signed = "not self.clients.verify(identity, message.signature, accepted.name)"
    without(monkeypatch, Admission, "contribution", signed)
    missed(shares.test_v7_mauled_contributions_are_refused_at_the_door, fault)


def test_v8_mutant_whose_last_free_value_is_none(monkeypatch):
    drawn = "uniform(modulus, len(secrets) * t).reshape(-1, t)"
    instead = (
        "np.pad(uniform(modulus, len(secrets) * (t - 1)).reshape(-1, t - 1), ((0, 0), (0, 1)))"
    )
    without(monkeypatch, sharing, "deal", drawn, instead)
    missed(shares.test_v8_shares_of_any_t_members_take_all_values)


def test_v9_mutant_that_counts_what_c_members_could_open(monkeypatch):
    opened = property(lambda self: self._asked + self._params.corrupt > self._params.threshold)
    monkeypatch.setattr(Collector, "opened", opened)
    missed(sets.test_v9_a_round_counts_as_opened_as_soon_as_a_request_has_left)


def test_v9_mutant_that_counts_answers_in_hand(monkeypatch):
    arrived = property(lambda self: self._answered > 0)
    monkeypatch.setattr(Collector, "opened", arrived)
    missed(sets.test_v9_a_round_that_failed_after_the_requests_counts_as_opened)


@pytest.mark.parametrize("how", ["denial", "false values"])
def test_v11_mutant_that_spares_all_members(how, monkeypatch):
    most = "most = min(params.corrupt, len(reports) - needed)"
    without(monkeypatch, closing, "choose", most, "most = 0")
    with pytest.raises(Aborted):
        shares.test_v11_members_that_slander_all_clients_are_left_out_themselves(how, {0})


def test_v11_mutant_that_spares_no_members(monkeypatch):
    most = "most = min(params.corrupt, len(reports) - needed)"
    without(monkeypatch, closing, "choose", most, "most = params.corrupt")
    with pytest.raises(Aborted):
        shares.test_v11_members_are_left_out_only_while_a_sum_remains_possible("denial")


def test_v12_mutant_whose_sessions_have_no_context(monkeypatch):
    without(monkeypatch, Committee, "session", "self.root, context)", "self.root)")
    missed(sets.test_v12_another_n_is_another_context_and_no_sum)


def test_mutant_that_believes_members(monkeypatch):
    check = "not self.committee.directory.verify(identity, message.signature, statement)"
    without(monkeypatch, Admission, "from_member", check)
    missed(shares.test_odd_messages_of_members_change_nothing, shares.Phase.ANSWER, "signature")
