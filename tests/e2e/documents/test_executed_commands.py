"""Every command that is shown is executed by some test, or listed here with the reason why not.

Pages with a test of their own are in `ELSEWHERE`. All other commands run here in the order in which their
page shows them, on small tables, and shortened as `SHORT` says.
"""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.studies import executors
from tests.arch.tree import ROOT
from tests.e2e.documents.shown import SHOWN
from tests.fedavg.support.studies import OneProcess

ELSEWHERE = {
    "README.md": "tests/e2e/documents/test_documented_commands.py",
    "docs/your-data.md": "tests/e2e/documents/test_your_data.py",
    "fedavg budget --help": "tests/fedavg/plan/budget/test_planner.py",
    **{
        f"examples/{field}/{file}.toml": "tests/e2e/documents/test_fields.py"
        for field in ("energy", "finance", "healthcare", "manufacturing", "supply_chain")
        for file in ("secure", "private")
    },
}
"""Places whose commands another test executes."""

_RAY = "needs Ray, with which tests/interop/ray trains and sweeps in another environment"
_LONG = "trains a network for minutes; the same settings run smaller in "
NOT_RUN = {
    "run examples/text/char_lstm.toml --out runs/text": _LONG + "runs/test_text.py",
    "run examples/transfer/pretrain.toml --out runs/base": _LONG + "runs/test_transfer.py",
    "run examples/transfer/transfer.toml --out runs/transferred": _LONG + "runs/test_transfer.py",
    "run": "the readme's test runs it with two values of epsilon",
    "run --epsilon 2 --rounds 30": "the readme's test runs it with two values of epsilon",
    "run --secure-sum bfv --noise skellam": "encrypts for minutes on a busy machine",
    "sweep": "its 80 cells are checked by the readme's test",
    "sweep examples/studies/skew.toml --dry-run": "calibrates the noise of all cells, for minutes",
    "sweep examples/studies/skew.toml --out studies/skew --jobs 2": "trains for minutes",
    "sweep STUDY.toml --engine ray": _RAY,
    "run CONFIG.toml --engine ray": _RAY,
    "sweep STUDY.toml --engine ray --out $SLURM_SUBMIT_DIR/study": "needs SLURM's machines",
    "stats flights.csv --client carrier --every-row --leave-out time_hour": (
        "336,776 rows take 15 seconds of processor time"
    ),
}
"""Commands that no test executes, with the reason."""

SHORT = {
    "run": ["--rounds", "1", "--no-baseline", "--workers", "0"],
    "audit": ["--canaries", "40", "--rounds", "1"],
    "records": ["--steps", "2"],
    "init": ["--force"],
    "data schema": ["--force"],
}
"""What makes a command a matter of seconds, or lets it follow others in one folder."""

RUN = """
rounds = 2
baseline = false
[data]
name = "digits"
clients = 200
[simulation]
workers = 0
"""
RECORDS = """
steps = 2
[records]
unit = "record"
rate = 0.2
max_units = 400
[data]
name = "digits"
"""
STUDY = """
[base]
rounds = 1
data.name = "digits"
data.clients = 50
privacy.noise = "none"
secure_sum.kind = "insecure-plain"
[grid]
seed = [0, 1]
"""
BOUNDS = {"age": [18, 90], "xage": [0, 70], "income": [0, 30_000], "mdvis": [0, 32]}
HERE = [(place, words) for place, words in SHOWN if place not in ELSEWHERE]
PLACES = sorted({place for place, _ in HERE})


def table(rows=900, seed=0):
    """Columns of all tables that the commands name: people with two rows each, in six silos."""
    rng = np.random.default_rng(seed)
    person = np.arange(rows) // 2
    silo = np.array(list("ABCDEF"))[person % 6]
    columns = {"zper": person, "patient": person, "site": silo, "hospital": silo, "state": silo}
    columns |= {name: rng.integers(low, high, rows) for name, (low, high) in BOUNDS.items()}
    for name in ("female", "hlthp", "sex", "sick", "default", "Class", "readmitted"):
        columns[name] = np.array(["no", "yes"])[rng.integers(0, 2, rows)]
    return pd.DataFrame(columns)


def schema(names):
    lines = ["declared = true"]
    for name in names:
        kind = f'"number"\nbounds = {BOUNDS[name]}' if name in BOUNDS else '"boolean"'
        lines.append(f"[columns.{name}]\nkind = {kind}")
    return "\n".join(lines)


def invoke(words):
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run that is finished."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "CONFIG.toml").write_text(RUN)
    said = invoke(["run", str(folder / "CONFIG.toml"), "--out", str(folder / "run")])
    assert said.exit_code == 0, said.output
    return folder / "run"


@pytest.fixture
def folder(tmp_path, monkeypatch, finished):
    """A folder with all files that the commands name.

    Studies run in this process; tests/e2e/commands/test_sweep.py sweeps with workers.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executors, "Workers", OneProcess())
    whole = table()
    for name in ("loans", "thyroid", "visits", "randhie"):
        whole.to_csv(f"{name}.csv", index=False)
    (tmp_path / "visits.toml").write_text(schema(("age", "sex", "sick")))
    (tmp_path / "randhie.toml").write_text(schema(("xage", "income", "mdvis", "female", "hlthp")))
    (tmp_path / "STUDY.toml").write_text(STUDY)
    (tmp_path / "loans.toml").write_text(RUN)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(finished, tmp_path / "runs" / "20260101-120000")
    return tmp_path


def shortened(words):
    """The command with what makes it short; later options replace earlier ones."""
    command = " ".join(words[:2]) if words[0] in {"data", "ledger"} else words[0]
    more = list(SHORT.get(command, []))
    own = {"--data"} & set(words) or any(word.endswith(".toml") for word in words)
    if command == "run" and not own:
        more += ["--data", "digits"]
    if command == "run" and "digits" in [*words, *more]:
        more += ["--clients", "200"]
    if command == "init" and "--target" not in words:  # what a terminal would be asked
        more += ["--target", "default"]
    if command == "stats" and "visits.csv" in words:
        more += [] if "--schema" in words else ["--schema", "visits.toml"]
        more += ["--column", "age", "--column", "sex"]
    return [*words, *more]


@pytest.mark.parametrize("place", PLACES)
def test_the_commands_of_a_place_run_in_their_order(place, folder):
    config = RECORDS if place.startswith("fedavg records") else RUN
    (folder / "CONFIG.toml").write_text(config)
    shown = [words for where, words in HERE if where == place]
    # A page that creates its ledger does so first; other places take one that is there.
    if ["ledger", "create"] not in [words[:2] for words in shown]:
        assert invoke(["ledger", "create", "budget.json", "--epsilon", "5"]).exit_code == 0
    for words in shown:
        if " ".join(words) in NOT_RUN:
            continue
        said = invoke(shortened(words))
        if words[0] == "resume":  # the run was not broken off
            assert "is finished: there is nothing to resume" in said.output
        else:
            assert said.exit_code == 0, f"fedavg {' '.join(shortened(words))}\n{said.output}"


def test_every_reason_is_about_a_command_that_is_shown():
    assert set(NOT_RUN) <= {" ".join(words) for _, words in HERE}


def test_every_place_that_runs_elsewhere_is_shown_and_has_its_test():
    assert set(ELSEWHERE) <= {place for place, _ in SHOWN}
    for place, test in ELSEWHERE.items():
        text = (ROOT / test).read_text(encoding="utf-8")
        name = place.rsplit("/", maxsplit=1)[-1].removesuffix(".md")
        assert name.lower() in text.lower() or "FIELDS" in text, f"{test} does not name {place}"
