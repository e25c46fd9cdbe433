"""The command `fedavg stats`: exact, under noise, and what it refuses."""

import json
import re

import pytest
from typer.testing import CliRunner

from dp import Ledger, SharedLedger
from fedavg.cli.app import app
from tests.fedavg.support.pages import Page

ROWS = "".join(
    f"s{n % 5},p{n % 300},{20 + (7 * n) % 61},{3 * n % 41 / 4},{'FM'[n % 3 == 0]},{'xyz'[n % 7 % 3]}\n"
    for n in range(1500)
)
SCHEMA = """
declared = true
[columns.age]
kind = "number"
bounds = [0, 120]
[columns.dose]
kind = "number"
bounds = [0, 20]
[columns.sex]
kind = "category"
categories = ["F", "M"]
[columns.ward]
kind = "category"
categories = ["x", "y", "z"]
"""


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "t.csv").write_text("site,who,age,dose,sex,ward\n" + ROWS)
    (tmp_path / "t.toml").write_text(SCHEMA)
    return tmp_path


def _stats(*words, code=0):
    result = CliRunner().invoke(app, ["stats", "t.csv", "--client", "site", *words])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


NOISY = ("--person", "who", "--rows-per-person", "5", "--schema", "t.toml", "--epsilon", "4")


def test_exact_statistics_are_shown_and_written(there):
    said = _stats(
        "--person",
        "who",
        "--table",
        "sex,ward",
        "--correlate",
        "*",
        "--json",
        "s.json",
        "--csv",
        "s.csv",
    )
    assert "rows 1,500" in said
    assert "none: the sums are exact" in said
    assert "age ~ dose" in said
    told = json.loads((there / "s.json").read_text())
    assert told["rows"]["value"] == 1500
    assert told["unit"] == "person"
    assert (there / "s.csv").read_text().startswith("column,statistic,cell")
    page = Page((there / "statistics.html").read_text())
    page.assert_offline()
    assert {"missing", "cross-1", "correlations", "column-1"} <= set(page.figures())


def test_noisy_statistics_state_their_epsilons_and_charge_a_ledger(there):
    SharedLedger.create(there / "budget.json", Ledger(5.0, 1e-5))
    said = _stats(
        *NOISY, "--ledger", "budget.json", "--table", "sex,ward", "--write-schema", "fed.toml"
    )
    assert "epsilon of the budget 4 at delta 1e-05" in said
    assert re.search(r"epsilon for the server with 1 silo 4\.0", said)
    assert "one person of one silo, with at most 5 rows" in said
    assert "of a person with rows in two silos" in said
    (charge,) = SharedLedger(there / "budget.json").read().history
    assert charge.label == "stats t.csv, unit person"
    assert "bounds" in (there / "fed.toml").read_text()
    before = (there / "statistics.html").read_text()
    refused = _stats(*NOISY, "--ledger", "budget.json", code=2)
    assert "past the budget" in refused
    assert (there / "statistics.html").read_text() == before


def test_under_noise_an_undeclared_table_gives_a_file_to_complete(there):
    said = _stats("--every-row", "--epsilon", "1", code=2)
    assert "t.noise.schema.toml, which has been written" in said
    assert "declared = false" in (there / "t.noise.schema.toml").read_text()
    assert not (there / "statistics.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say whose privacy counts"),
        (("--every-row", "--person", "who"), "say whose privacy counts"),
        (("--every-row", "--rows-per-person", "2"), "goes with --person"),
        (("--person", "who", "--schema", "t.toml", "--epsilon", "1"), "--rows-per-person"),
        (("--every-row", "--ledger", "x.json"), "give --epsilon, too"),
        (("--every-row", "--delta", "1e-6"), "--delta is for noise"),
        (("--every-row", "--noise", "skellam"), "--noise is for noise"),
        (("--person", "who", "--rows-per-person", "3"), "--rows-per-person is for noise"),
        (("--every-row", "--colluders", "0", "--delta", "0"), "--delta, --colluders are for noise"),
        (("--every-row", "--table", "sex;ward"), "no FIRST,SECOND"),
        (("--every-row", "--secure-sum", "seccag"), "secagg"),
        ((*NOISY, "--noise", "central-gaussian"), "added by the server"),
        ((*NOISY, "--ledger", "nowhere.json"), "nowhere.json"),
        (("--every-row", "--page", "no/such/folder/p.html"), "no/such/folder"),
        (("--every-row", "--min-silos", "6"), "statistics need 6"),
        (("--every-row", "--bins", "33"), "power of two"),
        (("--every-row", "--column", "wieght"), "no column 'wieght'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(there, words, said):
    assert said in _stats(*words, code=2)
    assert not (there / "statistics.html").exists()


def test_rows_beyond_declared_bounds_are_counted_wherever_figures_are_shown(there):
    (there / "narrow.toml").write_text(SCHEMA.replace("[0, 120]", "[30, 60]"))
    said = _stats("--every-row", "--schema", "narrow.toml", "--csv", "s.csv")
    ages = [20 + (7 * n) % 61 for n in range(1500)]
    below, above = sum(age < 30 for age in ages), sum(age > 60 for age in ages)
    assert (
        f"'age' has numbers beyond its declared bounds: {below} rows below 30, {above} rows above 60"
        in said
    )
    assert f"rows,below 30,{below}.0" in (there / "s.csv").read_text()
    assert f"age,mean,,{sum(ages) / 1500!r}," in (there / "s.csv").read_text()
    page = Page((there / "statistics.html").read_text())
    assert f"{above} rows above 60" in page.words


def test_the_names_of_silos_are_not_in_the_page(there):
    _stats("--every-row")
    page = Page((there / "statistics.html").read_text())
    assert not re.search(r"\bs[0-4]\b", page.words)
