"""Functions that all commands share: printing of results, and of errors in one line.

A console is created when a command runs, so it has the current width of the terminal.
"""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from dp import DpError
from fedavg.errors import FedAvgError
from he import HeError
from secagg import SecAggError

__all__ = ["ERRORS", "console", "errors", "fail"]

ERRORS = (FedAvgError, SecAggError, HeError, DpError)
"""Errors that the user can correct: a command prints their message and exits with status 2."""


def console() -> Console:
    """The console for results."""
    return Console()


def errors() -> Console:
    """The console for errors and warnings."""
    return Console(stderr=True)


def fail(error: Exception) -> NoReturn:
    """Print an error's message, and exit with status 2.

    Args:
        error: an instance of one of `ERRORS`.
    """
    # Messages may contain brackets, which must not be read as markup.
    errors().print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
    raise typer.Exit(2) from error
