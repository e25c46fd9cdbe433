"""A silo's private table, and the draws from it: one coin for each unit, in slots of a public number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from dp import random_uniform
from dp.checks import is_a
from fedavg.data.dataset import array_of
from fedavg.errors import DataError, LocalProtocolError, PlanError
from fedavg.records.clipped.gradients import Units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.losses.interface import Loss
    from fedavg.records.privacy import RecordPrivacy

__all__ = ["Silo", "UnitTable"]

_FEWEST = 8  # products of fewer rows are computed by other kernels, which round in another way


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Silo:
    """One silo's records, and whose each of them is.

    Args:
        records: the silo's own examples.
        person: [n], the person of each row, as integers or text, in an array, a column of a data frame or a
            list; None if the rows name nobody.

    Raises:
        DataError: there is not one person for each row; the message has the first row without one.

    Example:
        >>> from fedavg import Dataset
        >>> visits = Dataset(np.eye(4), np.array([0, 1, 1, 0]))
        >>> Silo(visits, person=np.array(["ada", "ada", "bob", "eve"]))
        Silo(<redacted>)
    """

    records: Dataset
    person: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.person is not None:
            object.__setattr__(self, "person", _named(self.person, len(self.records)))

    def __repr__(self) -> str:
        return "Silo(<redacted>)"


def _named(person: object, rows: int) -> NDArray[Any]:
    """The person of each row as integers or text; messages have places and types, and no names."""
    wanted = "person must be one integer or text for each row"
    if is_a(person, str | bytes):
        raise DataError(f"{wanted}: give the column itself, such as table['patient'], not its name")
    own = is_a(person, np.ndarray)
    # Without the type numpy would turn a gap in a list of texts into the text "nan".
    named = array_of(person, "person") if own else np.asarray(person, dtype=object)
    if named.ndim != 1 or len(named) != rows:
        raise DataError(
            f"{wanted}: there are {rows:,} rows, and person has the shape {list(named.shape)}"
        )
    if named.dtype.kind in "iuUS":
        return named
    gap = next((row for row, value in enumerate(named) if _is_gap(value)), None)
    if gap is not None:
        raise DataError(
            f"{wanted}, and row {gap} (counted from 0) has none: leave out rows of unknown persons"
        )
    texts = np.array([is_a(value, str) for value in named])
    whole = np.array([is_a(value, int | np.integer) and not is_a(value, bool) for value in named])
    if texts.all() or whole.all():
        return named.astype(str)
    other = int(np.argmin(texts if texts.any() else whole))
    raise DataError(
        f"{wanted}, and row {other} (counted from 0) is of type {type(named[other]).__name__}: write all of "
        "them as text, or number the persons"
    )


def _is_gap(value: object) -> bool:
    """Whether a cell is None, NaN, or a missing value of pandas."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124 - only NaN differs from itself
    except TypeError:  # pandas' NA has no truth
        return True


