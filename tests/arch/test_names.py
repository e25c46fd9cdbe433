"""Modules, files and commands that pages, docstrings, comments and messages name are where they say."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import io
import re
import tokenize
from typing import TYPE_CHECKING

import pytest
import typer.main

from fedavg.cli import app
from tests.arch.tree import PACKAGES, ROOT, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CODE = (*PACKAGES, "benchmarks", "tests")
_FOLDERS = "|".join((*_CODE, "docs", "examples", "typings"))
_DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(_CODE)})(?:\.\w+)+")
_PATH = re.compile(rf"(?<![\w./-])(?:{_FOLDERS})(?:/[\w.-]+)+")
_FILE = re.compile(r"`(\w+\.py)`")
_SUITE = re.compile(r"-m benchmarks ([a-z]\w*)")
_COMMAND = re.compile(r"(?:`|bin/)fedavg ([a-z]+)\b")
_ENDINGS = {"md", "json", "state", "lock"}
"""Of files that bear a package's name: `he.md`."""
_OTHER = {"fedavg.exchange": "the name of a record in a message of Flower's"}
_SUITES = {"document": "writes the figures of all suites into their pages"}


def _texts(path: Path) -> Iterator[str]:
    """A page whole; of a module its comments and docstrings, and of no test also its messages."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield source
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    in_tests = path.is_relative_to(ROOT / "tests")
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not in_tests:
            yield node.value
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and in_tests:
            yield ast.get_docstring(node) or ""


def _sources() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(ROOT / "docs").rglob("*.md")]
    pages += [path for path in (ROOT / "examples").rglob("*") if path.suffix in {".md", ".toml"}]
    return pages + [path for name in (*_CODE, "examples") for path in (ROOT / name).rglob("*.py")]


def _has(owner: object, name: str) -> bool:
    if hasattr(owner, name) or name in getattr(owner, "__annotations__", {}):
        return True
    # An attribute that only instances have.
    return inspect.isclass(owner) and f"self.{name} =" in inspect.getsource(owner)


@functools.cache
def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or what a module or its class has."""
    head, *rest = name.split(".")
    if name in _OTHER or (len(rest) == 1 and rest[0] in _ENDINGS):
        return True
    place, module = ROOT / head, head
    while rest and ((place / rest[0]).is_dir() or (place / f"{rest[0]}.py").is_file()):
        place, module = place / rest[0], f"{module}.{rest.pop(0)}"
    owner: object = importlib.import_module(module) if rest else None
    for attribute in rest:
        if not _has(owner, attribute):
            return False
        owner = getattr(owner, attribute, None)
    return True


def _leads(path: str, source: Path) -> bool:
    """Whether a path is there, seen from the root, from `tests` or from the page that names it."""
    path = path.rstrip(".")
    if any(part.isupper() for part in path.split("/")):  # a place for a name: benchmarks/NAME
        return True
    return any((base / path).exists() for base in (ROOT, ROOT / "tests", source.parent))


def _lost(text: str, source: Path) -> list[str]:
    """What a text names that is not there."""
    lost = [name for name in _DOTTED.findall(text) if not _is_there(name)]
    lost += [path for path in _PATH.findall(text) if not _leads(path, source)]
    lost += [file for file in _FILE.findall(text) if file not in _FILES]
    lost += [
        f"-m benchmarks {suite}"
        for suite in _SUITE.findall(text)
        if suite not in _SUITES and not (ROOT / "benchmarks" / suite).is_dir()
    ]
    return lost + [f"fedavg {name}" for name in _COMMAND.findall(text) if name not in _COMMANDS]


_FILES = {path.name for path in _sources()}
_COMMANDS = typer.main.get_group(app).commands


@pytest.mark.parametrize("folder", ["", *_CODE, "docs", "examples"])
def test_what_is_named_is_there(folder: str) -> None:
    sources = [s for s in _sources() if "/".join(s.relative_to(ROOT).parts[:-1][:1]) == folder]
    assert sources
    lost = {
        source.relative_to(ROOT).as_posix(): names
        for source in sources
        if (names := [name for text in _texts(source) for name in _lost(text, source)])
    }
    assert not lost


def test_the_path_of_an_update_leads_through_modules_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## The path of one update", 1)[1].split("\n## ", 1)[0]
    rows = [row.split("|")[2] for row in re.findall(r"^\|.*\|$", table, flags=re.MULTILINE)[2:]]
    named = [name for row in rows for name in re.findall(r"`([\w/]+)`", row)]
    assert len(named) > 15
    places = [place for name in named for place in [_place(name)] if not any(place)]
    assert not places, named


def _place(name: str) -> list[bool]:
    homes = [base / name for base in (ROOT, ROOT / "fedavg")]
    return [home.is_dir() or home.with_suffix(".py").is_file() for home in homes]


@pytest.mark.parametrize(
    "text",
    [
        "see `secagg.nowhere`",
        "secagg.wire.codec.nothing",
        "fedavg.Federation.nothing",
        "python -m tests.dp.test_nothing",
        "tests/dp/test_nothing.py",
        "`nothing.py`",
        "python -m benchmarks nothing",
        "`fedavg nothing`",
    ],
)
def test_what_is_not_there_would_be_found(text: str) -> None:
    assert _lost(text, ROOT / "README.md")


@pytest.mark.parametrize(
    "text",
    [
        "secagg.wire.codec",
        "`fedavg.Federation.stopped` and he.md",
        "tests/arch, docs/he.md.",
        "benchmarks/NAME",
        "`fedavg run`",
    ],
)
def test_what_is_there_is_no_finding(text: str) -> None:
    assert not _lost(text, ROOT / "README.md")
