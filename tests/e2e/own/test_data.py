"""From a file of one's own to a finished run, as a user types it."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.config.build import build_job, load_config
from fedavg.data.placement import place
from fedavg.data.settings import DataConfig
from fedavg.errors import CohortSizeError
from fedavg.plan.resolution import resolve

runner = CliRunner()


def invoke(*words, code=0):
    result = runner.invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def people(folder, *, count=1500, seed=0):
    """A table of people with an identifier, missing ages, categories, an income and an illness."""
    rng = np.random.default_rng(seed)
    sex, age = rng.choice(["M", "F"], count), rng.integers(18, 90, count)
    town = rng.choice(["Bern", "Basel", "Genf"], count)
    income = np.round(20_000 + 300 * age + 4000 * (town == "Genf") + rng.normal(0, 2000, count), 2)
    risk = 1 / (1 + np.exp(-(age - 50) / 5 - 2 * (sex == "M")))
    columns = {
        "id": [f"p{row:05}" for row in range(count)],
        "sex": sex,
        "age": [None if row % 17 == 3 else str(years) for row, years in enumerate(age)],
        "town": town,
        "income": income,
        "sick": np.where(rng.random(count) < risk, "yes", "no"),
    }
    path = folder / "people.csv"
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("NA" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    table = pa.table(columns)
    ages = pa.array([None if cell is None else int(cell) for cell in columns["age"]])
    parquet = folder / "people.parquet"
    pyarrow.parquet.write_table(table.set_column(2, "age", ages), parquet)
    return path, parquet


def config_in(folder, data, target, **more):
    path = folder / f"{data.suffix[1:]}-{target}.toml"
    rest = "\n".join(f"{key} = {value}" for key, value in more.items())
    path.write_text(
        f"""
rounds = 8
baseline = false
data = {{name = "{data}", target = "{target}", clients = 12, partition = "iid"}}
privacy.noise = "none"
cohort.rate = 1.0
local = {{lr = 0.3, epochs = 4}}
server = {{optimizer = "fedavg", lr = 1.0}}
simulation = {{workers = 0, dropout = 0.0}}
secure_sum = {{kind = "insecure-plain"}}
{rest}
"""
    )
    return path


@pytest.mark.parametrize("target", ["sick", "income"])
def test_one_table_as_csv_and_as_parquet_gives_one_result(tmp_path, target):
    results = []
    for data in people(tmp_path):
        out = tmp_path / f"run-{data.suffix[1:]}"
        said = invoke("run", config_in(tmp_path, data, target), "--out", out)
        assert "median" in said  # of the missing ages
        results.append((out / "model.safetensors").read_bytes())
        summary = json.loads((out / "summary.json").read_text())
        assert summary["rounds"] == 8
        assert (out / "report.html").stat().st_size > 10_000
    assert results[0] == results[1]


@pytest.mark.parametrize("pair", [("M", "F"), ("True", "False"), ("Y", "N"), ("male", "female")])
def test_two_words_that_decide_the_target_stay_two_words(tmp_path, pair):
    rng = np.random.default_rng(0)
    words = rng.choice(pair, 800)
    lines = [f"{word},{rng.random():.3f},{'ny'[word == pair[0]]}" for word in words]
    data = tmp_path / "t.csv"
    data.write_text("\n".join(["sex,noise,target", *lines]) + "\n")
    out = tmp_path / "run"
    config = config_in(tmp_path, data, "target", model='{name = "mlp", hidden = [8]}')
    invoke("run", config, "--out", out)
    assert json.loads((out / "summary.json").read_text())["accuracy"] == 1.0


def wards(path, clients, *, odd=False):
    """Rows of clients, each drawn from the client's own number; the odd client has a class of its own."""
    lines = ["who,x1,x2,diagnosis"]
    for client in range(clients):
        rng = np.random.default_rng(client)
        lines += [f"{client},{rng.random():.6f},{rng.random():.6f},{'ab'[n % 2]}" for n in range(6)]
    lines += ["999,0.5,0.5,c"] * (6 * odd)
    path.write_text("\n".join(lines) + "\n")
    return path


