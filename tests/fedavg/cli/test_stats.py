"""The command `fedavg stats`: exact, under noise, and what it refuses."""

import errno
import json
import os
import re

import pytest
from typer.testing import CliRunner

from dp import Ledger, SharedLedger
from fedavg.cli.app import app
from fedavg.data.tables.schemas.schema import read_schema
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


def test_a_schema_out_of_noisy_statistics_of_some_columns_serves_a_run_on_the_same_ledger(there):
    """People are its clients, as they are the unit of the first charge; other columns are ignored."""
    SharedLedger.create(there / "budget.json", Ledger(8.0, 1e-5))
    _stats(
        *NOISY,
        "--column",
        "age",
        "--column",
        "sex",
        "--ledger",
        "budget.json",
        "--write-schema",
        "fed.toml",
    )
    schema = read_schema(there / "fed.toml")
    assert schema.declared
    assert schema.client == "who"
    given = (
        "--data t.csv --schema fed.toml --target sex --epsilon 3 --delta 1e-5 --ledger budget.json"
    )
    quick = "--rounds 1 --secure-sum insecure-plain --no-baseline --workers 0 --out run"
    said = CliRunner().invoke(app, ["run", *given.split(), *quick.split()])
    assert said.exit_code == 0, said.output
    labels = {charge.label for charge in SharedLedger(there / "budget.json").read().history}
    assert len(labels) == 2


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
        (("--every-row", "--secure-sum", "seccag"), "Do you mean 'secagg'?"),
        (("--every-row", "--secure-sum", "oneshot"), "Do you mean 'one-shot'?"),
        ((*NOISY, "--noise", "skelam"), "Do you mean 'skellam'?"),
        (
            ("--every-row", "--column", "age", "--table", "ward,sex"),
            "name both of a table with --column",
        ),
        (("--person", "who", "--column", "who"), "'who' names the person of each row"),
        ((*NOISY, "--noise", "central-gaussian"), "added by the server"),
        ((*NOISY, "--ledger", "nowhere.json"), "nowhere.json"),
        (("--every-row", "--page", "no/such/folder/p.html"), "no/such/folder"),
        (("--every-row", "--out", "no/such/folder/p.html"), "no/such/folder"),
        (("--every-row", "--min-silos", "6"), "statistics need 6"),
        (("--every-row", "--bins", "33"), "power of two"),
        (("--every-row", "--column", "wieght"), "no column 'wieght'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(there, words, said):
    assert said in _stats(*words, code=2)
    assert not (there / "statistics.html").exists()


@pytest.mark.parametrize("noisy", [False, True], ids=["exact", "noisy"])
def test_days_are_shown_as_dates(there, noisy):
    rows = "".join(f"s{n % 5},2024-0{n % 5 + 1}-1{n % 7}\n" for n in range(1000))
    (there / "t.csv").write_text("site,came\n" + rows)
    (there / "t.toml").write_text(
        'declared = true\n[columns.came]\nkind = "date"\nparts = ["days"]\n'
        'bounds = ["2023-01-01", "2025-01-01"]\n'
    )
    noise = ("--schema", "t.toml", "--epsilon", "50") if noisy else ()
    said = _stats("--every-row", *noise)
    # Under noise the number of missing cells, which stands between, need not be 0.
    assert re.search(r"came days \S+.* 2024-0[234]-\d\d", said)
    page = Page((there / "statistics.html").read_text())
    assert re.search(r"2024-0[234]-\d\d", page.words)


def test_a_ledger_of_people_takes_no_rows(there):
    SharedLedger.create(there / "budget.json", Ledger(50.0, 1e-5))
    _stats(*NOISY, "--ledger", "budget.json")
    rows = (
        "--every-row",
        "--leave-out",
        "who",
        "--schema",
        "t.toml",
        "--epsilon",
        "1",
        "--ledger",
        "budget.json",
    )
    assert "has a charge of another unit ('stats t.csv, unit person')" in _stats(*rows, code=2)
    assert len(SharedLedger(there / "budget.json").read().history) == 1
    # Charges of one unit, and those of training, which name none, go on.
    _stats(*NOISY, "--ledger", "budget.json")


def test_one_shot_sums_give_the_same_statistics(there):
    _stats("--every-row", "--column", "sex", "--csv", "a.csv", "--secure-sum", "one-shot")
    _stats("--every-row", "--column", "sex", "--csv", "b.csv")
    assert (there / "a.csv").read_text() == (there / "b.csv").read_text()


EURO = "klinik;patient;age;code\n" + "".join(
    f"s{n % 5};p{n % 300};{n % 80},5;c{n}\n" for n in range(1500)
)


def test_columns_without_statistics_are_named_with_the_reason(there):
    (there / "t.csv").write_text(EURO + ";p1;1,5;c\n")
    words = ["stats", "t.csv", "--client", "klinik", "--person", "patient"]
    result = CliRunner().invoke(app, words)
    said = " ".join(result.output.split())
    assert result.exit_code == 0, said
    assert "semicolons between cells, decimal comma" in said
    assert "code: no statistics: left out" in said
    assert "1 row has no 'klinik' and is left out" in said
    result = CliRunner().invoke(app, [*words, "--column", "code"])
    assert result.exit_code == 2
    assert "no statistics of column 'code' (left out" in " ".join(result.output.split())


def test_silos_that_may_be_none_are_named_before_the_sum(there):
    (there / "t.csv").write_text("site,who,age,dose,sex,ward\n" + ROWS + "S1,p1,30,1,F,x\n")
    said = _stats("--every-row", "--column", "age")
    assert "'S1' is a silo of few rows: 1" in said
    assert "'S1', 's1' differ in upper and lower case or blanks only" in said


def test_under_noise_nothing_is_said_of_the_rows(there):
    (there / "t.csv").write_text(
        "site,who,age,dose,sex,ward\n" + ROWS + "S1,p1,30,1,F,x\n,p1,3,1,F,x\n"
    )
    said = _stats(*NOISY)
    assert "few rows" not in said
    assert "left out" not in said
    assert "differ in upper and lower case or blanks only" in said  # names of silos are public
    assert "below zero are shown as 0" in said


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


def test_figures_that_were_paid_for_are_shown_though_a_file_cannot_be_written(there, monkeypatch):
    """They were lost, and charged: a second try would have cost as much again."""
    SharedLedger.create(there / "budget.json", Ledger(5.0, 1e-5))
    sync, seen = os.fsync, []

    def full(handle):
        seen.append(handle)
        # The charge fits, and the page; the JSON does not.
        if (there / "s.json.part").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    files = ("--json", "s.json", "--csv", "s.csv")
    said = _stats(*NOISY, "--ledger", "budget.json", *files, code=2)
    assert "Written to statistics.html" in said
    assert "Written to s.csv" in said
    assert "Written to s.json" not in said
    assert "Error: cannot read or write s.json: No space left on device" in said
    assert "age" in said
    assert len(SharedLedger(there / "budget.json").read().history) == 1
    assert not list(there.glob("*.part"))
