"""Functions that all commands share: printing of results, and of errors in one line.

A console is created when a command runs, so it has the current width of the terminal.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from dp import DpError
    from fedavg.errors import FedAvgError
    from he import HeError
    from secagg import SecAggError

__all__ = ["console", "correctable", "errors", "fail", "one_or_several", "say"]


def correctable() -> tuple[
    type[FedAvgError], type[SecAggError], type[HeError], type[DpError], type[OSError]
]:
    """The errors that the user can correct: a command prints their message and exits with status 2.

    Among them are those of the system, such as a full disk.

    An ``except`` clause calls it only when something was raised, so help and lists load none of the packages.

    Example:
        >>> from fedavg.errors import ConfigError
        >>> issubclass(ConfigError, correctable())
        True
    """
    from dp import DpError  # noqa: PLC0415 - the packages take longer to load than a list to print
    from fedavg.errors import FedAvgError  # noqa: PLC0415 - as above
    from he import HeError  # noqa: PLC0415 - as above
    from secagg import SecAggError  # noqa: PLC0415 - as above

    return FedAvgError, SecAggError, HeError, DpError, OSError


# Characters that a terminal may obey: C0 but for tabs and ends of lines, DEL, and C1.
_COMMANDS = dict.fromkeys(
    {*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}, "\N{REPLACEMENT CHARACTER}"
)


class _Literal(Console):
    """Prints text as it is: paths, headings and labels are data, and neither markup nor commands."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of what is printed, without characters that a terminal would obey.

        Characters that the output's encoding lacks become "?", as do bytes of a path that are no text: a
        heading in another alphabet must not end a run.
        """
        for part in super().render(renderable, options):
            # Segments with `control` are rich's own, such as the moves of a progress bar.
            clean = part.text if part.control else part.text.translate(_COMMANDS)
            known = clean.encode(self.encoding, "replace").decode(self.encoding)
            yield Segment(known, part.style, part.control)


def console() -> Console:
    """The console for results.

    Example:
        >>> console().print("budget[/b].json :smile:")
        budget[/b].json :smile:
    """
    return _Literal()


def errors() -> Console:
    """The console for errors and warnings."""
    return _Literal(stderr=True)


def one_or_several(names: list[str] | None) -> str | tuple[str, ...]:
    """The value of `target` in a configuration, of an option that may be repeated.

    Args:
        names: the option's values, in the order of the command line; None without the option.

    Returns:
        "" without a name, the name itself of one, and all of several.

    Example:
        >>> one_or_several(["price"]), one_or_several(["price", "rent"]), one_or_several(None)
        ('price', ('price', 'rent'), '')
    """
    match names or ():
        case []:
            return ""
        case [name]:
            return name
        case several:
            return tuple(several)


def fail(error: Exception) -> NoReturn:
    """Print an error's message, and exit with status 2.

    Args:
        error: an instance of one of `correctable()`.
    """
    # Nobody reads the output any more, as with "| head": the command ends without a word.
    if isinstance(error, BrokenPipeError):
        raise error
    say(error)
    raise typer.Exit(2) from error


def say(error: Exception) -> None:
    """Print an error's message in one line.

    Args:
        error: an instance of one of `correctable()`.
    """
    errors().print(Text.assemble(("Error: ", "bold red"), _said(error)), soft_wrap=True)


def _said(error: Exception) -> str:
    """The message of an error, without the number that the system gives it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"cannot read or write {os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
