"""A node's ledger: what is charged, what is refused, and what a file must be."""

from __future__ import annotations

import pytest

from dp import FailureEvent, GaussianEvent, Ledger, SharedLedger
from fedavg.adapters.exchange import RefusedRequestError
from fedavg.adapters.exchange.nodes.ledger import charge, open_ledger
from fedavg.adapters.exchange.vectors.costs import Cost
from fedavg.errors import ConfigError

COST = Cost(GaussianEvent(2.0), FailureEvent(1e-15), None)


def test_a_charge_names_what_it_is_about():
    ledger = Ledger(50.0, 1e-5)
    charge(ledger, COST, "train 3 of run 7")
    assert [(entry.event, entry.label) for entry in ledger.history] == [
        (COST.failure, "train 3 of run 7"),
        (COST.release, "train 3 of run 7"),
    ]


def test_a_refusal_names_no_number_of_the_budget():
    """Its text goes to the server."""
    ledger = Ledger(1.25, 1e-5)
    with pytest.raises(RefusedRequestError) as caught:
        charge(ledger, COST, "train 1 of run 7")
    assert "1.25" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_ledger_in_a_folder(tmp_path):
    assert open_ledger(tmp_path) is None
    (tmp_path / "ledger.json").write_text("{}")
    with pytest.raises(ConfigError, match="ledger cannot be used"):
        open_ledger(tmp_path)
    (tmp_path / "ledger.json").unlink()
    SharedLedger.create(tmp_path / "ledger.json", Ledger(50.0, 1e-5))
    found = open_ledger(tmp_path)
    charge(found, COST, "train 1 of run 7")
    (tmp_path / "ledger.json").unlink()
    with pytest.raises(ConfigError, match="cannot be charged"):
        charge(found, COST, "train 2 of run 7")
    with pytest.raises(ConfigError, match="no privacy ledger"):
        charge(None, COST, "train 3 of run 7")
