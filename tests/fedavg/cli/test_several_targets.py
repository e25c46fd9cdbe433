"""`--target` more than once: every command takes all the names, and none becomes a column that is read."""

from __future__ import annotations

import tomllib

import pytest
from typer.testing import CliRunner

from fedavg.cli import app
from fedavg.cli.console import one_or_several

TARGETS = ["--target", "fever", "--target", "cough"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{7 * i % 13 / 2},{i % 3 == 0},{i % 2 == 0}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x,fever,cough", *rows]))
    return tmp_path


def invoke(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (None, ""),
        ([], ""),
        (["a"], "a"),
        (["a", "b"], ("a", "b")),
        (["a", "b", "c"], ("a", "b", "c")),
    ],
)
def test_one_name_is_itself_and_several_are_all_of_them(names, value):
    assert one_or_several(names) == value


def test_a_run_predicts_all_of_them(table):
    invoke(
        *("run", "--data", "t.csv", *TARGETS, "--noise", "none", "--secure-sum", "insecure-plain"),
        *("--clients", 4, "--rounds", 1, "--workers", 0, "--no-baseline", "--out", "r"),
    )
    written = tomllib.loads((table / "r" / "config.toml").read_text())
    assert written["data"]["target"] == ["fever", "cough"]


def test_a_first_configuration_names_all_of_them(table):
    invoke("init", "t.csv", *TARGETS, "--clients", 4)
    written = tomllib.loads((table / "t.schema.toml").read_text())
    assert written["target"] == ["fever", "cough"]


def test_the_page_of_a_partition_counts_each_of_them(table):
    invoke("data", "show", "t.csv", *TARGETS, "--clients", 4)
    page = (table / "partition.html").read_text()
    assert "fever" in page
    assert "cough" in page
