"""Whole runs whose clients train one block each: from the command line, killed, and gone on with."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from tests.e2e.commands.test_resume import EXACT, config_in, kill_after, lines
from tests.e2e.processes import forked_command

runner = CliRunner()
MODEL = '[model]\nname = "mlp"\n'
ROLLING = f'{EXACT}{MODEL}[blocks]\nkind = "rolling"\ncount = 2\n'
NAMED = f'{EXACT}{MODEL}[blocks]\npatterns = [["layers.0.*"], ["layers.1.*"]]\n'


def invoke(*arguments):
    return runner.invoke(app, [str(part) for part in arguments])


def test_a_run_of_blocks_that_is_killed_ends_as_one_that_is_not(tmp_path):
    config = config_in(tmp_path, ROLLING, rounds=12)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result = invoke("run", config, "--out", whole)
    assert result.exit_code == 0, result.output
    assert "2 blocks side by side" in " ".join(result.output.split())
    kill_after(forked_command("run", config, "--out", broken), broken, 3, 0.01)
    assert invoke("resume", broken).exit_code in (0, 2)  # 2: it had ended before the kill
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    page = (whole / "report.html").read_text()
    assert "2 side by side: a client trains and sends at most 50.1%" in page
    assert "times the whole model as plain float32" in page
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["blocks"] == [515, 515]  # half of 64 units: 12·32 + 32 + 32·3 + 3
    assert summary["accuracy"] > 0.9


def test_a_private_run_of_named_blocks(tmp_path):
    private = NAMED.replace('"none"', '"gaussian"\nnoise_multiplier = 1.0')
    config = config_in(tmp_path, private, rounds=3)
    result = invoke("run", config, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    rows = lines(tmp_path / "run" / "server.jsonl")
    assert len(rows) == 3
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["blocks"] == [832, 195]
    assert summary["epsilon_release"] > 0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("count = 9", "9 blocks of whole tensors"),
        ('kind = "rolling"\nmemory = "2MB"', "takes a count and a share"),
        ("count = 30", "30 blocks"),
        ("conut = 2", "Do you mean 'count'"),
    ],
)
def test_what_cannot_be_cut_is_said_before_anything_is_written(tmp_path, table, words):
    config = config_in(tmp_path, f"{EXACT}{MODEL}[blocks]\n{table}\n")
    result = invoke("run", config, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()