def under_noise(folder, data, schema=""):
    path = folder / f"{data.stem}.toml"
    named = f'schema = "{schema}"' if schema else 'target = "diagnosis"\nclient = "who"'
    path.write_text(
        f"""
rounds = 2
baseline = false
privacy.epsilon = 2.0
cohort.rate = 0.3
simulation.workers = 0
[data]
name = "{data}"
{named}
"""
    )
    return path


def test_under_noise_a_run_hands_over_the_schema_and_a_client_changes_nothing_public(
    tmp_path, monkeypatch
):
    """The classes, the scales and the split are the same whether or not one client is there."""
    monkeypatch.chdir(tmp_path)
    without, beside = (
        wards(tmp_path / "without.csv", 300),
        wards(tmp_path / "with.csv", 300, odd=True),
    )
    said = invoke("run", under_noise(tmp_path, without), "--out", tmp_path / "run", code=2)
    assert "without.schema.toml, which has been written for this table" in said
    assert not (tmp_path / "run").exists()
    schema = tmp_path / "without.schema.toml"
    completed = re.sub(r"# (bounds = \[0.0, 1.0\])", r"\1", schema.read_text())
    schema.write_text(completed.replace("declared = false", "declared = true"))
    one, two = (
        build_job(load_config(under_noise(tmp_path, data, schema.name)))
        for data in (without, beside)
    )
    assert one.model == two.model
    assert one.parameters == two.parameters
    assert (len(one.clients), len(two.clients)) == (
        300,
        300,
    )  # who has no known class sends nothing
    for client, data in one.clients.items():
        np.testing.assert_array_equal(data.features, two.clients[client].features)
        np.testing.assert_array_equal(data.labels, two.clients[client].labels)


def test_a_client_that_joins_changes_no_other_clients_rows(tmp_path):
    columns = {"x1": {"kind": "number", "bounds": [0, 1]}, "x2": {"kind": "ignored"}}
    columns["diagnosis"] = {"kind": "boolean", "values": ["a", "b"]}
    one, two = (
        place(
            DataConfig(
                name=str(wards(tmp_path / f"{count}.csv", count)),
                target="diagnosis",
                client="who",
                columns=columns,
            ),
            None,
        )
        for count in (100, 101)
    )
    assert two.names == (*one.names, "100")
    for client, data in one.clients.items():
        np.testing.assert_array_equal(data.features, two.clients[client].features)


