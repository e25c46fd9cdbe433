"""Each defence of noise in the exchange taken out, one at a time: a hostile test of group XN fails."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pytest

from fedavg import DistributedGaussian
from fedavg.adapters.exchange import Agreement, Contribution, Node
from fedavg.adapters.exchange.nodes import node as nodes
from fedavg.adapters.exchange.vectors import noisy
from fedavg.adapters.exchange.vectors.noisy import NoisyCoordinates
from tests.fedavg.adapters.exchange.vectors import test_noisy as numbers
from tests.hostile.exchange.noise import test_noise as attacks
from tests.hostile.mutants import FOUND, without


def missed(test, *arguments, parties=None):
    """The test says that the attack went through."""
    with pytest.raises(FOUND):
        test(attacks.private() if parties is None else parties, *arguments)


def test_xn1_mutant_that_believes_the_servers_agreement(monkeypatch):
    without(monkeypatch, Node, "read", "request.agreement != self.agreement.digest")
    with pytest.raises(attacks.RefusedRequestError, match="other contents"):
        # The next door holds: the length of a vector with noise is another one.
        attacks.joined(
            parties := attacks.private(),
            0,
            attacks.MeanServer(
                attacks.without_noise(parties.agreement), attacks.RUN, 1, "train", 6, attacks.LONG
            ),
        )


@pytest.mark.parametrize("other", ["another clip", "less noise"])
def test_xn1_mutant_whose_digest_leaves_the_noise_out(monkeypatch, other):
    """A digest over people alone, so that the name of the sum no longer says what each of them adds."""

    def digest(self):
        people = [sorted(self.nodes.items()), sorted(self.members.items())]
        return hashlib.sha256(msgspec.msgpack.encode(people)).digest()

    monkeypatch.setattr(Agreement, "digest", property(digest))
    missed(attacks.test_xn1_a_node_that_is_told_otherwise_enters_no_sum_of_the_others, other)


def test_xn1_mutant_that_trusts_the_requests_length(monkeypatch):
    without(monkeypatch, Node, "join", "found != facts")
    with pytest.raises((*FOUND, attacks.FedAvgError, attacks.HeError)):
        attacks.test_xn1_a_request_for_a_shorter_sum_gets_nothing(attacks.private())


def test_xn2_mutant_whose_nodes_add_nothing(monkeypatch):
    monkeypatch.setattr(NoisyCoordinates, "sent", lambda _, integers, __: integers)
    missed(attacks.test_xn2_every_reply_holds_its_share)


def test_xn2_mutant_that_sends_plain_zeros(monkeypatch):
    def nothing(self):
        self._session.set_input(np.zeros(self._at.length, np.int64))
        return nodes.Reply(self._node, tuple(self._session.start())).to_bytes()

    monkeypatch.setattr(Contribution, "send_nothing", nothing)
    missed(attacks.test_xn2_a_node_without_a_record_sends_its_share_too)


def test_xn2_mutant_whose_server_does_not_top_up(monkeypatch):
    without(
        monkeypatch,
        NoisyCoordinates,
        "released",
        "self.resolution.server_stddev(asked, len(contributors))",
        "0.0",
    )
    missed(attacks.test_xn2_the_server_adds_the_shares_of_the_silent)


def test_xn2_mutant_that_shares_the_noise_among_all_nodes(monkeypatch):
    """Enrolled ones, whether or not they are asked."""
    without(
        monkeypatch,
        NoisyCoordinates,
        "sent",
        "stddev(asked)",
        "stddev(self.resolution.num_clients)",
    )
    with pytest.raises(FOUND):
        attacks.test_xn2_a_round_that_asks_few_of_the_nodes_holds_all_of_the_noise()


def test_xn2_mutant_that_sizes_shares_for_rounds_of_all_nodes(monkeypatch):
    """The server chooses how many it asks: in rounds of four, fewer honest nodes are promised."""
    without(monkeypatch, noisy, "resolved", "CohortBounds(terms.min_cohort,", "CohortBounds(nodes,")
    with pytest.raises(FOUND):
        numbers.test_every_size_of_a_round_has_the_noise_that_is_charged(DistributedGaussian(2.0))


def test_xn2_mutant_that_does_not_clip(monkeypatch):
    """The encoding is a second door: it refuses a vector beyond the clip norm."""
    without(monkeypatch, NoisyCoordinates, "encode", "l2_clip(values, encoding.clip)", "values")
    with pytest.raises(attacks.FedAvgError, match="exceeds clip"):
        attacks.test_xn2_a_record_of_any_length_is_shortened(attacks.private())


def test_xn3_mutant_that_charges_nothing(monkeypatch):
    monkeypatch.setattr(nodes, "charge", lambda *_: None)
    missed(attacks.test_xn3_an_answer_is_charged_before_training)
    with pytest.raises(FOUND):
        attacks.test_xn3_nothing_leaves_a_node_whose_budget_is_spent()


def test_xn3_mutant_that_charges_a_model_once(monkeypatch):
    charged, charge = set(), nodes.charge

    def once(ledger, cost, label):
        if (id(ledger), cost) not in charged:
            charged.add((id(ledger), cost))
            charge(ledger, cost, label)

    monkeypatch.setattr(nodes, "charge", once)
    missed(attacks.test_xn3_every_attempt_is_charged_and_none_is_free)


def test_xn3_mutant_that_charges_before_it_claims(monkeypatch):
    """A server that sends one request again would spend the budget."""
    join, charge = Node.join, nodes.charge

    def first(self, request, facts, arrays, settings=b""):
        charge(self.ledger, nodes.vectors(self.agreement, facts.kind, arrays).cost, "early")
        return join(self, request, facts, arrays, settings)

    monkeypatch.setattr(Node, "join", first)
    monkeypatch.setattr(nodes, "charge", lambda *_: None)
    missed(attacks.test_xn3_a_request_that_is_sent_again_is_not_answered_and_costs_nothing)


def test_xn3_mutant_without_claims(monkeypatch):
    without(monkeypatch, Node, "_claim", "not self._recorded(facts.fact(what))")
    missed(attacks.test_xn3_a_request_that_is_sent_again_is_not_answered_and_costs_nothing)


def test_xn3_mutant_that_starts_without_a_ledger(monkeypatch):
    without(monkeypatch, Node, "__post_init__", "noisy and self.ledger is None")
    with pytest.raises(FOUND):
        attacks.test_xn3_a_node_without_a_ledger_does_not_start(attacks.private(), None)
