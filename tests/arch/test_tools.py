"""Import contracts, lint, format and types of the whole tree, by the tools beside this interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.arch.tree import PACKAGES, ROOT

_BESIDE = Path(sys.executable).parent


def _run(*command: str, cwd: Path = ROOT) -> tuple[int, str]:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_import_contracts_are_kept() -> None:
    status, said = _run(str(_BESIDE / "lint-imports"), "--no-cache")
    assert status == 0, said
    assert "0 broken" in said, said


def test_import_contracts_break_when_a_protocol_imports_its_neighbour(tmp_path: Path) -> None:
    """The same contracts, on skeleton packages in which `dp` imports `secagg`."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""Skeleton."""\n')
    (tmp_path / "dp" / "__init__.py").write_text("import secagg\n")
    (tmp_path / "pyproject.toml").write_text(
        "[tool.importlinter]\n"
        'root_packages = ["secagg", "he", "dp", "fedavg"]\n'
        "[[tool.importlinter.contracts]]\n"
        'name = "layers"\ntype = "layers"\nlayers = ["fedavg", "secagg | he | dp"]\n'
    )
    launch = (
        "import sys; sys.path.insert(0, '.'); "
        "from importlinter.cli import lint_imports_command as command; command()"
    )
    status, said = _run(sys.executable, "-I", "-c", launch, "--no-cache", cwd=tmp_path)
    assert status == 1, said
    assert "dp is not allowed to import secagg" in said, said


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff_is_quiet_on_the_whole_tree(command: tuple[str, ...]) -> None:
    status, said = _run(sys.executable, "-m", "ruff", *command, ".")
    assert status == 0, said


def test_basedpyright_strict_is_quiet_on_the_four_packages() -> None:
    status, said = _run(
        sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, *PACKAGES
    )
    assert status == 0, said
