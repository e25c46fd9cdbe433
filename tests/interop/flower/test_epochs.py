"""Epochs of sealing keys in Flower: run after run over one set of folders, and who hands over old keys."""

from __future__ import annotations

import importlib.util

import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import Message, RecordDict

from fedavg import OneShot
from fedavg.adapters.exchange import Node, enrol_here
from fedavg.adapters.exchange.messages import Reply, read_reply
from fedavg.adapters.flower import SecureGrid, records
from tests.hostile.mutants import FOUND, without
from tests.interop.flower.support.loopback import LoopbackGrid, client_app, stage_of
from tests.interop.flower.test_strategies import fit, record, score, terms

_NODES = 6


class Recorded(LoopbackGrid):
    """A grid that notes the card of member 2, and may have its node answer the call with a card of before."""

    old: bytes = b""
    cards: tuple[bytes, ...] = ()

    def _handled(self, message):
        reply = super()._handled(message)
        if message.metadata.dst_node_id != 1002 or reply.has_error():
            return reply
        found = read_reply(records.taken(reply.content))
        self.cards = (*self.cards, found.card)
        if not self.old or stage_of(message) != "name":
            return reply
        said = Reply(found.node, (), self.old).to_bytes()
        return Message(RecordDict({records.KEY: records.carrying(said)}), reply_to=message)


@pytest.fixture
def folder(tmp_path):
    """Six nodes, all of them members, whose keys serve for two sums."""
    committee = OneShot(committee=6, corrupt_members=1, absent_members=1, epoch_rounds=2)
    enrol_here(tmp_path, _NODES, terms(sum=committee, attempts=100))
    return tmp_path


def run(folder, number: int, sums: int, old: bytes = b""):
    """A run of some sums: the grid, and what became of them."""
    plain = Recorded(client_app(folder, fit, score), _NODES, run=number)
    plain.old = old
    grid = SecureGrid(plain, folder / "agreement.json", {}, stage_timeout=0.2)
    for _ in range(sums):
        content = RecordDict({"arrays": record()})
        messages = [Message(content, 1000 + node, "train") for node in range(_NODES)]
        grid.send_and_receive(messages, timeout=5)
    return plain, grid.outcomes


def test_runs_follow_one_another_and_keys_are_erased_on_the_way(folder):
    epochs = set()
    for number in (77, 78):
        _, outcomes = run(folder, number, 3)
        assert [outcome.contributors for outcome in outcomes] == [tuple(range(_NODES))] * 3
        (key,) = (folder / "2").glob("sealing-*[0-9]")
        epochs.add(key.name)
    assert len(epochs) == 2


def test_a_later_run_goes_on_without_a_member_that_hands_over_an_old_card(folder):
    plain, _ = run(folder, 77, 3)
    _, outcomes = run(folder, 78, 2, old=plain.cards[0])
    assert [outcome.contributors for outcome in outcomes] == [tuple(range(_NODES))] * 2
    # Of the members five are asked, from the first stage of the committee on.
    assert [asked for _, _, asked, _ in outcomes[0].stages[1:]] == [5, 5, 5]


def test_mutant_whose_nodes_show_no_cards(folder, monkeypatch):
    seen = "Reply(self.keys.node, seen, card)"
    without(monkeypatch, Node, "_named", seen, "Reply(self.keys.node, (), card)")
    with pytest.raises(FOUND):
        test_a_later_run_goes_on_without_a_member_that_hands_over_an_old_card(folder)
