"""What the terminal says of a run's silos before it begins; it is exact, and for the holder of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg.parts.nearest import alike
from fedavg.plan.deltas import too_large_delta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fedavg.records.privacy import RecordPrivacy
    from fedavg.records.table import Silo
    from fedavg.runs.records.settings import RecordRun

__all__ = ["about_names", "about_people", "cautions"]


def about_people(config: RecordRun, silos: Mapping[int, Silo]) -> tuple[str, ...]:
    """Rows of persons that are left out, and persons who are both trained and scored on.

    Args:
        config: the configuration.
        silos: the silos by number.

    Example:
        >>> from fedavg import Dataset
        >>> from fedavg.records.table import Silo
        >>> from fedavg.runs.records.settings import RecordRun, RecordsTable
        >>> visits = Dataset(np.eye(3), np.array([0, 1, 1]))
        >>> config = RecordRun(records=RecordsTable(unit="person", rows=1))
        >>> about_people(config, {0: Silo(visits, np.array(["ada", "ada", "bob"]))})[0].partition(": ")[0]
        '1 of 3 rows to train on is left out'
    """
    most = config.records.rows
    sizes = np.concatenate([_sizes(silo) for silo in silos.values()])
    if not len(sizes):  # the unit is the row, or the table names nobody
        return ()
    beyond, rows = int(np.maximum(sizes - most, 0).sum()), int(sizes.sum())
    found: list[str] = []
    if beyond:
        is_are, row = "is" if beyond == 1 else "are", "row" if most == 1 else "rows"
        found.append(
            f"{beyond:,} of {rows:,} rows to train on {is_are} left out: at most {most} {row} of each person "
            f"in a silo may enter (records.rows = {most}), chosen by chance once for the whole run. A larger "
            "number takes more computing time, and changes no epsilon"
        )
    # A split by time scores later rows of known persons on purpose.
    if sizes.max() > 1 and config.data.split == "row" and not config.data.test_from:
        found.append(
            "rows of the same persons are trained on and scored on, so that the figures may be better than "
            'for new persons: [data] split = "client" holds out whole persons'
        )
    return tuple(found)


def _sizes(silo: Silo) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64[persons], the number of rows of each; empty where rows name nobody."""
    if silo.person is None:
        return np.zeros(0, np.int64)
    return np.unique(silo.person, return_counts=True)[1].astype(np.int64)


def about_names(
    column: str, names: Sequence[str], present: Iterable[str], nameless: int
) -> tuple[str, ...]:
    """Values of the column of silos that make no silo, or one under nearly another's name.

    Args:
        column: heading of the column of silos.
        names: all its values.
        present: those that have rows to train on.
        nameless: number of rows to train on without a value.

    Example:
        >>> about_names("site", ["A", "B", "a"], ["A", "a"], 0)[1]
        "'A', 'a' differ in upper and lower case or blanks only, and are separate silos"
    """
    held = set(present)
    absent = [name for name in names if name not in held]
    found: list[str] = []
    if nameless:
        found.append(
            f"{nameless:,} rows to train on have no value in {column!r}: they are left out"
        )
    if absent:
        none = ", ".join(map(repr, absent[:5])) + (", …" if len(absent) > 5 else "")
        found.append(
            f"{none}: no row to train on, since all are held out or left out, so that this is no silo of the "
            f"run, which has {len(held)}"
        )
    found += [
        f"{', '.join(map(repr, same))} differ in upper and lower case or blanks only, and are separate silos"
        for same in alike(names)
    ]
    return tuple(found)


def cautions(privacy: RecordPrivacy) -> tuple[str, ...]:
    """What a plan of records promises too little by; it follows from public constants.

    Example:
        >>> from fedavg import RecordPrivacy
        >>> cautions(RecordPrivacy(unit="record", rate=0.1, clip=1.0, max_units=500, epsilon=3.0))
        ()
    """
    what = f"{privacy.unit}s of a silo (max_units)"
    loose = too_large_delta(privacy.delta, privacy.max_units, what)
    return (loose,) if loose else ()
