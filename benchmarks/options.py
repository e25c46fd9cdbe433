"""Options that every suite's own command has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_common"]


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add --quick, --full, --check and --out to a suite's own options."""
    sizes = parser.add_mutually_exclusive_group()
    for size in ("quick", "full"):
        sizes.add_argument(f"--{size}", dest="size", action="store_const", const=size)
    parser.set_defaults(size="default")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), metavar="FOLDER")
