"""What importing a package loads: no learning framework where none is needed, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from fedavg import FixedPoint, OneShot, SecAgg
from fedavg.adapters.exchange import Record, Terms, enrol_here
from tests.arch.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEAVY = ("torch", "flwr", "nvflare", "plotly", "pandas")


@cache
def _loaded(statement: str, *options: str) -> frozenset[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return frozenset(done.stdout.split())


@pytest.mark.parametrize("module", ["secagg", "he", "dp", "fedavg", "fedavg.encoding.fixed_point"])
def test_import_loads_no_learning_framework(module: str) -> None:
    loaded = _loaded(f"import {module}")
    assert module in loaded
    assert not loaded & set(_HEAVY)


def _every_name(module: str) -> str:
    return f"import {module}\nfor name in {module}.__all__: getattr({module}, name)"


def test_the_check_would_see_torch() -> None:
    loaded = _loaded(_every_name("fedavg"))
    assert {"torch", "fedavg.training.loop"} <= loaded


def _loaded_by_commands(*commands: Sequence[str]) -> frozenset[str]:
    """What one process has loaded that runs these commands, one after the other."""
    return _loaded(
        "import contextlib, io\n"
        "from fedavg.cli.app import app\n"
        f"for arguments in {list(map(list, commands))!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        app(arguments, prog_name='fedavg')"
    )


_NUMERIC = ("numpy", "scipy", "sklearn", "pyarrow", "tenseal", "dp", "he", "secagg")


_HELP = [
    ["--help"],
    ["--version"],
    *([name, "--help"] for name in ("run", "budget", "data", "ledger")),
]


@pytest.mark.parametrize("arguments", _HELP, ids=" ".join)
def test_help_loads_no_package_that_computes(arguments: list[str]) -> None:
    """One process shows them all; only if that loads too much, each has one of its own."""
    loaded = _loaded_by_commands(*_HELP)
    if loaded & {*_HEAVY, *_NUMERIC}:
        loaded = _loaded_by_commands(arguments)
    assert "fedavg.cli.app" in loaded
    assert not loaded & {*_HEAVY, *_NUMERIC}


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (("data", "list"), {"scipy", "sklearn", "pyarrow", "tenseal", "secagg"}),
        (("budget", "--noise", "1.3", "--sampling", "none", "--rounds", "1"), {"scipy.stats"}),
    ],
)
def test_commands_without_training_load_no_torch(
    arguments: tuple[str, ...], absent: set[str]
) -> None:
    loaded = _loaded_by_commands(arguments)
    assert "numpy" in loaded
    assert not loaded & {*_HEAVY, *absent}


@pytest.mark.parametrize(
    "module", ["dp", "dp.checks", "dp.errors", "fedavg.files", "fedavg.adapters.flower"]
)
def test_what_starts_for_every_message_loads_no_scipy(module: str) -> None:
    assert "scipy" not in _loaded(f"import {module}")


@pytest.mark.parametrize(
    ("sum_", "needed", "other"),
    [
        (OneShot(committee=6, corrupt_members=1, absent_members=1), "he.onetime.client", "masked"),
        (SecAgg(dropout_rate=0.25), "fedavg.sums.masked", "one_shot"),
    ],
)
def test_a_node_of_flower_loads_its_own_sum_alone(
    tmp_path: Path, sum_: OneShot | SecAgg, needed: str, other: str
) -> None:
    """A Flower node starts a process for every message, and each would load the others again."""
    terms = Terms(sum_, {"train": Record(FixedPoint(1.0, 20, rounding="nearest"))}, max_weight=9)
    enrol_here(tmp_path, 6, terms)
    loaded = _loaded(
        "from pathlib import Path\n"
        "import fedavg.adapters.flower\n"
        "from fedavg.adapters.exchange import Node\n"
        f"Node.open(Path({str(tmp_path / '5')!r}))"
    )
    assert needed in loaded
    others = {"tenseal", "multiprocessing.queues", "secagg.roles.server", f"fedavg.sums.{other}"}
    assert not loaded & others


def test_the_function_simulate_has_the_name_of_its_module_and_stays_a_function() -> None:
    assert "secagg.roles.client.client" in _loaded(
        "import secagg.simulate\n"
        "from secagg import Client, simulate\n"
        "if not (callable(simulate) and secagg.simulate is simulate): raise SystemExit(1)"
    )


@pytest.mark.parametrize("module", ["secagg", "he", "dp", "fedavg"])
def test_every_public_name_is_there(module: str) -> None:
    assert module in _loaded(_every_name(module))


def test_secagg_alone_needs_none_of_the_other_packages() -> None:
    assert not _loaded("import secagg") & {"he", "dp", "fedavg", "tenseal"}


@pytest.mark.parametrize("module", ["secagg", "he", "dp", "fedavg"])
def test_packages_import_under_python_o(module: str) -> None:
    assert module in _loaded(f"import {module}", "-O")
