"""A table between file and task: its rows, the choice of held-out rows, and the rows' owners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.data.dataset import CLASSES, NUMBERS, Dataset, strata_names
from fedavg.data.partitions.split import held_out, stratified
from fedavg.data.tables.columns.date import ISO, days_of
from fedavg.data.tables.columns.interface import Field
from fedavg.data.tables.preprocessing import fitted_preprocessor, public_preprocessor
from fedavg.data.tables.statistics import summed_statistics
from fedavg.data.task import Task, class_numbers
from fedavg.errors import DataError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.data.partitions.split import SplitName
    from fedavg.data.tables.encode import Rows
    from fedavg.data.tables.preprocessing import Preprocessor
    from fedavg.sums.interface import SecureSum

__all__ = ["TableSource", "divided", "of_classes", "parted_by_time", "shipped"]

_SAID = {
    "row": "by row, by a keyed hash of its content",
    "client": "whole clients, by a keyed hash of their names",
    "group": "whole groups, by a keyed hash of their names",
}


@dataclass(frozen=True, slots=True, eq=False)
class TableSource:
    """The rows of a table, divided into rows to train on and rows to score on.

    Args:
        name: name of the task.
        about: description, source and licence, for reports.
        rows: all rows.
        train, test: indices of the rows to train on, and of those to score on.
        split: description of how these were chosen.
        natural: whether a column names the owner of each row.
    """

    name: str
    about: tuple[str, str, str]
    rows: Rows
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    split: str
    natural: bool = False

    @property
    def strata(self) -> NDArray[np.int64]:
        """int64[m]: the stratum of each training row, by which partitions skew; for a number, its tenth."""
        return self.rows.kind.strata(self.rows.labels[self.train])

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The names of the strata, in the order of their numbers."""
        return strata_names(self.rows.labels[self.train], self.strata, self.rows.label_names)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was seen, chosen and lost while the table was read; it may reveal single rows."""
        return self.rows.notes

    @property
    def owners(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """int64[m], the owner of each training row, and the owners' names; None without owners.

        An owner without a row to train on is no client.
        """
        if not self.natural:
            return None
        codes, names = self.rows.owners
        present, owners = np.unique(codes[self.train], return_inverse=True)
        return owners.astype(np.int64), tuple(names[code] for code in present)

    @property
    def groups(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """int64[m], the group of each training row or −1, and all groups' names; None without groups."""
        if self.rows.groups is None:
            return None
        codes, names = self.rows.groups
        return codes[self.train], names

    def placed(
        self, pieces: Sequence[NDArray[np.int64]], statistics: SecureSum | None, *, seed: int
    ) -> tuple[Task, dict[int, Dataset]]:
        """Give every client its rows, and convert them to model inputs.

        Args:
            pieces: indices of each client's training rows.
            statistics: secure sum of the clients' statistics; None if only public bounds may scale the table.
            seed: public seed.

        Raises:
            PlanError: a property that has to be public is not declared, or there are too few clients to sum.
            DataError: a number to predict does not vary.
        """
        # Pieces are indices into the training rows; here they become indices into the table.
        mine = {client: self.train[piece] for client, piece in enumerate(pieces)}
        if statistics is None:
            prepared = public_preprocessor(self.rows.fields)
            centre, scale = self._public_scale()
        else:
            prepared, centre, scale = self._fitted(mine, statistics, seed)
        # Held-out rows are converted by the same numbers, which no held-out row has entered.
        inputs = prepared.apply(self.rows.values)
        labels = self.rows.labels
        if self.rows.kind == NUMBERS:
            labels = ((labels - centre) / scale).astype(np.float32)
        whole = Dataset(inputs, labels, self.rows.kind, self._weights())
        owners = self.owners
        task = Task(
            self.name,
            whole.subset(self.train),
            whole.subset(self.test),
            len(self.rows.label_names),
            *self.about,
            owners=None if owners is None else owners[0],
            owner_names=() if owners is None else owners[1],
            label_names=self.rows.label_names,
            feature_names=prepared.names,
            label_centre=tuple(map(float, centre)) if self.rows.kind == NUMBERS else (),
            label_scale=tuple(map(float, scale)) if self.rows.kind == NUMBERS else (),
            split=self.split,
            notes=(*self.rows.notes, *prepared.notes),
        )
        return task, {client: whole.subset(places) for client, places in mine.items()}

    def _weights(self) -> NDArray[np.float32] | None:
        weights = self.rows.weights
        return None if weights is None else weights.astype(np.float32)

    def _public_scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre and scale of numbers to predict, computed from their bounds."""
        pairs = self.rows.label_bounds
        unbounded = [
            name
            for name, pair in zip(self.rows.label_names, pairs, strict=False)
            if pair is None and self.rows.kind == NUMBERS
        ]
        if unbounded:
            raise PlanError(
                f"under differential privacy the bounds of what is predicted, {', '.join(unbounded)}, must "
                "be declared: give these columns bounds, or privacy.noise = 'none'"
            )
        low, high = np.array(pairs, np.float64).reshape(-1, 2).T
        # Labels are scaled to −1 … 1 by public bounds, as measurements are.
        return (low + high) / 2, (high - low) / 2

    def _fitted(
        self, mine: Mapping[int, NDArray[np.int64]], statistics: SecureSum, seed: int
    ) -> tuple[Preprocessor, NDArray[np.float64], NDArray[np.float64]]:
        """The preprocessor, and centre and scale of numbers to predict, computed from the same sums."""
        fields, values = self.rows.fields, self.rows.values
        predicted: list[Field] = []
        if self.rows.kind == NUMBERS:
            names = self.rows.label_names
            # Numbers to predict are standardised by the same sums, so they are fields for this purpose.
            predicted = [Field(f"target {name}", missing="drop") for name in names]
            values = np.concatenate([values, self.rows.labels], axis=1)
        summed = summed_statistics(
            {client: values[places] for client, places in mine.items()},
            (*fields, *predicted),
            statistics,
            seed=seed,
        )
        width = len(fields)
        centre, scale = summed.mean[width:], summed.deviation[width:]
        flat = [
            name
            for name, spread in zip(self.rows.label_names, scale, strict=False)
            if predicted and not np.isfinite(spread)
        ]
        if flat:
            raise DataError(
                f"{', '.join(flat)} does not vary over the clients' rows, so that nothing can be learnt"
            )
        return fitted_preprocessor(fields, summed), centre, scale


def divided(
    name: str,
    about: tuple[str, str, str],
    rows: Rows,
    *,
    natural: bool,
    split: SplitName,
    fraction: float,
    seed: int,
) -> TableSource:
    """Hold out rows to score on, by a keyed hash of each row, client or group alone.

    Args:
        name: name of the task.
        about: its description, source and licence.
        rows: rows of the table.
        natural: whether a column names the owner of each row.
        split: unit that is held out: rows, clients or groups.
        fraction: expected share of the held-out units.
        seed: public seed.

    Raises:
        DataError: no column names the clients or groups, or no row is left to train on or to score on.
    """
    owners, contents = rows.owners, rows.contents
    if split == "group":
        if rows.groups is None:
            raise DataError(
                "data.split = 'group' holds out whole groups, and no column names the groups: give "
                '[data] group = "COLUMN"'
            )
        owners = _with_own(rows.groups)
    if split == "client" and not natural:
        raise DataError(
            "data.split = 'client' holds out whole clients, and no column names the clients: give "
            '[data] client = "COLUMN"'
        )
    # A whole client or group is chosen by its name alone, so that content does not matter.
    held = held_out(contents if split == "row" else None, owners, fraction=fraction, seed=seed)
    places = np.flatnonzero(~held), np.flatnonzero(held)
    return TableSource(name, about, rows, *places, _SAID[split], natural)


def parted_by_time(
    name: str, about: tuple[str, str, str], rows: Rows, *, natural: bool, first: str
) -> TableSource:
    """Hold out the rows of a day and later; each row's side follows from its own date and a public day.

    Rows without a date are left out.

    Args:
        name: name of the task.
        about: its description, source and licence.
        rows: rows of the table, with dates.
        natural: whether a column names the owner of each row.
        first: the first day that is held out, as an ISO date, or moment.

    Raises:
        DataError: `first` is no date, or no row is left to train on or to score on.
    """
    day = days_of(first, ISO)
    moments = np.zeros(len(rows)) if rows.moments is None else rows.moments
    if np.isnan(day):
        raise DataError(f"data.test_from = {first!r} is no date such as '2026-01-31'")
    # Comparisons with NaN are false, so that rows without a date are on neither side.
    earlier, later = np.flatnonzero(moments < day), np.flatnonzero(moments >= day)
    if not len(earlier) or not len(later):
        side, use = ("on that day or later", "score") if len(earlier) else ("before it", "train")
        raise DataError(
            f"data.test_from = {first!r}: no row lies {side}, so that none is left to {use} on"
        )
    dateless = int(np.isnan(moments).sum())
    if dateless:
        said = f"{dateless:,} of {len(rows):,} rows have no date, and are neither trained nor scored on"
        rows = replace(rows, notes=(*rows.notes, said))
    return TableSource(name, about, rows, earlier, later, f"rows from {first} on", natural)


def shipped(
    name: str, about: tuple[str, str, str], rows: Rows, *, fraction: float, seed: int
) -> TableSource:
    """Divide a built-in table of classes, whose rows are all public, by a fixed share of each class.

    Raises:
        DataError: no row is left to train on or to score on.
    """
    train, test = stratified(rows.labels, fraction=fraction, seed=seed, name=name)
    return TableSource(name, about, rows, train, test, "a fixed share of each class")


def _with_own(
    groups: tuple[NDArray[np.int64], tuple[str, ...]],
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Give the rows without a group one group, so that they stay together."""
    codes, names = groups
    return np.where(codes < 0, len(names), codes), (*names, "")


