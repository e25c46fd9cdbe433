"""Every command that a page, a help text or an example names: each one is parsed, and the readme's ones run.

The commands of docs/your-data.md run in `test_your_data.py`, those of the fields in `test_fields.py`.
"""

from __future__ import annotations

import re
import shlex

import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.studies import executors
from tests.arch.tree import ROOT
from tests.e2e.documents.shown import COMMAND, LEAVES, PAGES, SHOWN, blocks
from tests.fedavg.support.studies import OneProcess

INLINE = re.compile(r"`fedavg ([^`]+)`")
OPTION = re.compile(r"--[a-z][a-z-]*")


def parsed(words):
    """Parse a command as the command line does, without running it."""
    path = next(path for path in LEAVES if tuple(words[: len(path)]) == path)
    return LEAVES[path].make_context(" ".join(path), words[len(path) :])


def test_there_are_commands_to_parse():
    assert len(SHOWN) > 50
    assert {"README.md", "docs/your-data.md", "fedavg run --help"} <= {place for place, _ in SHOWN}


@pytest.mark.parametrize(
    ("place", "words"),
    SHOWN,
    ids=lambda part: " ".join(part)[:70] if isinstance(part, list) else part,
)
def test_a_shown_command_has_the_options_that_there_are(place, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    parsed(words)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_help_text_is_shown_whole(path):
    """Words in brackets would be read as markup, and vanish."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "2000"}).output
    texts = [
        LEAVES[path].help,
        LEAVES[path].epilog,
        *(getattr(part, "help", None) for part in LEAVES[path].params),
    ]
    for text in filter(None, texts):
        assert set(text.replace("\\[", "[").split()) <= set(shown.split())


@pytest.mark.parametrize(
    "words", [["run", "--epsilom", "3"], ["budget", "--rounds", "many"], ["dance"]]
)
def test_a_command_that_is_wrong_would_be_found(words):
    with pytest.raises((Exception, StopIteration)):
        parsed(words)


def test_options_that_a_text_names_beside_a_command_are_its_own():
    """`fedavg run --ledger FILE` in running text: the command is there, and has the option."""
    wrong = []
    for page in sorted(PAGES):
        for line in INLINE.findall(page.read_text(encoding="utf-8")):
            words = " ".join(line.split()).split(" ")
            path = next((path for path in LEAVES if tuple(words[: len(path)]) == path), None)
            if path is None:
                known = OPTION.findall(line) in (["--help"], ["--version"]) or words[0] == "data"
                wrong += [] if known else [f"{page.name}: fedavg {line}"]
                continue
            options = {
                name for part in LEAVES[path].params for name in (*part.opts, *part.secondary_opts)
            }
            wrong += [
                f"{page.name}: {option}"
                for option in OPTION.findall(line)
                if option not in {*options, "--help"}
            ]
    assert not wrong


SHORT = {
    "run": ["--rounds", "1", "--no-baseline", "--workers", "0"],
    "audit": ["--canaries", "40", "--rounds", "1"],
    "sweep": ["--dry-run"],
}
"""What makes a command of the readme a matter of seconds; everything else is as it stands there."""


def test_the_readmes_commands_run_in_their_order(tmp_path, monkeypatch):
    """Privacy against accuracy: runs, a budget, an audit, a resumption, a page and a study, shortened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executors, "Workers", OneProcess())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = blocks(readme.split("### Weigh privacy against accuracy", 1)[1].split("\n### ", 1)[0])
    commands = [shlex.split(line, comments=True) for line in COMMAND.findall(section)]
    assert [words[0] for words in commands].count("run") == 4
    for words in commands:
        more = SHORT.get(words[0], [])
        if words[0] == "run" and "digits" in words:
            more = [*more, "--clients", "200"]
        if "my.toml" in words:
            config = (tmp_path / "runs" / "exact" / "config.toml").read_text()
            (tmp_path / "my.toml").write_text(config)
            more = [*more, "--out", "runs/my"]
        result = CliRunner().invoke(app, [*words, *more], env={"COLUMNS": "200"})
        if words[0] == "resume":  # none of these runs was broken off
            assert "is finished: there is nothing to resume" in result.output
        else:
            assert result.exit_code == 0, f"fedavg {' '.join(words)}\n{result.output}"
    assert (tmp_path / "budget.html").exists()
    for name in ("strict", "loose", "exact", "my"):
        assert (tmp_path / "runs" / name / "report.html").exists()
