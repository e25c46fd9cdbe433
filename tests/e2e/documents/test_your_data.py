"""The page on one's own data: its commands run in order, its files are written, its lines are printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.config.settings import Config
from tests.arch.tree import ROOT
from tests.e2e.processes import said_by_script

PAGE = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def spaced(text):
    return " ".join(text.split())


def run(command):
    words = shlex.split(command)
    if words[0] == "fedavg":
        quick = ["--workers", "0"] if words[1] == "run" else []  # processes start slowly
        result = CliRunner().invoke(app, [*words[1:], *quick], env={"COLUMNS": "200"})
        assert result.exit_code == 0, f"{command}\n{result.output}"
        return result.output
    assert words[0] == "python", command
    file = Path(words[1])
    if words[1] == "-c":
        file = Path("given.py")
        file.write_text(words[2])
    code, said = said_by_script(file)
    assert code == 0, f"{command}\n{said}"
    return said


def test_every_command_of_the_page_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    said = ""
    for kind, text in BLOCKS:
        if kind == "sh":
            said = spaced("".join(run(line) for line in text.splitlines()))
        elif kind == "text":
            for line in text.splitlines():
                assert spaced(line) in said
        else:
            name = text.split("\n", 1)[0].removeprefix("# ")
            assert name.endswith((".toml", ".py"))
            (tmp_path / name).write_text(text)
    assert "('bad', 'good') 20" in run("python in_python.py")
    for name in ("loans", "short", "own", "focal", "judged", "looped", "price", "private"):
        assert (tmp_path / "runs" / name / "report.html").exists()
    assert (tmp_path / "runs" / "loans" / "report-public.html").exists()


def test_the_file_of_the_page_names_only_keys_that_there_are():
    """A table of the page that is no configuration would be refused by the run; this one says which key."""
    named = set(re.findall(r"`\[(\w+)\]", PAGE))
    assert named <= set(Config.__struct_fields__)
    assert {"training", "evaluation", "data"} <= named


def test_every_kind_of_column_is_in_the_table():
    from fedavg.parts import names

    table = PAGE.split("| kind |")[1].split("\n\n")[0]
    ours = [name for name in names("column") if "test" not in name]
    assert [name for name in ours if f"`{name}`" not in table] == []
