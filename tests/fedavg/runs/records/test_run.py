"""A run of records from its configuration: the directory, the summary, the ledgers, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from dp import SharedLedger
from fedavg.cli import app
from fedavg.data.partitions.split import held_out
from fedavg.records.federation import RecordFederation
from fedavg.runs.records import run as module
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


def test_groups_come_from_a_table_and_stand_in_the_report(settings, tmp_path):
    groups = '[robust]\nkind = "trimmed-mean"\ngroups = 3\noptions = { trim = 1 }\n'
    text = settings.read_text().replace("silos = 4", "silos = 9")
    settings.write_text(f"{text}\n{groups}")
    out = tmp_path / "run"
    status, printed = invoked(settings, "--out", out)
    assert status == 0, printed
    assert "9 silos in 3 groups of 3" in printed
    assert "a bad one spoils one of 3 groups; 1 withstood" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["groups"], summary["robust"]) == ([3, 3, 3], "trimmed-mean")
    assert summary["reach"]["withstood"] == 1
    assert summary["shortened"] == 0
    page = (out / "report.html").read_text()
    assert "3 of 3 silos, each with a secure sum of its own" in page
    assert "spoils one group; the rule withstands 1" in page
    assert "2 of 3" in page  # the shares of noise against the server with one silo
    for key, value, said in (
        ("--robust", "none", "have no effect without a rule"),
        ("--robust", "mean", "robust: there is no 'mean'; there are group-median, trimmed-mean"),
        ("--groups", "4", "2 silos are too few in the smallest of 4 groups"),
    ):
        status, printed = invoked(settings, key, value, "--out", tmp_path / "refused")
        assert status != 0
        assert said in printed


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
    two = summary["epsilon_two_silos"]
    assert three["colluding"] < two < 5 * three["colluding"]
    assert f"with rows in two silos: {two:.2f}" in " ".join(printed.split())
    assert f"an epsilon of {two:.2f} at the budget" in (out / "report.html").read_text()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3]
    assert 0 < rows[0]["epsilon_release"] < rows[1]["epsilon_release"]
    assert rows[1]["epsilon_colluding"] == three["colluding"]
    assert set(summary["stages"]) >= {"gradients", "masked_input", "unmask", "score"}
    assert summary["bytes_down"] > summary["bytes_up"] > 0
    assert "Whom each epsilon is about" in (out / "report.html").read_text()
    assert (out / "model.safetensors").stat().st_size > 0
    ledgers = sorted((out / "ledgers").glob("*.json"))
    assert len(ledgers) == 4
    spent = SharedLedger(ledgers[0]).spent().high
    assert spent == pytest.approx(three["colluding"], rel=1e-3)


def test_a_dry_run_tells_what_the_run_will_cost_and_leaves_nothing(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledgers = f'epsilon = 4.0\nledgers = "{tmp_path}/own"'
    settings.write_text(settings.read_text().replace("epsilon = 4.0", ledgers))
    before = sorted(tmp_path.iterdir())
    status, printed = invoked(settings, "--dry-run")
    planned = " ".join(printed.split())
    assert status == 0, printed
    assert "Nothing was run, charged or written." in planned
    assert sorted(tmp_path.iterdir()) == before
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 0, printed
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    three = summary["epsilon"]
    for name in ("release", "server", "colluding"):
        assert f"│ {three[name]:.2f} │" in planned
    assert f"rows in two silos │ {summary['epsilon_two_silos']:.2f} │" in planned
    assert f"│ {summary['noise_multiplier']:.3f} (shared) │" in planned
    status, printed = invoked(settings, "--dry-run", "--epsilon", "-1")
    assert (status, "epsilon must be positive" in printed) == (2, True)


def test_a_clip_that_follows_the_median_is_told_and_stands_in_the_report(settings, tmp_path):
    text = settings.read_text().replace("epsilon = 4.0", "epsilon = 4.0\nclip_quantile = 0.5")
    settings.write_text(text)
    out = tmp_path / "run"
    status, printed = invoked(settings, "--out", out)
    assert status == 0, printed
    words = " ".join(printed.split())
    assert "the clip follows the median of the norms, from 0.5 on and within 0.005 … 50" in words
    assert "clip, after the last step" in printed
    summary = json.loads((out / "summary.json").read_text())
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len({0.5, rows[0]["clip"], rows[1]["clip"], summary["clip"]}) == 4
    assert "The clip follows the median of the norms" in (out / "report.html").read_text()
    settings.write_text(text.replace("clip_quantile = 0.5", "clip_quantile = 0.9"))
    status, printed = invoked(settings, "--out", tmp_path / "refused")
    assert status == 2
    assert "only 0.5 is offered" in printed


def test_silos_that_have_spent_their_budget_stop_the_next_run(settings, tmp_path):
    text = settings.read_text().replace(
        "epsilon = 4.0", f'epsilon = 4.0\nledgers = "{tmp_path}/own"'
    )
    settings.write_text(text)
    assert invoked(settings, "--out", tmp_path / "one")[0] == 0
    status, printed = invoked(settings, "--out", tmp_path / "two")
    assert status == 3, printed
    assert "0 of 3, budget" in printed
    assert "a silo's ledger has no room for another. The ledgers hold at most " in printed
    one, two = (json.loads((tmp_path / n / "summary.json").read_text()) for n in ("one", "two"))
    assert two["ledgers"] == one["ledgers"] > 3.5
    assert f"earlier runs included │ at most {two['ledgers']:.2f}" in " ".join(printed.split())


def test_a_run_of_new_ledgers_says_nothing_of_earlier_runs(settings, tmp_path):
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 0, printed
    assert "earlier runs included" not in printed
    assert (
        "one record is drawn with probability 0.2 in each of 3 steps, whose sum is divided by 96"
        in (" ".join(printed.split()))
    )


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


def visits_in(folder, *keys, client='client = "patient"'):
    """Settings for 80 persons of three visits each, in four hospitals; all of the schema is declared."""
    rows = ["patient,hospital,age,outcome"]
    for k in range(240):
        hospital = "ABCD"[k // 3 % 4] + " / 1"
        rows.append(f"p{k // 3},{hospital},{20 + k % 60},{'yes' if k % 60 > 30 else 'no'}")
    rows += [f"p{k},,30,no" for k in range(90, 100)]
    (folder / "visits.csv").write_text("\n".join(rows))
    schema = ['target = "outcome"', client, "[columns.age]", 'kind = "number"', "bounds = [0, 100]"]
    schema += ["[columns.outcome]", 'kind = "boolean"', 'values = ["no", "yes"]']
    schema += ["[columns.hospital]", 'kind = "ignored"']
    (folder / "visits.schema.toml").write_text("\n".join(schema))
    lines = [
        "steps = 2",
        "[records]",
        *keys,
        "rate = 0.3",
        "max_units = 90",
        "noise_multiplier = 1.5",
    ]
    lines += ["[data]", f'name = "{folder}/visits.csv"', f'schema = "{folder}/visits.schema.toml"']
    settings = folder / "visits.toml"
    settings.write_text("\n".join(lines))
    return settings


def test_a_table_of_visits_is_protected_by_person(tmp_path):
    """Persons of one column are dealt whole over the silos."""
    settings = visits_in(tmp_path, 'unit = "person"', "silos = 4", "rows = 3")
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 0, printed
    assert "one person of one silo" in printed
    assert len(list((tmp_path / "run" / "ledgers").glob("*.json"))) == 4


def test_the_hospitals_of_a_table_are_the_silos(tmp_path, monkeypatch):
    held = []

    def watched(_model, silos, *arguments, **options):
        held.append(silos)
        return RecordFederation(_model, silos, *arguments, **options)

    monkeypatch.setattr(module, "RecordFederation", watched)
    settings = visits_in(tmp_path, 'unit = "person"', 'silo = "hospital"', "rows = 3")
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 0, printed
    names = sorted(path.name for path in (tmp_path / "run" / "ledgers").glob("*.json"))
    assert names == [f"silo-{one}%20%2F%201.json" for one in "ABCD"]
    silos = held[-1]
    # Every person's visits are in the one hospital of the table.
    people = [set(silo.person.tolist()) for silo in silos.values()]
    assert sum(map(len, people)) == len(set().union(*people)) <= 80
    assert "rows to train on have no value in 'hospital': they are left out" in printed


BY_HOSPITAL = ('unit = "person"', 'silo = "hospital"')


def appended(path, *lines):
    path.write_text("\n".join([path.read_text(), *lines]))


def test_rows_of_persons_that_are_left_out_and_scored_persons_are_said(tmp_path):
    status, printed = invoked(visits_in(tmp_path, *BY_HOSPITAL), "--out", tmp_path / "one")
    said = " ".join(printed.split())
    assert status == 0, printed
    assert "left out: at most 1 row of each person in a silo may enter (records.rows = 1)" in said
    assert "rows of the same persons are trained on and scored on" in said
    settings = visits_in(tmp_path, *BY_HOSPITAL, "rows = 3")
    appended(settings, 'split = "client"')
    status, printed = invoked(settings, "--out", tmp_path / "all")
    assert status == 0, printed
    assert "left out: at most" not in printed
    assert "trained on and scored on" not in printed


def test_a_hospital_without_rows_to_train_on_and_one_under_two_names_are_named(tmp_path):
    settings = visits_in(tmp_path, *BY_HOSPITAL, "rows = 3")
    appended(settings, 'split = "client"')
    people = np.array([f"only{number}" for number in range(60)])
    held = held_out(None, (np.arange(60), tuple(people)), fraction=0.2, seed=0)
    (tmp_path / "visits.csv").open("a").write(f"\n{people[held][0]},E,30,no\np0,a / 1,30,no")
    status, printed = invoked(settings, "--out", tmp_path / "run")
    said = " ".join(printed.split())
    assert status == 0, printed
    assert "'E': no row to train on" in said
    assert "no silo of the run, which has 5" in said
    assert "'A / 1', 'a / 1' differ in upper and lower case or blanks only" in said


def test_columns_of_silos_and_persons_that_are_mistaken_for_one_another_are_asked_about(tmp_path):
    keys = ('unit = "person"', 'silo = "patient"', "rows = 90")
    settings = visits_in(tmp_path, *keys, client='client = "hospital"')
    schema = tmp_path / "visits.schema.toml"
    schema.write_text(schema.read_text().replace("columns.hospital", "columns.patient"))
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 2
    assert "the column of silos and that of persons mistaken for one another?" in printed
    assert not (tmp_path / "run").exists()


def test_a_delta_that_promises_hardly_anything_is_called_so(settings, tmp_path):
    status, printed = invoked(settings, "--delta", "0.1", "--out", tmp_path / "run")
    assert status == 0, printed
    assert "Warning: delta = 0.1 is not below 1 ÷ 120 records of a silo (max_units)" in printed
    assert "Warning" not in invoked(settings, "--out", tmp_path / "other")[1]


def test_a_column_of_silos_serves_records_too(tmp_path):
    settings = visits_in(tmp_path, 'unit = "record"', 'silo = "hospital"', client="")
    text = (tmp_path / "visits.schema.toml").read_text()
    (tmp_path / "visits.schema.toml").write_text(text + '\n[columns.patient]\nkind = "ignored"\n')
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 0, printed
    assert "one record of one silo" in printed


def test_persons_without_their_column_are_refused_in_the_words_of_records(tmp_path):
    settings = visits_in(tmp_path, 'unit = "person"', "rows = 3", client="")
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 2
    assert "data.client is missing" in printed
    assert "--noise" not in printed


def test_an_open_schema_is_refused_without_an_option_that_records_do_not_have(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = visits_in(tmp_path, 'unit = "person"', "rows = 3")
    schema = tmp_path / "visits.schema.toml"
    schema.write_text(schema.read_text().replace("bounds = [0, 100]", ""))
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 2
    assert "have to be declared" in printed.replace("\n", " ")
    assert "noise none" not in printed


def test_help_names_the_table_and_the_three_ways_to_begin():
    status, printed = invoked("--help")
    assert status == 0
    assert 'a table "records"' in printed
    assert "fedavg records CONFIG.toml" in printed


def test_a_headline_without_a_value_breaks_off_no_run_and_is_no_success(settings, tmp_path):
    """The AUC of held-out rows of one class. Mutant: a number's format breaks off a run that was charged."""
    with np.load(tmp_path / "blobs.npz") as held:
        parts = dict(held)
    np.savez(tmp_path / "blobs.npz", **parts | {"y_test": np.zeros_like(parts["y_test"])})
    settings.write_text(f'{settings.read_text()}\n[evaluation]\nheadline = "roc_auc"\n')
    status, printed = invoked(settings, "--out", tmp_path / "run")
    assert status == 3, printed
    said = " ".join(printed.split())
    assert "Not scored: the headline roc_auc had no value in any of" in said
    assert "steps. For no prediction is it defined on the held-out rows" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["figures"][0]["name"], summary["figures"][0]["value"]) == ("roc_auc", None)