@pytest.mark.parametrize("clients", [3, 300])
def test_any_number_of_clients_trains_without_noise_and_the_report_says_what_was_chosen(
    tmp_path, clients
):
    data, _ = people(tmp_path, count=900)
    out = tmp_path / "run"
    words = ("--data", data, "--target", "sick", "--clients", clients, "--noise", "none")
    said = invoke("run", *words, "--rounds", 2, "--no-baseline", "--workers", 0, "--out", out)
    assert "local.lr = 0.1, chosen because a step of at most 4 / 8 inputs" in said
    assert "Warning" not in said
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["clients"], summary["stopped"]) == (clients, "finished")
    assert "chosen because" in (out / "report.html").read_text()
    assert "server.optimizer" in (out / "report.html").read_text()


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("clients", [3, 10, 100, 1000, 10_000])
def test_every_number_of_clients_has_a_plan_or_a_sentence_with_numbers(tmp_path, clients, private):
    """Without noise all of them run; under noise those that are too few hear what would be enough."""
    data, _ = people(tmp_path, count=max(300, 13 * clients // 10))
    columns = {
        "age": {"kind": "number", "bounds": [18, 90], "missing": "constant", "fill": 40},
        "sex": {"kind": "category", "categories": ["F", "M"]},
        "sick": {"kind": "boolean"},
    }
    given = {
        "data.name": str(data),
        "data.target": "sick",
        "data.columns": columns,
        "data.leave_out": ("id", "town", "income"),
        "data.clients": clients,
        "simulation.workers": 0,
        "secure_sum.kind": "secagg" if private else "insecure-plain",  # adds the table's statistics
        "privacy.noise": "gaussian" if private else "none",
    } | ({"privacy.epsilon": 5.0} if private else {})
    config = load_config(None, given)
    if private and clients < 140:
        with pytest.raises(CohortSizeError) as refused:
            build_job(config)
        said = str(refused.value)
        assert re.search(rf"a round asks about [\d.]+ of {clients} clients", said)
        assert "140 clients or more at the rate of 0.2" in said
        assert "'fedavg budget' shows what each costs" in said
        assert "people or single rows in place of whole clients: 'fedavg records --help'" in said
        assert "roster" not in said
        if clients == 100:
            assert "a rate of 0.27 or more with these 100 clients" in said
            assert "epsilon 5 over 60 rounds costs a noise multiplier of" in said
        return
    job = build_job(config)
    assert len(job.clients) == clients
    sizes = {"num_clients": clients, "vector_length": job.parameters, "num_rounds": 60}
    found = resolve(job.plan, **sizes, largest_client=max(map(len, job.clients.values())))
    assert found.epsilon_at_end() <= 5 if private else found.noise_multiplier is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("audit", "--confidence", "95"), "such as 0.95, must lie in"),
        (("audit", "--canaries", "0"), "canaries must be"),
        (("audit", "--canaries", "39"), "canaries must be at least 40"),
        (("run", "--workers", "-2"), "one a core, must be at least -1"),
        (("run", "--seed", "-1"), "seed must be at least 0"),
        (
            ("run", "--data", "people.cvs", "--target", "sick"),
            "there is no data set 'people.cvs'; built in",
        ),
        (("init", "digits", "--rounds", "0"), "rounds must be at least 1"),
        (("init", "digits", "--clients", "0"), "clients must be at least 1"),
        (("init", "digits", "--epsilon", "-3"), "epsilon must be positive"),
        (("run", "--data", "digits", "--clients", "60", "--rounds", "2"), "it takes a rate of"),
    ],
)
def test_options_are_checked_before_any_work(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in invoke(*words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_words_that_are_to_be_predicted_as_numbers_are_refused(tmp_path):
    data, _ = people(tmp_path, count=60)
    said = invoke(
        "run", "--data", data, "--target", "town", "--task", "numbers", "--noise", "none", code=2
    )
    assert "target 'town' holds no numbers but words such as 'Basel'" in said


def test_an_answer_that_is_no_number_of_clients_is_no_silence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people(tmp_path, count=60)
    monkeypatch.setattr("fedavg.cli.init.on_terminal", lambda: True)
    monkeypatch.setattr(
        "typer.prompt", lambda question, default: "ten" if "How many" in question else default
    )
    assert "a whole number such as 20, not 'ten'" in invoke("init", "people.csv", code=2)
    assert not (tmp_path / "people.toml").exists()


def test_the_version_is_printed():
    assert re.fullmatch(r"fedavg \d+\.\d+\.\d+\n", invoke("--version"))


def test_init_asks_at_most_five_questions_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people(tmp_path, count=300)
    asked = []

    def answer(question, default):
        asked.append(question)
        answers = {"predicted": "sick", "leave out": "town, id", "How many": "12"}
        return next((said for word, said in answers.items() if word in question), default)

    monkeypatch.setattr("fedavg.cli.init.on_terminal", lambda: True)
    monkeypatch.setattr("typer.prompt", answer)
    said = invoke("init", "people.csv")
    assert len(asked) == 5
    assert "Run it: fedavg run people.toml" in said
    config = load_config(tmp_path / "people.toml")
    assert (config.data.clients, config.privacy.noise) == (12, "none")
    job = build_job(config)
    assert job.task.feature_names == ("sex = F", "sex = M", "age", "age missing", "income")
    assert job.chosen == ()  # all of it stands in the file
    assert "chosen because" in (tmp_path / "people.toml").read_text()


def test_init_replaces_nothing_and_asks_nothing_without_a_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people(tmp_path, count=300)
    assert "say which column is predicted" in invoke("init", "people.csv", code=2)
    assert not (tmp_path / "people.toml").exists()
    invoke("init", "people.csv", "--target", "sick")
    before = (tmp_path / "people.toml").read_text()
    assert "people.toml exists" in invoke("init", "people.csv", "--target", "income", code=2)
    assert (tmp_path / "people.toml").read_text() == before
    assert "no column 'sik'" in invoke("init", "people.csv", "--target", "sik", "--force", code=2)


def test_init_of_a_table_with_odd_cells_writes_where_to_correct_them(tmp_path, monkeypatch):
    """The remedy is a line of the written file, and the run then goes on."""
    monkeypatch.chdir(tmp_path)
    data, _ = people(tmp_path, count=300)
    lines = data.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    for row, word in ((5, "k. A."), (9, "old"), (12, "k. A.")):
        rows[row][2] = word
    data.write_text("\n".join(",".join(row) for row in rows) + "\n")
    said = invoke("init", "people.csv", "--target", "sick", "--rounds", 1, code=2)
    assert "people.toml and people.schema.toml are written" in said
    remedy = re.search(r"say \[data\] (columns\.age = .*? \}); or", said)[1]
    config = tmp_path / "people.toml"
    config.write_text(config.read_text().replace("[data]", f"[data]\n{remedy}"))
    invoke("run", "people.toml", "--no-baseline", "--workers", 0, "--out", tmp_path / "run")


def test_init_for_a_run_under_noise_leaves_what_is_public_to_be_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people(tmp_path, count=1500)
    words = ("--target", "sick", "--leave-out", "income", "--epsilon", 8, "--rounds", 2)
    assert "TO COMPLETE" in invoke("init", "people.csv", *words, "--clients", 500)
    said = invoke("run", "people.toml", code=2)
    assert "bounds of 'age'" in said
    assert "people.schema.toml, which exists already, and give" in said
    schema = tmp_path / "people.schema.toml"
    text = schema.read_text().replace("declared = false", "declared = true")
    schema.write_text(re.sub(r"# (bounds = \[.*?\])", r"\1", text))
    invoke("run", "people.toml", "--no-baseline", "--workers", 0, "--out", "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 < summary["epsilon_release"] <= 8


def test_init_under_noise_takes_a_rate_at_which_the_run_is_sound(tmp_path, monkeypatch):
    """Mutant: the usual rate of 0.2, with which `run` refuses what `init` had told to run."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 4)).astype(np.float32)
    np.savez("few.npz", x=features, y=(features[:, 0] > 0).astype(int))
    words = ("--clients", 60, "--epsilon", 8, "--rounds", 2)
    said = invoke("init", "few.npz", *words)
    assert "cohort.rate = 0." in said
    assert "60 clients are few" in said
    invoke("run", "few.toml", "--no-baseline", "--workers", 0, "--out", "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 < summary["epsilon_release"] <= 8
    said = invoke("init", "few.npz", "--clients", 5, "--epsilon", 8, "--out", "no.toml", code=2)
    assert "clients or more of which each round asks all" in said
    people(tmp_path, count=300)
    said = invoke("init", "people.csv", "--target", "sick", *words)
    assert "60 clients are few" in said
    assert "rate = 0." in (tmp_path / "people.toml").read_text()
    assert sorted(path.name for path in tmp_path.glob("*.toml")) == [
        "few.toml",
        "people.schema.toml",
        "people.toml",
    ]
