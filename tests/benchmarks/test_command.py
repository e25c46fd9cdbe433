"""The command: which suites it offers, its exit status, the examples of the kit, and who may import it."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from benchmarks import Bar, Bench, Measure
from benchmarks import __main__ as command
from tests.arch.tree import PACKAGES, ROOT, imports, modules, tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--check"], 1)])
def test_a_missed_bar_fails_the_command_only_when_asked(
    options: list[str],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def suite(bench: Bench) -> None:
        bench.add(Measure("slow", "slowness", "s", ours=1.0, peer=2.0, bar=Bar(3)))

    monkeypatch.setattr(command, "available", lambda: ("demo",))
    monkeypatch.setitem(sys.modules, "benchmarks.demo", SimpleNamespace(run=suite))
    monkeypatch.setattr(command, "_own_command", lambda _: None)
    assert command.main(["demo", "--quick", "--out", str(tmp_path), *options]) == status
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ratios"] == {"slow": 2.0}
    assert (tmp_path / "demo.html").is_file()


def test_only_suites_that_are_there_are_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["no_such_suite"])
    assert stopped.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("suite", ["dp", "he"])
def test_the_number_of_threads_is_set_before_a_suite_is_loaded(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a command of its own and without; libraries read the number when they are loaded."""
    monkeypatch.setattr("benchmarks.kit.command._ENVIRONMENT", {"SOME_NUM_THREADS": "1"})
    monkeypatch.setenv("SOME_NUM_THREADS", "")  # so that it is restored
    monkeypatch.delenv("SOME_NUM_THREADS")
    loaded: list[tuple[str, str | None]] = []

    def load(name: str) -> SimpleNamespace:
        loaded.append((name, os.environ.get("SOME_NUM_THREADS")))
        return SimpleNamespace(main=lambda _: 0, run=lambda _: None)

    instead = SimpleNamespace(import_module=load, util=importlib.util)
    monkeypatch.setattr(command, "importlib", instead)
    monkeypatch.setattr(command, "finish", lambda *_: 0)
    assert command.main([suite]) == 0
    assert loaded
    assert {threads for _, threads in loaded} == {"1"}


def test_the_command_itself_loads_no_numpy() -> None:
    """Mutant: a module of the kit that imports numpy before the number of its threads is set."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, benchmarks.__main__; print('numpy' in sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "name",
    ["__main__", "kit.bench", "kit.document", "kit.machine", "kit.measure", "kit.timing"],
)
def test_the_examples_in_the_docstrings_run(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"benchmarks.{name}"))
    assert done.attempted
    assert not done.failed


def test_no_package_imports_benchmarks_or_tests() -> None:
    roots = {name.split(".")[0] for path in modules(*PACKAGES) for _, name in imports(tree(path))}
    assert "numpy" in roots
    assert not roots & {"benchmarks", "tests"}
