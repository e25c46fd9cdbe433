"""One check taken out of the code under test, by its text: what a hostile test must catch."""

from __future__ import annotations
import __future__

import functools
import inspect
import sys
import textwrap
from pathlib import Path
from types import CodeType, FunctionType

import pytest

import secagg

FOUND = (AssertionError, pytest.fail.Exception)
"""How a test says that it failed."""
NEVER = "False"
"""In place of a condition that refuses."""


def without(monkeypatch, owner, name, check, instead=NEVER):
    """Let `owner.name` stand without one check, until the monkeypatch is undone.

    Args:
        monkeypatch: pytest's.
        owner: the module or class in which the function is looked up when it is called.
        name: of the function.
        check: the text to replace; a mutant of code that has changed since is an error, not a pass.
        instead: what to put there.

    Returns:
        The mutant, to be put wherever else the function is held.
    """
    function = inspect.unwrap(inspect.getattr_static(owner, name))
    source = _source(function)
    if source.count(check) != 1:
        raise LookupError(f"{name} holds {check!r} {source.count(check)} times, not once")
    flag = __future__.annotations.compiler_flag
    module = compile(source.replace(check, instead), f"<mutant of {name}>", "exec", flag)
    code = next(c for c in module.co_consts if isinstance(c, CodeType) and c.co_name == name)
    mutant = FunctionType(code, function.__globals__, name, function.__defaults__)
    mutant.__kwdefaults__ = function.__kwdefaults__
    monkeypatch.setattr(owner, name, mutant)
    return mutant


@functools.cache
def _lines(file):
    return Path(file).read_text(encoding="utf-8").splitlines(keepends=True)


def _source(function):
    """As it was when the tests were loaded: an edit during a run must not shift the lines."""
    lines = _lines(function.__code__.co_filename)[function.__code__.co_firstlineno - 1 :]
    return textwrap.dedent("".join(inspect.getblock(lines)))


for _name, _module in list(sys.modules.items()):
    if _name.split(".")[0] == secagg.__name__ and _module.__file__:
        _lines(_module.__file__)
