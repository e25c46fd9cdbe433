"""Each defence of a node taken out, one at a time: a hostile test of group X fails."""

from __future__ import annotations

import hashlib
import json

import pytest

from fedavg.adapters.exchange import Agreement, Contribution, Node, Stage
from fedavg.adapters.exchange.messages import Reply, Request
from fedavg.errors import LocalProtocolError
from secagg.committee import Member
from tests.fedavg.adapters.exchange.parties import Parties
from tests.hostile.exchange import test_server as attacks
from tests.hostile.mutants import FOUND, without


def missed(test, *arguments):
    """The test says that the attack went through."""
    with pytest.raises(FOUND):
        test(Parties(), *arguments)


def no_claim(monkeypatch):
    without(monkeypatch, Node, "_claim", "not self._recorded(facts.fact(what))")
    without(monkeypatch, Member, "_claim", 'boolean("what journal.add returns", new)', "True")


def test_x1_mutant_that_believes_the_servers_agreement(monkeypatch):
    without(monkeypatch, Node, "read", "request.agreement != self.agreement.digest")
    missed(attacks.test_x1_a_server_with_another_agreement_gets_nothing)


def test_x1_mutant_without_a_floor(monkeypatch):
    floor = "not terms.min_cohort <= request.asked <= len(self.agreement.nodes)"
    without(monkeypatch, Node, "read", floor)
    missed(attacks.test_x1_a_round_of_too_few_is_refused_at_every_stage, 1)


def test_x1_mutant_that_sums_every_kind(monkeypatch):
    without(monkeypatch, Node, "read", "kind not in terms.records")
    missed(attacks.test_x1_a_kind_that_is_not_agreed_on_gets_nothing)


def test_x2_mutant_that_contributes_again(monkeypatch):
    no_claim(monkeypatch)
    missed(attacks.test_x2_a_request_for_a_record_is_answered_once)


def test_x2_mutant_that_claims_a_sum_instead_of_a_round(monkeypatch):
    def claim(self, facts, what):
        if not self._recorded(facts.context(self.agreement.digest) + what.encode()):
            raise attacks.RefusedRequestError("answered before")

    monkeypatch.setattr(Node, "_claim", claim)
    missed(attacks.test_x2_a_round_is_answered_once_under_any_content)


@pytest.mark.parametrize("stage", ["report", "sign", "answer"])
def test_x2_mutant_that_answers_a_stage_again(stage, monkeypatch):
    no_claim(monkeypatch)
    missed(attacks.test_x2_a_stage_of_the_committee_is_answered_once, stage)


def test_x2_mutant_that_believes_the_servers_opening(monkeypatch):
    import fedavg.sums.one_shot.committee_sessions as sessions

    monkeypatch.setattr(sessions, "check_opening", lambda *_: None)
    missed(attacks.test_x2_a_request_of_another_run_is_refused)


def test_x3_mutant_of_two_processes(monkeypatch, tmp_path):
    no_claim(monkeypatch)
    missed(attacks.test_x3_of_many_processes_with_one_request_one_answers, tmp_path)


def test_x4_mutant_that_signs_two_sets(monkeypatch):
    no_claim(monkeypatch)
    missed(attacks.test_x4_a_member_signs_one_set_a_round)


def test_x4_each_of_both_claims_is_enough(monkeypatch):
    """A node claims a stage of a round, and a member the name of a sum."""
    without(monkeypatch, Node, "_claim", "not self._recorded(facts.fact(what))")
    attacks.test_x4_a_member_signs_one_set_a_round(Parties())


def test_x5_mutant_that_trusts_the_requests_digest(monkeypatch):
    without(monkeypatch, Node, "join", "found != facts")
    missed(attacks.test_x5_another_model_than_the_request_names_is_refused)
    missed(attacks.test_x5_other_settings_than_the_request_names_are_refused)


def test_x6_mutant_that_counts_no_attempts(monkeypatch):
    monkeypatch.setattr(Node, "_claim_attempt", lambda *_: None)
    missed(attacks.test_x6_one_model_is_answered_for_a_few_times_only)


def test_x6_mutant_that_counts_contents_instead_of_models(monkeypatch):
    counted = "_model_digest(at, arrays)"
    without(monkeypatch, Node, "join", counted, "facts.content + facts.run.encode()")
    missed(attacks.test_x6_the_same_model_in_other_words_is_the_same_model)
    missed(attacks.test_x6_requests_without_arrays_are_counted)


def test_x6_mutant_without_a_last_bound(monkeypatch):
    monkeypatch.setattr(Node, "_claim_slot", lambda *_: None)
    missed(attacks.test_x6_no_model_of_the_servers_choice_evades_the_last_bound)


def test_x10_mutant_whose_digest_sorts_every_map(monkeypatch):
    def digest(self):
        plain = json.loads(self.to_bytes())
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).digest()

    monkeypatch.setattr(Agreement, "digest", property(digest))
    with pytest.raises(FOUND):
        attacks.test_x10_a_copy_with_its_ranges_in_another_order_is_another_agreement(Parties())


def test_x11_mutant_that_stays_silent(monkeypatch):
    monkeypatch.setattr(Contribution, "send_nothing", lambda _: Reply(2).to_bytes())
    with pytest.raises(LocalProtocolError, match="without a message"):
        attacks.test_x11_a_value_beyond_its_range_is_silent_to_nobody(Parties(), 5.0)


def test_a_request_is_what_the_attacks_think():
    """The attacks build requests themselves; this one would be honest."""
    here = Parties()
    request = Request(Stage.NAME, here.agreement.digest, 1, 6, 10, bytes(32))
    assert here.node(0).read(request.to_bytes(), run="r", kind="train")[0] == request
