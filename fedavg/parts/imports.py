"""The user's own code, found by import path; every failure becomes one short sentence with its place.

Importing a module runs it.  Accept configurations only from sources from which you would accept code.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from fedavg.errors import ConfigError, DataError, FedAvgError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import ModuleType, TracebackType

__all__ = [
    "add_folder",
    "blamed",
    "called",
    "check_path",
    "function_path",
    "imported",
    "module_named",
    "said",
]


_LIBRARIES = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
)


def add_folder(folder: Path) -> None:
    """Make the modules in a folder importable, after all installed ones."""
    place = str(folder.resolve())
    if place not in sys.path:
        # The folder comes last, so that a file in it cannot stand in for an installed module.
        sys.path.append(place)


def said(error: Exception) -> str:
    """An exception in one line: its class, its first line, and the place where it was raised.

    The place is the last line of the user's own code that ran, and only if none did, one of a library.

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
    known = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    # The user's own line helps; one inside of a library does not.
    own = [frame for frame in known if not frame.filename.startswith(_LIBRARIES)] or known
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {first}{where}"


def blamed(
    who: Callable[[], str], hint: Callable[[Exception], str] = lambda _: ""
) -> AbstractContextManager[None]:
    """Turn errors in a user's code into a `DataError` that names the code; the error is its cause.

    Args:
        who: names the part that runs, such as "the training step". It is called only when there is an error,
            because a training step enters several of these contexts and must not pay for their words.
        hint: the remedy for an error, which the message appends; "" where none is known.

    Raises:
        DataError: in place of any error that this package did not raise itself.

    Example:
        >>> from fedavg.errors import DataError
        >>> try:
        ...     with blamed(lambda: "the loss"):
        ...         1 / 0
        ... except DataError as error:
        ...     str(error).split(" (")[0]
        'the loss raised ZeroDivisionError: division by zero'
    """
    return _Blamed(who, hint)


class _Blamed:
    """See `blamed`. A class, since a generator would cost each training step several times as much."""

    __slots__ = ("_hint", "_who")

    def __init__(self, who: Callable[[], str], hint: Callable[[Exception], str]) -> None:
        self._who, self._hint = who, hint

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An error of this package already says what is wrong.
        if isinstance(error, Exception) and not isinstance(error, FedAvgError):
            raise DataError(f"{self._who()} raised {said(error)}{self._hint(error)}") from error


def module_named(name: str, what: str) -> ModuleType:
    """Return a module, imported if necessary.

    Args:
        name: name of the module, such as "package.module".
        what: owner of the module, for the message.

    Raises:
        ConfigError: the module does not exist, or raises while it is imported.
    """
    there = sys.modules.get(name)
    if there is not None:
        return there
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only a missing module of the path itself is a wrong path; one that it imports is another fault.
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
        what: owner of the path, for the message.

    Raises:
        ConfigError: the module or the name is missing, or has a character that is not allowed.
    """
    module, colon, name = path.partition(":")
    parts = (*module.split("."), *name.split("."))
    if not colon or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{what} {path!r} is no import path such as 'package.module:name'")


def imported(path: str, what: str) -> object:
    """Return the object that an import path names; importing runs its module's code.

    Args:
        path: "package.module:name".
        what: owner of the path, for the message.

    Raises:
        ConfigError: the module cannot be imported, or has no such name.

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
    """Return the function or class that an import path names.

    Raises:
        ConfigError: see `imported`; also, the object cannot be called.
    """
    found = imported(path, what)
    if not callable(found):
        raise ConfigError(f"{what} {path!r} is a {type(found).__name__}, not a function")
    return found


def function_path(function: object, what: str) -> str:
    """The import path of a function or class, so that a plan can name it.

    Args:
        function: a function or class defined at the level of a module. One that the program itself defines
            ("__main__") works in this process only.
        what: purpose of the function, for the message.

    Raises:
        ConfigError: the object is a lambda, a nested function, or no function.

    Example:
        >>> import math
        >>> function_path(math.sqrt, "loss")
        'math:sqrt'
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    path = f"{module}:{name}"
    if callable(function) and module and all(part.isidentifier() for part in name.split(".")):
        try:
            # The path must lead back to this object: a function inside another one has a path that does not.
            if imported(path, what) is function:
                return path
        except ConfigError:
            pass
    raise ConfigError(
        f"{what} {function!r:.80} has no import path: define it with def (or class) at the level of a "
        "module, so that a plan can name it"
    )
