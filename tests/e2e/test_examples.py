"""Every example runs and prints what it promises."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_examples_have_a_test():
    tested = {"privacy_utility", "encryption_overhead", "embed_secagg"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_embed_secagg(capsys):
    load("embed_secagg").main()
    assert "exact: True" in capsys.readouterr().out


def test_encryption_overhead(capsys):
    load("encryption_overhead").main(length=5000)
    printed = capsys.readouterr().out
    assert printed.count("exact") == 3


def test_privacy_utility(capsys):
    load("privacy_utility").main(rounds=1)
    assert capsys.readouterr().out.count("accuracy") == 3
