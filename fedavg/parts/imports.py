"""Code of the user's own, found by import path: every failure is one short sentence that says where.

Importing a module runs it, so that configurations are taken only from where one would take code.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = [
    "add_folder",
    "called",
    "check_path",
    "function_path",
    "imported",
    "module_named",
    "said",
]


def add_folder(folder: Path) -> None:
    """Let modules that lie in a folder be imported, after all that are installed."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)


def said(error: Exception) -> str:
    """An exception in one line: its class, its first line, and where it was raised.

    Example:
        >>> try:
        ...     1 / 0
        ... except ZeroDivisionError as error:
        ...     said(error).split(" (")[0]
        'ZeroDivisionError: division by zero'
    """
    first = (str(error).strip().splitlines() or ["without a message"])[0]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {first}{where}"


def module_named(name: str, what: str) -> ModuleType:
    """A module, imported where that has not been done yet.

    Args:
        name: such as "package.module".
        what: whose module it is, for the message.

    Raises:
        ConfigError: it is not there, or raises while it is imported.
    """
    there = sys.modules.get(name)
    if there is not None:
        return there
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"{what} cannot be imported: there is no module {error.name!r}; put {error.name}.py beside "
                "the configuration, or install it"
            ) from error
        raise ConfigError(f"{what} cannot be imported: {said(error)}") from error
    except Exception as error:
        raise ConfigError(f"{what} cannot be imported: {said(error)}") from error


def check_path(path: str, what: str) -> None:
    """Refuse a text that cannot be an import path "package.module:name".

    Args:
        path: the text.
        what: whose path it is, for the message.

    Raises:
        ConfigError: no module, no name, or a character that neither can have.
    """
    module, colon, name = path.partition(":")
    parts = (*module.split("."), *name.split("."))
    if not colon or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{what} {path!r} is no import path such as 'package.module:name'")


def imported(path: str, what: str) -> object:
    """What an import path stands for; importing runs that module's code.

    Args:
        path: "package.module:name".
        what: whose path it is, for the message.

    Raises:
        ConfigError: a module that cannot be imported, or one that has no such name.

    Example:
        >>> imported("math:sqrt", "loss")(9.0)
        3.0
    """
    check_path(path, what)
    module, _, name = path.partition(":")
    found: object = module_named(module, f"{what} {path!r}")
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            file = getattr(sys.modules[module], "__file__", None)
            raise ConfigError(
                f"{what} {path!r} cannot be imported: {file or module} has no {part!r}"
            ) from error
    return found


def called(path: str, what: str) -> Callable[..., object]:
    """What an import path stands for, which has to be a function or a class.

    Raises:
        ConfigError: see `imported`; or what cannot be called.
    """
    found = imported(path, what)
    if not callable(found):
        raise ConfigError(f"{what} {path!r} is a {type(found).__name__}, not a function")
    return found


def function_path(function: object, what: str) -> str:
    """The import path of a function or class, so that a plan can name it.

    Args:
        function: defined at the level of a module; one of the program itself ("__main__") serves in this
            process alone.
        what: what it is for, for the message.

    Raises:
        ConfigError: a lambda, a function inside of a function, or what is no function.

    Example:
        >>> import math
        >>> function_path(math.sqrt, "loss")
        'math:sqrt'
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    path = f"{module}:{name}"
    if callable(function) and module and all(part.isidentifier() for part in name.split(".")):
        try:
            if imported(path, what) is function:
                return path
        except ConfigError:
            pass
    raise ConfigError(
        f"{what} {function!r:.80} has no import path: define it with def (or class) at the level of a "
        "module, so that a plan can name it"
    )
