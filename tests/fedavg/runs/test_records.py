"""A run of records from its configuration: the directory, the summary, the ledgers, and the command."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dp import SharedLedger
from fedavg.cli import app
from tests.e2e.small import blobs_in

CONFIG = """
steps = 3
score_every = 2

[records]
unit = "record"
silos = 4
rate = 0.2
max_units = 120
epsilon = 4.0

[data]
name = "{data}"

[server]
lr = 0.5
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "records.toml"
    path.write_text(CONFIG.format(data=blobs_in(tmp_path)))
    return path


def invoked(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["records", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_run_leaves_a_directory_and_prints_three_epsilons(settings, tmp_path):
    out = tmp_path / "run"
    status, printed = invoked(settings, "--out", out)
    assert status == 0, printed
    assert "epsilon, for the server with 1 silo (the budget)" in printed
    assert "3 of 3, finished" in printed
    summary = json.loads((out / "summary.json").read_text())
    three = summary["epsilon"]
    assert three["release"] == three["server"] < three["colluding"] <= 4.0
    assert summary["unit"] == "record"
    assert summary["silos"] == 4
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3]
    assert 0 < rows[0]["epsilon_release"] < rows[1]["epsilon_release"]
    assert (out / "model.safetensors").stat().st_size > 0
    ledgers = sorted((out / "ledgers").glob("*.json"))
    assert len(ledgers) == 4
    spent = SharedLedger(ledgers[0]).spent().high
    assert spent == pytest.approx(three["colluding"], rel=1e-3)


def test_silos_that_have_spent_their_budget_stop_the_next_run(settings, tmp_path):
    text = settings.read_text().replace(
        "epsilon = 4.0", f'epsilon = 4.0\nledgers = "{tmp_path}/own"'
    )
    settings.write_text(text)
    assert invoked(settings, "--out", tmp_path / "one")[0] == 0
    status, printed = invoked(settings, "--out", tmp_path / "two")
    assert status == 0, printed
    assert "0 of 3, budget" in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--unit", "person"], "needs data.client"),
        (["--silos", "2"], "silos are too few"),
        (["--epsilon", "-1"], "epsilon must be positive"),
        (["--rate", "2"], "rate must lie in"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(settings, tmp_path, options, said):
    out = tmp_path / "run"
    status, printed = invoked(settings, "--out", out, *options)
    assert status == 2
    assert said in printed
    assert not out.exists()


def test_a_table_of_visits_is_protected_by_person(tmp_path):
    """Persons of one column are dealt whole over the silos; all of the schema is declared."""
    rows = ["patient,age,outcome"]
    rows += [f"p{k // 3},{20 + k % 60},{'yes' if k % 60 > 30 else 'no'}" for k in range(240)]
    (tmp_path / "visits.csv").write_text("\n".join(rows))
    schema = ['target = "outcome"', 'client = "patient"']
    schema += ["[columns.age]", 'kind = "number"', "bounds = [0, 100]"]
    schema += ["[columns.outcome]", 'kind = "boolean"', 'values = ["no", "yes"]']
    (tmp_path / "visits.schema.toml").write_text("\n".join(schema))
    settings = tmp_path / "visits.toml"
    settings.write_text(
        'steps = 2\n[records]\nunit = "person"\nsilos = 4\nrate = 0.3\nmax_units = 40\n'
        "noise_multiplier = 1.5\nrows = 3\n[data]\n"
        f'name = "{tmp_path}/visits.csv"\nschema = "{tmp_path}/visits.schema.toml"\nsplit = "client"\n'
    )
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 0, printed
    assert "one person of one silo" in printed


def test_help_names_the_table_and_the_three_ways_to_begin():
    status, printed = invoked("--help")
    assert status == 0
    assert 'a table "records"' in printed
    assert "fedavg records CONFIG.toml" in printed
