"""Every public class and function shows, in an example that runs as a test, what it is for."""

from __future__ import annotations

import doctest
import functools
import importlib
import inspect
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("secagg", "secagg.committee", "he", "he.onetime", "dp", "fedavg", "fedavg.testing")


def _public(package: str) -> Iterator[object]:
    """The public classes and functions of a package; an error's example is the code that raises it."""
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value) or (
            inspect.isclass(value) and not issubclass(value, Exception)
        ):
            yield value


@functools.cache
def _examples(module: str) -> dict[str, list[doctest.Example]]:
    """The examples of a module by the full name of their object, as a test run finds them."""
    found = doctest.DocTestFinder().find(sys.modules[module], module)
    return {test.name: test.examples for test in found}


def missing(value: object) -> str:
    """What an object's example lacks; "" for nothing.

    The parser of doctests, not a search for ">>>", decides what an example is. One that says no result tests
    that nothing is raised.
    """
    doc = inspect.unwrap(value).__doc__ or ""
    if "Example:\n" not in doc:
        return "no section Example"
    if not doctest.DocTestParser().get_examples(doc.partition("Example:\n")[2]):
        return "no line >>> in its example"
    name = f"{value.__module__}.{value.__qualname__}"
    if not _examples(value.__module__).get(name):
        return "an example that no test run finds"
    return ""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_class_and_function_has_an_example(package: str) -> None:
    found = {value.__qualname__: missing(value) for value in _public(package)}
    assert found, f"{package} has no public names"
    assert not {name: what for name, what in found.items() if what}


class _Bare:
    """An object without an example."""


class _Words:
    """An object with an example in words.

    Example:
        See the README.
    """


class _Shown:
    """An object with an example.

    Example:
        >>> _Shown().two
        2
    """

    two = 2


class _Heir(_Shown):
    pass


def _lost():
    """A function whose example no finder reaches, since it is no member of its module.

    Example:
        >>> 1
        1
    """

    def inner():
        """An inner function.

        Example:
            >>> 2
            2
        """

    return inner


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (_Bare, "no section"),
        (_Words, "no line >>>"),
        (_Heir, "no section"),
        (_lost(), "no test run finds"),
    ],
)
def test_a_planted_object_without_an_example_is_seen(value: object, what: str) -> None:
    assert what in missing(value)


def test_an_object_with_an_example_is_left_alone() -> None:
    assert not missing(_Shown)
