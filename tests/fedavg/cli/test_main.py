"""The command by its module, where the script is not on the path."""

from __future__ import annotations

import subprocess
import sys

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
