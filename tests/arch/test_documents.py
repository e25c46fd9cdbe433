"""What the documents claim: named tests exist, links lead somewhere, code runs, and CI runs the readme."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.arch.tree import ROOT, tree
from tests.e2e.processes import said_by_script

if TYPE_CHECKING:
    from pathlib import Path

_README = (ROOT / "README.md").read_text(encoding="utf-8")
_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCKS = re.findall(r"^```python\n(.*?)^```", _README, flags=re.MULTILINE | re.DOTALL)
_INSTALL = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e "


def _missing_tests(text: str) -> list[str]:
    """Tests that a promise table names and that are not there; rows that name none count too."""
    missing: list[str] = []
    for row in re.findall(r"^\| (.*) \|$", text, flags=re.MULTILINE):
        promise, _, held = row.rpartition(" | ")
        names = re.findall(r"`([\w/]+\.py)::(\w+)`", held)
        for file, name in names:
            path = ROOT / "tests" / file
            if not path.is_file() or name not in _functions(path):
                missing.append(f"{file}::{name}")
        if not names:
            missing.append(f"no test for: {promise}")
    return missing


def _functions(path: Path) -> set[str]:
    nodes = ast.walk(tree(path))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def _promises() -> str:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    table = page.split("## Promises", 1)[1]
    return re.sub(r"^\| (promise \| held by|-).*\n|^\|-.*\n", "", table, flags=re.MULTILINE)


def test_every_promise_names_a_test_that_exists() -> None:
    promises = _promises()
    assert promises.count("::") >= 20
    assert not _missing_tests(promises)


@pytest.mark.parametrize(
    "row",
    ["| It is safe. | trust us |\n", "| It is safe. | `arch/test_source.py::test_nothing` |\n"],
)
def test_a_promise_without_a_test_would_be_found(row: str) -> None:
    assert _missing_tests(row)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"(?<!!)\[[^\]]+\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


@pytest.mark.parametrize("block", _BLOCKS, ids=["trade-off", "encryption", "embedding"])
def test_the_readmes_code_runs(block: str, tmp_path: Path) -> None:
    path = tmp_path / "block.py"
    path.write_text(block)
    code, said = said_by_script(path)
    assert code == 0, said
    assert said.strip()
    assert "False" not in said


def test_the_readmes_commands_are_the_promised_ones() -> None:
    assert f"{_INSTALL}'.[data]' && .venv/bin/fedavg run\n" in _README
    assert f"{_INSTALL}'.[data,test]' && .venv/bin/python -m pytest -n auto\n" in _README


def _ci(folder: Path, readme: str) -> subprocess.CompletedProcess[str]:
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    (folder / "README.md").write_text(readme)
    return subprocess.run(
        [str(folder / ".ci" / "run")],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ci_runs_exactly_the_readmes_second_command(tmp_path: Path) -> None:
    command = f"{_INSTALL}'.[data,test]' && .venv/bin/python -m pytest -n auto"
    assert _README.count(command) == 1
    done = _ci(tmp_path, _README.replace(command, "pwd && echo 'one  command'"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [str(tmp_path.resolve()), "one  command"]


@pytest.mark.parametrize("command", ["false && true", "exit 3"])
def test_ci_fails_when_the_command_fails(tmp_path: Path, command: str) -> None:
    readme = f"<!-- verify -->\n```sh\n{command}\n```\n<!-- /verify -->\n"
    assert _ci(tmp_path, readme).returncode != 0


def test_ci_fails_without_the_marks(tmp_path: Path) -> None:
    assert _ci(tmp_path, _README.replace("<!-- verify -->", "")).returncode != 0


def _prose(text: str) -> list[str]:
    """Lines that have to be wrapped: no table, code, heading or image."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#", "    "))]
    return [line for line in lines if not re.fullmatch(r"[-*\s]*!?\[[^\]]*\]\([^)]*\)\S*", line)]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_prose_wraps_at_110_characters(page: Path) -> None:
    lines = _prose(page.read_text(encoding="utf-8"))
    assert not [line for line in lines if len(line) > 110]


@pytest.mark.parametrize("line", ["word " * 30, f"- [{'word ' * 30}](page.md) and more"])
def test_a_long_line_of_prose_would_be_found(line: str) -> None:
    page = f"```sh\n{line}\n```\n{line}\n| {line} |\n"
    assert [found for found in _prose(page) if found] == [line]
