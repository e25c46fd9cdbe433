"""What an exception leaves behind, and every way in which a call can fail: machinery of S20's tests.

Every line that a public call runs in a package is made to fail in turn, by a tracer, with an exception
that itself holds secrets.  Whatever the program gets in its hands is then searched: the exceptions, their
arguments, and the variables of the package's frames, object by object.
"""

from __future__ import annotations

import gc
import linecache
import sys
import traceback
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import pytest


class BrokenError(Exception):
    """A failure beneath, which holds what it was about, as a KeyError does."""


class Leftovers:
    """The search in one package.

    Args:
        package: the imported package.
        root: its root of errors.
        holders: classes whose objects hold secrets.
        theirs: beginnings of lines that run nothing but the caller's own code, whose errors pass.
    """

    def __init__(self, package, root, holders, theirs=()):
        self.theirs = tuple(theirs)
        self.folder = Path(package.__file__).parent
        self.door = str(self.folder / "guards" / "calls.py")
        self.root, self.holders = root, holders

    def own(self, error):
        """The package's entries of a traceback."""
        return [
            entry
            for entry in traceback.walk_tb(error.__traceback__)
            if Path(entry[0].f_code.co_filename).is_relative_to(self.folder)
        ]

    def variables(self, error):
        """The variables of all frames of the package that an exception and its causes came through."""
        seen, waiting = set(), [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            yield from (one.args, vars(one))
            for frame, _ in self.own(one):
                yield dict(frame.f_locals)

    def left_behind(self, error, secrets, vector):
        """What an exception lets one reach: secrets, and objects that hold them."""
        found = []
        for one in reachable(self.variables(error)):
            if isinstance(one, self.holders):
                found.append(type(one).__name__)
            elif isinstance(one, (bytes, bytearray)):
                found += ["secret bytes" for secret in secrets if secret in bytes(one)]
            elif isinstance(one, np.ndarray):
                found += ["secret words" for secret in secrets if secret in one.tobytes()]
                if one.shape == vector.shape and np.array_equal(one, vector):
                    found.append("input")
        shown = traceback.StackSummary.extract(iter(self.own(error)), capture_locals=True).format()
        if all(str(value) in "".join(shown) for value in vector[:2]):
            found.append("input in print")
        return found

    def failures(self, prepare):
        """(place, subject, error, secrets) for every line of a call that is made to fail.

        Args:
            prepare: gives the call, what it is made on, and the secrets that it knows.
        """
        prepare()[0]()  # fills the caches, whose lines run once
        tracer = Tracer(self)
        tracer.run(prepare()[0])
        assert tracer.lines
        for place in tracer.lines:
            call, subject, secrets = prepare()
            try:
                Tracer(self, place, holding=secrets).run(call)
            except self.root as error:
                yield place, subject, error, secrets
            else:
                pytest.fail(f"{place} did not fail")


def reachable(roots):
    """Objects in reach, not through modules, classes and functions: these are everybody's."""
    seen, waiting = {}, list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(
            one, (ModuleType, type, FunctionType, BuiltinFunctionType)
        ):
            continue
        seen[id(one)] = one
        waiting += gc.get_referents(one)
        if isinstance(one, np.ndarray) and one.base is not None:
            waiting.append(one.base)
    return seen.values()


class Tracer:
    """Runs a call and notes the package's lines, or fails at one of them."""

    def __init__(self, leftovers, break_at=None, holding=()):
        self.of, self.break_at, self.holding, self.lines = leftovers, break_at, holding, {}

    def __call__(self, frame, event, _):
        name = frame.f_code.co_filename
        if name == self.of.door or not Path(name).is_relative_to(self.of.folder):
            return None
        if event == "line":
            place = (name, frame.f_lineno)
            if linecache.getline(*place).lstrip().startswith(self.of.theirs):
                return self
            self.lines.setdefault(place)
            if place == self.break_at:
                self.break_at = None
                raise BrokenError(*self.holding)
        return self

    def run(self, call):
        before = sys.gettrace()
        sys.settrace(self)
        try:
            return call()
        finally:
            sys.settrace(before)


def passed_on(internal):
    """A `_named` that leads to the error beneath, for mutants."""

    def named(error):
        typed = internal("something failed")
        typed.__cause__ = error
        return typed

    return named
