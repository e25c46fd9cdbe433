"""What importing a package loads: no learning framework where none is needed, in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.arch.tree import ROOT

_HEAVY = ("torch", "flwr", "nvflare", "plotly", "pandas")


def _loaded(statement: str, *options: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["secagg", "he", "dp", "fedavg", "fedavg.encoding.fixed_point"])
def test_import_loads_no_learning_framework(module: str) -> None:
    loaded = _loaded(f"import {module}")
    assert module in loaded
    assert not loaded & set(_HEAVY)


def test_the_check_would_see_torch() -> None:
    assert "torch" in _loaded("import fedavg.training.loop")


@pytest.mark.parametrize("module", ["secagg", "he", "dp", "fedavg"])
def test_every_public_name_is_there(module: str) -> None:
    statement = f"import {module}\nfor name in {module}.__all__: getattr({module}, name)"
    assert module in _loaded(statement)


def test_secagg_alone_needs_none_of_the_other_packages() -> None:
    assert not _loaded("import secagg") & {"he", "dp", "fedavg", "tenseal"}


@pytest.mark.parametrize("module", ["secagg", "he", "dp", "fedavg"])
def test_packages_import_under_python_o(module: str) -> None:
    assert module in _loaded(f"import {module}", "-O")
