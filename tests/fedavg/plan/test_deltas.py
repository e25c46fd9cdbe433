"""A delta that promises hardly anything is called so, and no other one."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fedavg.cli import app
from fedavg.plan.deltas import too_large_delta, usual_delta


@pytest.mark.parametrize("units", [1, 6, 1000, 10**6])
def test_the_usual_delta_is_never_too_large(units):
    assert too_large_delta(usual_delta(units), units, "clients") == ""
    assert too_large_delta(0.999 / units, units, "clients") == ""
    assert f"delta = {1 / units:g} is not below" in too_large_delta(1 / units, units, "clients")


def test_the_budget_command_warns_of_it():
    options = ["budget", "--noise", "3", "--rounds", "3", "--delta"]
    loose = CliRunner().invoke(app, [*options, "0.1"], env={"COLUMNS": "200"})
    assert loose.exit_code == 0, loose.output
    assert "Warning: delta = 0.1 is not below 1 ÷ 1,000 clients" in loose.output
    assert "Take 1e-05 or less" in loose.output
    assert "Warning" not in CliRunner().invoke(app, [*options, "1e-5"]).output
