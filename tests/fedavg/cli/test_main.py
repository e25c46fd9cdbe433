"""The command by its module, where the script is not on the path."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fedavg.cli import main
from tests.arch.tree import ROOT
from tests.e2e.processes import said_by


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "fedavg", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fedavg ")


def _without_pyarrow(folder, arguments):
    assert "pyarrow" not in sys.modules
    sys.modules["pyarrow"] = None
    os.chdir(folder)
    sys.argv = ["fedavg", *arguments]
    main()


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats", "t.csv", "--client", "a", "--every-row"],
        ["init", "t.csv", "--target", "b"],
        ["data", "schema", "t.csv", "--target", "b"],
        ["data", "show", "t.csv", "--target", "b"],
        ["run", "--data", "t.csv", "--target", "b", "--noise", "none"],
        ["records", "--data", "t.csv"],
    ],
)
def test_a_table_without_the_extra_names_it(arguments, tmp_path):
    """A base installation has no pyarrow, and every command on a table ended with a traceback."""
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{n},{n % 2}" for n in range(40)) + "\n")
    code, said = said_by(_without_pyarrow, str(tmp_path), arguments, output=tmp_path / "said.txt")
    assert code == 2, said
    assert "Traceback" not in said
    assert "pip install 'secure-fedavg[data]'" in said
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "said.txt"}
