"""The user's own code: an error in it gives one short message."""

from __future__ import annotations

import sys

import pytest

from fedavg.errors import ConfigError
from fedavg.parts.imports import add_folder, called, imported


@pytest.fixture
def beside(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    add_folder(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(:\n", r"SyntaxError: .*\(own_a.py, line 1\)$"),
        (
            "\n\nx = undefined\n",
            r"NameError: name 'undefined' is not defined \(own_a.py, line 3\)$",
        ),
        (
            "import no_such_module_here\n",
            r"ModuleNotFoundError: .*no_such_module_here.*own_a.py, line 1",
        ),
        ("def g():\n    pass\n", r"own_a.py has no 'f'$"),
        ("f = 3\n", "is a int, not a function"),
        ("raise ZeroDivisionError\n", "ZeroDivisionError: without a message"),
    ],
)
def test_a_module_with_a_fault_is_one_sentence(beside, monkeypatch, code, said):
    monkeypatch.delitem(sys.modules, "own_a", raising=False)
    (beside / "own_a.py").write_text(code)
    with pytest.raises(ConfigError, match=said) as caught:
        called("own_a:f", "the loss")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the loss 'own_a:f'")


def test_a_module_that_is_not_there_says_where_to_put_it():
    with pytest.raises(ConfigError, match="no module 'own_b'; put own_b.py beside"):
        imported("own_b.part:f", "the model")


def test_a_module_beside_is_found_and_hides_no_installed_one(beside):
    (beside / "own_c.py").write_text("def f():\n    return 7\n")
    (beside / "json.py").write_text("raise RuntimeError\n")
    assert called("own_c:f", "the loss")() == 7
    assert imported("json:dumps", "the loss")([]) == "[]"
