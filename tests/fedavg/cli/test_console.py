"""What commands print is data: a path, heading or label is neither markup nor a command to the terminal."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

import fedavg.cli.console
from fedavg.cli.app import app, main
from fedavg.cli.console import console, errors
from fedavg.runs.terminal.progress import bars

NAMES = ("budget[/b].json", "runs[red]x[/red]", "a :smile: b", "[bold]")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", [console, errors])
def test_brackets_and_colons_are_printed_as_they_are(made, name, capsys):
    out = made()
    out.print(name, highlight=False)
    out.print(Table(name, title=name))
    out.print(Text(name))
    said = "".join(capsys.readouterr())
    assert said.count(name) == 4


def test_the_status_of_a_bar_is_no_markup_either(capsys):
    with bars(console()) as progress:
        progress.add_task("rounds[/x]", total=1, status="metric[/y] 0.5")
    said = capsys.readouterr().out
    assert "rounds[/x]" in said
    assert "metric[/y] 0.5" in said


COMMANDS = "\x1b[2J\x1b]0;title\x07\r\x08\x7f\x9b31m"


def _printed(capsys):
    console().print(f"label {COMMANDS} end")
    console().print(Text(COMMANDS))
    return capsys.readouterr().out


def test_a_label_gives_the_terminal_no_commands(capsys):
    said = _printed(capsys)
    assert not set(said) & set("\x1b\x07\r\x08\x7f\x9b")
    assert said.startswith("label \N{REPLACEMENT CHARACTER}[2J")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_ends_no_run(encoding, monkeypatch):
    """Dots at the end of a long list raised a UnicodeEncodeError, and so did a path's odd byte everywhere."""
    memory = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(memory, encoding))
    console().print("é … 漢 odd\udcff", Table("…", title="漢"), highlight=False)
    sys.stdout.flush()
    said = memory.getvalue().decode(encoding)
    assert said.startswith(
        {"ascii": "? ? ? odd?", "latin-1": "é ? ? odd?"}.get(encoding, "é … 漢 odd?")
    )


@pytest.mark.parametrize(
    "arguments",
    [["run", "--out", "odd\udcff"], ["stats", "t\udc80.csv"], ["ledger", "show", "\ud800"]],
)
def test_bytes_that_are_no_text_are_refused_before_any_work(arguments, monkeypatch, capsys):
    """A run directory was made, and then a UnicodeEncodeError was raised."""
    monkeypatch.setattr(sys, "argv", ["fedavg", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "is no text in UTF-8: rename" in " ".join(capsys.readouterr().err.split())


def test_mutant_that_prints_what_it_is_given(capsys, monkeypatch):
    monkeypatch.setattr(fedavg.cli.console._Literal, "render", Console.render)
    assert "\x1b[2J" in _printed(capsys)


def test_a_ledger_in_a_folder_with_brackets_is_shown_under_its_name(tmp_path, monkeypatch):
    """rich raised a MarkupError, and a run in such a folder ended without its report."""
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "budget[/b].json"
    path.parent.mkdir()
    for arguments in (["create", str(path), "--epsilon", "3"], ["show", str(path)]):
        result = CliRunner().invoke(app, ["ledger", *arguments])
        assert result.exit_code == 0, result.output
        assert "budget[/b].json" in result.output
