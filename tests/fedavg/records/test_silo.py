"""One silo: order of messages, charges before anything leaves, zeros in place of failures, and no leaks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from dp import BudgetExhaustedError, Ledger, SharedLedger
from fedavg.errors import LocalProtocolError, WireFormatError
from fedavg.protocol.messages import Ready, RoundStart, SumMessage, SumOpen, decode, encode
from fedavg.records.silo import rounded
from tests.fedavg.records.small import LENGTH, federation, no_noise, silos

MODEL = np.zeros(LENGTH, "<f4").tobytes()


def party(**changes):
    run = federation(**changes)
    return run._parties.silos[10], run


def start(step: int = 0, attempt: int = 0, model: bytes = MODEL) -> bytes:
    return encode(RoundStart(step, model, attempt=attempt))


def opening(run, message: bytes, size: int = 4) -> bytes:
    """The opening of a sum in the clear that follows this first message."""
    from fedavg.protocol.messages import round_context, start_digest

    begun = decode(message)
    context = round_context(run.resolution.digest, begun.round, size, start_digest(begun))
    return encode(SumOpen(begun.round, size, b"PLN1" + context, begun.attempt))


def test_a_step_is_a_ready_and_then_one_vector():
    silo, run = party()
    (ready,) = silo.handle(start())
    assert decode(ready) == Ready(0)
    assert silo.attempts == 0  # nothing has left yet
    (upload,) = silo.handle(opening(run, start()))
    assert isinstance(decode(upload), SumMessage)
    assert silo.attempts == 1
    assert run.spent[10] > 0
    assert run.spent[11] == 0


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([start(), start()], "was in step 0, attempt 0, before"),
        ([start(1), start(0)], "was in step 0"),
        ([start(0, 1), start(0, 0)], "attempt 0, before"),
        ([start(3)], "the plan has no step 3"),
        ([start(model=MODEL[:-4])], "does not hold 18 parameters"),
        ([encode(SumMessage(0, b""))], "awaits no such message"),
        ([encode(Ready(0))], "awaits no such message"),
        ([encode(SumOpen(0, 4, b""))], "is in step -1"),
        ([start(), encode(SumOpen(1, 4, b""))], "is in step 0"),
        ([start(), encode(SumOpen(0, 2, b""))], "outside the plan's bounds 3 … 4"),
        ([start(), encode(SumOpen(0, 5, b""))], "outside the plan's bounds"),
        ([start(), encode(SumOpen(0, 4, b"PLN1another"))], "for another round or model"),
    ],
)
def test_messages_out_of_order_are_refused_and_nothing_is_charged(messages, said):
    silo, run = party()
    *before, last = messages
    for message in before:
        silo.handle(message)
    with pytest.raises(LocalProtocolError, match=said):
        silo.handle(last)
    assert silo.attempts == 0
    assert run.spent[10] == 0


def test_bytes_that_are_no_message_are_refused():
    with pytest.raises(WireFormatError):
        party()[0].handle(b"\x00nothing")


def test_every_attempt_is_charged_to_the_silos_own_ledger():
    ledgers = {silo: Ledger(100.0, 1e-5) for silo in silos()}
    silo, run = party(ledgers=ledgers)
    for attempt in range(3):
        silo.handle(start(0, attempt))
        silo.handle(opening(run, start(0, attempt)))
    account = run.resolution.account
    counts = dict(ledgers[10].accountant.counts)
    assert counts == {account.budget_event(): 3, account.failure(3): 1}
    assert not ledgers[11].history


def test_charges_are_on_the_disk_before_the_vector_leaves(tmp_path):
    files = {
        silo: SharedLedger.create(tmp_path / f"{silo}.json", Ledger(100.0, 1e-5))
        for silo in silos()
    }
    silo, run = party(ledgers=files)
    silo.handle(start())
    silo.handle(opening(run, start()))
    assert Ledger.load(tmp_path / "10.json").spent().high > 0


def test_a_silo_without_budget_says_so_before_others_are_charged():
    silo, run = party(ledgers={silo: Ledger(1e-3, 1e-5) for silo in silos()})
    with pytest.raises(BudgetExhaustedError, match="silo 10 has no budget left"):
        silo.handle(start())
    assert silo.exhausted
    assert run.spent[10] == 0


def test_a_charge_that_is_refused_keeps_the_vector_inside(monkeypatch):
    silo, run = party(ledgers={silo: Ledger(1e-3, 1e-5) for silo in silos()})
    monkeypatch.setattr(type(silo), "_check_room", lambda _self: None)
    silo.handle(start())
    with pytest.raises(BudgetExhaustedError):
        silo.handle(opening(run, start()))
    assert silo.exhausted
    with pytest.raises(LocalProtocolError, match="awaits no such message"):
        silo.handle(encode(SumMessage(0, b"")))


class Fragile(nn.Module):
    """Raises for some models only, as a user's module might for some records."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(5, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if bool((self.dense.bias.detach() > 5).all()):
            raise ValueError("singular matrix")
        return self.dense(rows)


def test_a_model_that_fails_for_all_becomes_zeros_and_noise_and_lines_in_the_silos_own_log(
    monkeypatch,
):
    no_noise(monkeypatch)
    silo, run = party(model=Fragile())
    raising = start(model=np.full(LENGTH, 9.0, "<f4").tobytes())
    (ready,) = silo.handle(raising)
    assert decode(ready) == Ready(0)
    assert not silo._vector.any()
    assert set(silo.troubles) == {"step 0: ValueError: singular matrix"}
    assert list(run.troubles) == [10]


def test_nothing_of_a_silo_is_printed_or_pickled():
    silo, _ = party()
    assert repr(silo) == "SiloParty(10, <redacted>)"
    with pytest.raises(LocalProtocolError, match="cannot be pickled"):
        pickle.dumps(silo)


def test_rounding_is_to_the_nearest_and_clamped():
    found = rounded(np.array([0.24, 0.26, -1e9, 1e9]), 2.0, 7)
    assert found.tolist() == [0, 1, -7, 7]
    assert found.dtype == np.int64
