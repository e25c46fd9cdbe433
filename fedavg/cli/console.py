"""What all commands share: the errors that they print in a line, and where they print.

A console is made when a command runs, so that it has the width of the terminal at that time.
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
"""Errors that name what to change: a command prints their message and ends with status 2."""


def console() -> Console:
    """Where results go."""
    return Console()


def errors() -> Console:
    """Where errors and warnings go."""
    return Console(stderr=True)


def fail(error: Exception) -> NoReturn:
    """Print an error's message, and end the command with status 2.

    Args:
        error: one of `ERRORS`.
    """
    errors().print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
    raise typer.Exit(2) from error
