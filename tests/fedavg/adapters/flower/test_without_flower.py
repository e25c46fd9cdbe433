"""What of the adapter needs no Flower: refusals of strategies, outcomes, and the missing engine itself."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

from fedavg.adapters.flower import Outcome, SecureGrid, calls, secure_mod
from fedavg.adapters.flower.strategies import REFUSED, check_caller, check_strategy
from fedavg.errors import MissingExtraError, PlanError

_HERE = importlib.util.find_spec("flwr") is not None


@pytest.mark.skipif(_HERE, reason="Flower is installed")
def test_without_flower_the_remedy_is_named():
    for make in (secure_mod, lambda: SecureGrid(None, "agreement.json", {})):
        with pytest.raises(MissingExtraError, match=r"pip install 'secure-fedavg\[flower\]'"):
            make()


@pytest.mark.parametrize("name", REFUSED)
def test_strategies_that_need_single_updates_are_refused_by_name(name):
    kind = type(name, (), {})
    heir = type("Mine", (kind,), {})
    for strategy, said in ((kind(), name), (heir(), "Mine")):
        with pytest.raises(PlanError, match=f"^{said} cannot run on secure sums: "):
            check_strategy(strategy)


def test_other_strategies_are_not_refused():
    class FedAvg: ...

    check_strategy(FedAvg())
    check_strategy(None)


def test_the_caller_of_the_caller_is_checked():
    def send_and_receive() -> None:
        check_caller()

    class Strategy:
        def start(self) -> None:
            send_and_receive()

    class Krum(Strategy): ...

    Strategy().start()
    send_and_receive()  # from a loop of one's own
    with pytest.raises(PlanError, match="Krum"):
        Krum().start()


def test_an_outcome_says_what_became_of_a_sum():
    stages = (("contribute", 3, 4, 0.52), ("report", 0, 4, 60.0))
    failed = Outcome(7, "train", 4, (), 0, stages, "too few members")
    assert not failed.complete
    expected = (
        "secure sum 7 (train): too few members [contribute 3/4 in 0.5 s, report 0/4 in 60.0 s]"
    )
    assert str(failed) == expected


class _Grid:
    """A grid that has the reply to message k at the k-th pull; the server itself speaks for dead nodes."""

    def __init__(self, refuses=()) -> None:
        self.pulls, self.refuses = 0, refuses

    def push_messages(self, messages):
        for message in messages:
            message.metadata.message_id = str(message.metadata.dst_node_id)
        return [
            None if m.metadata.dst_node_id in self.refuses else m.metadata.message_id
            for m in messages
        ]

    def pull_messages(self, message_ids):
        self.pulls += 1
        due = [found for found in message_ids if int(found) <= self.pulls]
        return [
            SimpleNamespace(metadata=SimpleNamespace(reply_to_message_id=found, src_node_id=1))
            for found in due
        ]


def _messages(count: int):
    return [SimpleNamespace(metadata=SimpleNamespace(dst_node_id=node)) for node in range(2, count)]


def test_replies_are_known_by_the_node_that_was_asked(monkeypatch):
    monkeypatch.setattr(calls.time, "sleep", lambda _: None)
    replies = calls.exchanged(_Grid(), _messages(6), None)
    assert sorted(replies) == [2, 3, 4, 5]
    assert sorted(calls.exchanged(_Grid(refuses=(3,)), _messages(6), None)) == [2, 4, 5]
    assert calls.exchanged(_Grid(), [], None) == {}


def test_a_stage_ends_with_its_time(monkeypatch):
    clock, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(calls.time, "sleep", sleep)
    monkeypatch.setattr(calls.time, "monotonic", lambda: clock[0])
    replies = calls.exchanged(_Grid(), _messages(1000), 30.0)
    assert clock[0] == pytest.approx(30.0)
    assert len(replies) == _Grid().pulls + len(
        slept
    )  # the nodes 2, 3, … one a pull, from the second on
    assert min(slept[:-1]) == 0.02
    assert max(slept) == 1.0