def of_classes(rows: Rows, classes: Sequence[int | str]) -> Rows:
    """The rows of some classes, numbered anew in the given order.

    Raises:
        DataError: numbers are predicted, or no row has one of the classes.
    """
    if rows.kind != CLASSES:
        raise DataError(
            f"data.classes chooses among classes, but {rows.kind.name} are predicted: leave it out"
        )
    numbers = class_numbers(classes, rows.label_names)
    kept = np.isin(rows.labels, numbers)
    # A class without rows would be an output that nothing trains.
    absent = set(numbers) - {int(label) for label in np.unique(rows.labels)}
    if absent:
        raise DataError(f"data.classes names {sorted(absent)}, of which there are no rows")
    number = np.zeros(len(rows.label_names), np.int64)
    number[list(numbers)] = np.arange(len(numbers))

    def part(array: Any) -> Any:  # noqa: ANN401 - any array of the rows
        return None if array is None else array[kept]

    groups = rows.groups
    return replace(
        rows,
        values=rows.values[kept],
        labels=number[rows.labels[kept]],
        label_names=tuple(rows.label_names[label] for label in numbers),
        owners=(rows.owners[0][kept], rows.owners[1]),
        groups=None if groups is None else (groups[0][kept], groups[1]),
        weights=part(rows.weights),
        moments=part(rows.moments),
        contents=rows.contents[kept],
    )
