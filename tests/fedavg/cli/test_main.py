"""The command by its module, where the script is not on the path."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.arch.tree import ROOT


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
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from fedavg.cli.app import main\n"
        f"sys.argv = ['fedavg', *{arguments!r}]\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "pip install 'secure-fedavg[data]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
