"""From a file of one's own to a finished run, as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app

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
