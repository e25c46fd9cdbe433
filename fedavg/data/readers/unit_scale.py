"""Scaling of arrays to unit scale, by declared bounds or by statistics that the clients sum securely.

Rows of different clients are never pooled.  Tables have their own preprocessing
(`fedavg.data.tables.preprocessing`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.dataset import NUMBERS, Dataset
from fedavg.data.tables.columns.interface import Field
from fedavg.data.tables.statistics import summed_statistics
from fedavg.errors import ConfigError, DataError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.data.task import Task
    from fedavg.sums.interface import SecureSum

__all__ = ["UnitScale", "check_bounds"]

_FAR = 20.0  # features with a larger absolute value are not at unit scale
_MOST_COLUMNS = 512  # largest number of features whose statistics are summed
_SAID = {"x": "features", "y": "numbers to predict"}


def check_bounds(bounds: Mapping[str, tuple[float, float]]) -> None:
    """Refuse bounds that are no range, or of anything other than features and labels.

    Raises:
        ConfigError: a name is not "x" or "y", or bounds are no range.
    """
    for name, (low, high) in bounds.items():
        if name not in _SAID:
            raise ConfigError(
                f"arrays have no data.bounds.{name}: the bounds of all features are called x, and those of "
                "all numbers to predict y"
            )
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ConfigError(
                f"data.bounds.{name} must be finite, the lower one first, not [{low:g}, {high:g}]"
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """A scaling: the value that becomes 0, the step that becomes 1, and the range for clamping."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    limits: tuple[float, float] | None = None

    def of(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        # Differences of large numbers lose digits in float32.
        held = values.astype(np.float64)
        if self.limits is not None:
            held = np.clip(held, *self.limits)
        return ((held - self.centre) / self.scale).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class UnitScale:
    """How the user's own arrays are brought to unit scale.

    Numbers to predict, and two-dimensional features of a floating-point type that are far from unit scale,
    are scaled by the mean and deviation of each column, which the clients sum securely. Declared bounds take
    precedence, and values are clamped to them; under noise only declared bounds are used. All other arrays
    keep their values.

    Args:
        floats: whether the file's features are of a floating-point type.
        bounds: declared, public bounds of "x" (all features) and "y" (all numbers to predict).
    """

    floats: bool
    bounds: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, "tuple[float, float]"]
    )

    def applied(
        self,
        task: Task,
        pieces: Sequence[NDArray[np.int64]],
        statistics: SecureSum | None,
        *,
        seed: int,
    ) -> Task:
        """The task at unit scale, with notes about the scaling.

        Args:
            task: the task as read from the file.
            pieces: indices of each client's training examples.
            statistics: secure sum of the clients' statistics; None under noise.
            seed: public seed.

        Raises:
            ConfigError: bounds "y" are given, but no numbers are predicted.
            PlanError: numbers to predict have no bounds under noise.
            DataError: numbers to predict do not vary.
        """
        numbers = task.train.kind == NUMBERS
        if "y" in self.bounds and not numbers:
            raise ConfigError(
                f"data.bounds.y are bounds of numbers to predict, and {task.train.kind.name} are predicted: "
                "leave them out"
            )
        # A scale taken from the labels would be a statistic of the rows, which no budget counts.
        if numbers and "y" not in self.bounds and statistics is None:
            raise PlanError(
                "under differential privacy the bounds of what is predicted must be declared: give "
                "[data] bounds = { y = [low, high] }, or privacy.noise = 'none'"
            )
        notes: list[str] = []
        columns = {"x": task.train.features, "y": task.train.labels}
        units = {
            name: _declared(columns[name], self.bounds[name], name, notes) for name in self.bounds
        }
        wanted = [
            name
            for name, needed in (("x", self._sums_features(columns["x"])), ("y", numbers))
            if needed and name not in units
        ]
        if statistics is not None and wanted:
            held = {name: columns[name] for name in wanted}
            units |= _summed(held, pieces, statistics, seed, notes)
        reached = float(np.abs(columns["x"]).max())
        if reached > _FAR and "x" not in units:
            notes.append(
                f"features reach {reached:.4g} and are taken as they are, where training expects about 1: "
                "[data] bounds = { x = [low, high] } scales them"
            )
        return _at_unit_scale(task, units.get("x"), units.get("y"), tuple(notes))

    def _sums_features(self, features: NDArray[np.float32]) -> bool:
        # Images and very wide arrays are left as they are: their sums would be long.
        flat = self.floats and features.ndim == 2 and features.shape[1] <= _MOST_COLUMNS
        return flat and float(np.abs(features).max()) > _FAR


def _declared(
    values: NDArray[np.float32], limits: tuple[float, float], name: str, notes: list[str]
) -> _Unit:
    low, high = limits
    beyond = int(np.count_nonzero((values < low) | (values > high)))
    notes.append(
        f"{_SAID[name]} between {low:g} and {high:g} become numbers between -1 and 1"
        + (f"; {beyond:,} of {values.size:,} lie beyond and are clamped" if beyond else "")
    )
    return _Unit(np.array((low + high) / 2), np.array((high - low) / 2), limits)


def _summed(
    held: Mapping[str, NDArray[np.float32]],
    pieces: Sequence[NDArray[np.int64]],
    statistics: SecureSum,
    seed: int,
    notes: list[str],
) -> dict[str, _Unit]:
    """Scale by the mean and deviation of each column, computed from sums over the clients."""
    whole = np.concatenate(list(held.values()), axis=1).astype(np.float64)
    names = [f"{name}{at}" for name, part in held.items() for at in range(part.shape[1])]
    fields = [Field(name, missing="drop") for name in names]
    mine = {client: whole[piece] for client, piece in enumerate(pieces)}
    found = summed_statistics(mine, fields, statistics, seed=seed)
    units: dict[str, _Unit] = {}
    begin = 0
    for name, part in held.items():
        here = slice(begin, begin + part.shape[1])
        begin = here.stop
        centre, scale = found.mean[here], found.deviation[here]
        # A column that does not vary has no deviation, and a division would give infinity.
        flat = ~np.isfinite(scale)
        if name == "y" and bool(flat.any()):
            raise DataError(
                "a number to predict does not vary over the clients' rows, so that nothing can be learnt"
            )
        units[name] = _Unit(centre, np.where(flat, 1.0, scale))
        notes.append(
            f"{_SAID[name]} of up to {np.abs(part).max():.4g} are scaled column by column, by mean and "
            f"deviation over {found.clients} clients, which they sum securely"
        )
    return units


def _at_unit_scale(task: Task, x: _Unit | None, y: _Unit | None, notes: tuple[str, ...]) -> Task:
    def of(data: Dataset) -> Dataset:
        features = data.features if x is None else x.of(data.features)
        labels = data.labels if y is None else y.of(data.labels)
        return Dataset(features, labels, data.target, data.weights)

    width = task.outputs
    return replace(
        task,
        # Both parts are scaled by the same numbers, and no held-out row enters them.
        train=of(task.train),
        test=of(task.test),
        label_centre=() if y is None else tuple(np.broadcast_to(y.centre, width).tolist()),
        label_scale=() if y is None else tuple(np.broadcast_to(y.scale, width).tolist()),
        notes=(*task.notes, *notes),
    )
