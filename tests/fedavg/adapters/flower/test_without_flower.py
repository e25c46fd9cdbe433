"""What of the adapter needs no Flower: refusals of strategies, outcomes, and the missing engine itself."""

from __future__ import annotations

import importlib.util

import pytest

from fedavg.adapters.flower import Outcome, SecureGrid, secure_mod
from fedavg.adapters.flower.strategies import REFUSED, check_caller, check_strategy
from fedavg.errors import MissingExtraError, PlanError

_HERE = importlib.util.find_spec("flwr") is not None


@pytest.mark.skipif(_HERE, reason="Flower is installed")
def test_without_flower_the_remedy_is_named():
    for make in (secure_mod, lambda: SecureGrid(None, "agreement.json")):
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