class UnitTable:
    """The units of one silo, from which each step draws.

    Args:
        silo: records and persons.
        privacy: unit, rate, and the public bounds.
        loss: gives the weights of rows by their labels.

    Raises:
        PlanError: the silo's table does not name the unit that the plan protects.
        DataError: the silo holds more units than the plan declares.
    """

    __slots__ = ("_count", "_features", "_kept", "_labels", "_privacy", "_rows", "_weights")

    def __init__(self, silo: Silo, privacy: RecordPrivacy, loss: Loss) -> None:
        self._privacy = privacy
        self._rows = _rows_of_units(silo, privacy)
        self._count = len(self._rows)
        if self._count > privacy.max_units:
            raise DataError(
                f"a silo holds more units than the plan declares (max_units={privacy.max_units}): declare a "
                "larger public bound"
            )
        records = silo.records
        self._features = torch.from_numpy(records.features)
        self._labels = torch.from_numpy(records.labels)
        weights = np.ones(len(records), np.float32)
        for given in (records.weights, loss.label_weights(records.labels)):
            if given is not None:
                weights = weights * given
        self._weights = weights
        self._kept = self._features[:0]

    def __repr__(self) -> str:
        return "UnitTable(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise LocalProtocolError("a silo's table stays in the silo: it cannot be pickled or copied")

    def draw(self, most: int, batch: int) -> Iterator[Units]:
        """Draw units by coin, and yield them in micro-batches of one shape.

        The number of micro-batches is that of `most` units for every draw, if the plan pads. Slots without a
        drawn unit hold units that were not drawn, whose gradients are computed and not counted. Each
        micro-batch overwrites the features of the one before.

        Args:
            most: b_max; of a larger draw, as many units as fit are kept, chosen evenly.
            batch: the largest number of units in a micro-batch.
        """
        slots, size = _slots(most, batch)
        # Coins are tossed for the declared number of units, so that their time does not show the real one.
        coins = random_uniform(self._privacy.max_units)[: self._count]
        # Those with the smallest coins: all drawn units come first, at every rate.
        order = np.argsort(coins, kind="stable")[:most]
        drawn = coins[order] < self._privacy.rate
        if not self._privacy.padded:
            slots, size = _slots(max(1, int(drawn.sum())), batch, _FEWEST)
        chosen = np.resize(order, slots)  # repeats units where the silo has fewer than slots
        counts = np.zeros(slots, bool)
        counts[: min(len(drawn), slots)] = drawn[:slots]
        for start in range(0, slots, size):
            part = slice(start, start + size)
            yield self._units(chosen[part], counts[part])

    def _units(self, chosen: NDArray[np.int64], drawn: NDArray[np.bool_]) -> Units:
        rows = self._rows[chosen]
        there = rows >= 0
        weights = np.where(there, self._weights[rows], np.float32(0))
        if self._privacy.combine == "mean":
            weights = weights / there.sum(1, keepdims=True).astype(np.float32)
        index = torch.from_numpy(np.maximum(rows, 0))
        return Units(
            self._features_of(index),
            self._labels[index],
            torch.from_numpy(weights.astype(np.float32)),
            torch.from_numpy(drawn),
        )

    def _features_of(self, index: torch.Tensor) -> torch.Tensor:
        """The features of some rows, in memory that is used again: first touches cost most of a copy."""
        if len(self._kept) < index.numel():
            self._kept = self._features.new_empty((index.numel(), *self._features.shape[1:]))
        kept = self._kept[: index.numel()]
        torch.index_select(self._features, 0, index.flatten(), out=kept)
        return kept.view(*index.shape, *self._features.shape[1:])


def _slots(units: int, batch: int, multiple: int = 1) -> tuple[int, int]:
    """The number of slots for some units, and how many of them are in each micro-batch.

    Args:
        units: number of units, at least 1.
        batch: the largest number of slots in a micro-batch.
        multiple: the number of slots in a micro-batch is a multiple of this, if it is not `batch`.
    """
    parts = -(-units // batch)
    # Parts of one size: to fill the last one of the largest size would compute up to twice as many units.
    even = -(-units // parts)
    size = min(batch, -(-even // multiple) * multiple)
    return parts * size, size


def _rows_of_units(silo: Silo, privacy: RecordPrivacy) -> NDArray[np.int64]:
    """The rows of each unit, int64[units, rows]; −1 where a unit has fewer."""
    if not privacy.by_person:
        if silo.person is not None:
            raise PlanError(
                "unit='record' with a column of persons: a person of twenty rows would lose many times the "
                "printed ε. Take unit='person', or leave the column out to state that every row is another "
                "person"
            )
        return np.arange(len(silo.records), dtype=np.int64)[:, None]
    if silo.person is None:
        raise PlanError(
            "unit='person' needs the person of each row: give every silo a column of persons, or take "
            "unit='record' to state that every row is another person"
        )
    _, owner = np.unique(silo.person, return_inverse=True)
    # A person's rows beyond the largest number are left out; which ones, chance decides once.
    shuffled = np.argsort(random_uniform(len(owner)), kind="stable")
    order = shuffled[np.argsort(owner[shuffled], kind="stable")]
    sizes = np.bincount(owner)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    rows = np.full((len(sizes), privacy.rows), -1, np.int64)
    fits = place < privacy.rows
    rows[owner[order][fits], place[fits]] = order[fits]
    return rows
