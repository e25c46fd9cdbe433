"""The end of a command: a model of no use is called so, with the baseline and what to try."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app

SCHEMA = """
target = "y"
declared = true
[columns]
a = { kind = "number", bounds = [-4, 4] }
b = { kind = "number", bounds = [-4, 4] }
y = { kind = "number", bounds = [-4, 4] }
"""
CLEAR = """
rounds = 2
baseline = false
data = {{name = "{table}", schema = "{schema}", clients = 8}}
privacy.noise = "none"
local.lr = 0.5
secure_sum.kind = "insecure-plain"
simulation = {{workers = 0, dropout = 0.0}}
"""
RECORDS = """
steps = 2
data = {{name = "{table}", schema = "{schema}"}}
records = {{unit = "record", silos = 4, rate = 0.2, max_units = 120, epsilon = 1.0}}
server.lr = 500.0
"""


@pytest.fixture
def there(tmp_path):
    """A table whose columns tell nothing of the target."""
    rows = np.random.default_rng(0).standard_normal((300, 3)).clip(-4, 4)
    table, schema = tmp_path / "t.csv", tmp_path / "t.schema.toml"
    np.savetxt(table, rows, delimiter=",", header="a,b,y", comments="")
    schema.write_text(SCHEMA)

    def written(text):
        path = tmp_path / "c.toml"
        path.write_text(text.format(table=table, schema=schema))
        return path

    return written


@pytest.mark.parametrize(
    ("command", "text", "remedy"),
    [("run", CLEAR, "Try more rounds"), ("records", RECORDS, "more records, a larger epsilon")],
)
def test_a_model_of_no_use_is_called_so(there, tmp_path, command, text, remedy):
    """With a rate of 500 the noise leaves each of three coefficients in the hundreds.

    A model that beats the mean would need all three within ±1 of 0, which has a chance below 1e-6.
    """
    words = [command, str(there(text)), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "400"})
    assert result.exit_code == 0, result.output
    assert "The model is no better than always predicting the mean (rmse " in result.output
    assert remedy in result.output


def test_a_loss_beyond_all_numbers_is_no_damage_of_the_log(there, tmp_path):
    """A rate of 1e37 takes the loss beyond what a file in JSON can hold."""
    path, out = there(RECORDS.replace("500.0", "1e37")), tmp_path / "out"
    result = CliRunner().invoke(app, ["records", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert '"loss": null' in (out / "metrics.jsonl").read_text()
    assert (out / "report.html").exists()
