"""Options that every suite's command has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_common"]


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add --quick, --full, --out and --check to a command's own options."""
    sizes = parser.add_mutually_exclusive_group()
    for size, text in (
        ("quick", "small sizes: under two minutes"),
        ("full", "the largest cohorts as well"),
    ):
        sizes.add_argument(f"--{size}", dest="size", action="store_const", const=size, help=text)
    parser.set_defaults(size="default")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench-results"),
        metavar="FOLDER",
        help="where SUITE.json and SUITE.html go (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
