"""Conversion of a table's numbers to model inputs, by statistics that the clients summed or by public bounds.

Missing cells are filled, measurements are scaled, and categories become indicators.  All clients use the same
conversion, and each applies it to its own rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.data.tables.columns.policies import POLICIES, FieldFacts
from fedavg.errors import DataError, PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Field
    from fedavg.data.tables.statistics import Statistics

__all__ = ["Preprocessor", "fitted_preprocessor", "public_preprocessor"]


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessor:
    """The conversion of each field, which is the same at every client.

    Args:
        fields: descriptions of the columns of a table's values.
        fill: float64[f], the value that replaces a missing cell; NaN for no category.
        centre, scale: float64[f]; a measurement x becomes (x − centre) ÷ scale, and 0 if the scale is
        infinite.
        shown: for each field, the codes of the categories that have an input; () for a measurement.
        notes: sentences about the filled cells and their values.

    Raises:
        DataError: there are no inputs, the arrays differ in length, or a scale is not positive.
    """

    fields: tuple[Field, ...]
    fill: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    shown: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = (self.fill, self.centre, self.scale, self.shown)
        if not self.fields or any(len(part) != len(self.fields) for part in parts):
            raise DataError("a preprocessor needs one entry of every kind for each field")
        # A scale of zero would give infinite inputs.
        if not bool(np.all(self.scale > 0)):
            raise DataError("a preprocessor's scales must be positive")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the model's inputs, in order."""
        found: list[str] = []
        for field, shown in zip(self.fields, self.shown, strict=True):
            found += [field.name] if field.measured else []
            found += [f"{field.name} = {field.categories[code]}" for code in shown]
            found += [f"{field.name} missing"] if field.indicator else []
        return tuple(found)

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Convert rows to model inputs; each client does this with its own rows.

        Args:
            values: float64[n, f], NaN where missing.

        Returns:
            float32[n, w], one column for each of `names`.

        Raises:
            DataError: the rows do not have these fields.
        """
        if values.shape[1:] != (len(self.fields),):
            raise DataError(
                f"rows of shape {values.shape[1:]} come from another table than this preprocessor's "
                f"{len(self.fields)} fields"
            )
        gone = np.isnan(values)
        filled = np.where(gone, self.fill, values)
        scaled = (filled - self.centre) / self.scale
        inputs: list[NDArray[np.generic]] = []
        for at, (field, shown) in enumerate(zip(self.fields, self.shown, strict=True)):
            inputs += [scaled[:, at]] if field.measured else []
            inputs += [filled[:, at] == code for code in shown]
            inputs += [gone[:, at]] if field.indicator else []
        return np.stack(inputs, axis=1).astype(np.float32)


def public_preprocessor(fields: Sequence[Field]) -> Preprocessor:
    """Scale measurements from their public bounds to [−1, 1], and indicate every public category.

    No row is read, so no privacy budget is charged.

    Args:
        fields: measurements with bounds, and policies that need no statistics.

    Raises:
        PlanError: a measurement has no bounds, or a policy needs statistics; the message names the fields.

    Example:
        >>> from fedavg.data.tables.columns.interface import Field
        >>> sex = Field("sex", categories=("F", "M", "other"), named=2)
        >>> public = public_preprocessor([Field("age", bounds=(0.0, 100.0)), sex])
        >>> public.apply(np.array([[75.0, 1], [np.nan, np.nan]])).tolist()
        [[0.5, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    unbounded = [field.name for field in fields if field.measured and field.bounds is None]
    if unbounded:
        raise PlanError(
            f"under differential privacy the scale of {', '.join(unbounded)} must be public: means and "
            "variances summed without noise would tell of single rows, and no ledger counts that; give these "
            "columns bounds, or privacy.noise = 'none'"
        )
    asking = [field.name for field in fields if not POLICIES[field.missing].public]
    if asking:
        raise PlanError(
            f"under differential privacy the missing cells of {', '.join(asking)} cannot be filled by a "
            "statistic of the rows, which no ledger counts; choose missing = 'constant' with a fill, or "
            "'drop'"
        )
    # A category has no bounds; any that give scale 1 will do.
    low, high = np.array([field.bounds or (-1.0, 1.0) for field in fields]).T
    fill = [_filled(field, _public_facts(field)) for field in fields]
    return Preprocessor(
        fields=tuple(fields),
        fill=np.array(fill),
        centre=(low + high) / 2,
        scale=(high - low) / 2,
        shown=tuple(tuple(range(len(field.categories))) for field in fields),
    )


def _public_facts(field: Field) -> FieldFacts:
    counts = None if field.measured else np.zeros(len(field.categories), np.int64)
    return FieldFacts(field.fill, field.bounds, False, counts=counts)


def fitted_preprocessor(fields: Sequence[Field], summed: Statistics) -> Preprocessor:
    """Standardise measurements by mean and deviation, indicate categories, and fill missing cells.

    A constant field becomes zero.  The category of all other words has an input only if it occurs.

    Args:
        fields: descriptions of the columns.
        summed: statistics of these fields.
    """
    fill, centre, scale = (np.zeros(len(fields)) for _ in range(3))
    shown: list[tuple[int, ...]] = []
    notes: list[str] = []
    for at, field in enumerate(fields):
        facts = FieldFacts(
            field.fill,
            field.bounds,
            True,
            mean=_known(summed.mean[at]),
            median=_known(summed.median[at]),
            counts=None if field.measured else summed.counts[at],
        )
        fill[at] = _filled(field, facts)
        # A field with fixed meaning, such as 0 and 1, keeps its public scale.
        if field.fixed and field.bounds is not None:
            low, high = field.bounds
            centre[at], scale[at] = (low + high) / 2, (high - low) / 2
        else:
            varies = bool(np.isfinite(summed.deviation[at]))
            centre[at] = _known(summed.mean[at])
            # A measurement that does not vary becomes 0 by an infinite scale.
            scale[at] = summed.deviation[at] if varies or not field.measured else np.inf
            scale[at] = 1.0 if not field.measured else scale[at]
        rest = [field.named] if field.named < len(field.categories) else []
        gaps = summed.present[at] < summed.rows
        # The category of all other words is an input only if some client has such a word.
        occurs = [c for c in rest if summed.counts[at][c] > 0 or (gaps and fill[at] == c)]
        shown.append((*range(field.named), *occurs))
        notes += _said(field, summed, at, fill[at])
    return Preprocessor(tuple(fields), fill, centre, scale, tuple(shown), tuple(notes))


def _known(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0


def _filled(field: Field, facts: FieldFacts) -> float:
    """The value that replaces a missing cell; for no category, the one of all other words."""
    value = POLICIES[field.missing].value(facts)
    if np.isnan(value) and field.named < len(field.categories):
        return float(field.named)
    return float(value) if not field.measured or np.isfinite(value) else 0.0


def _said(field: Field, summed: Statistics, at: int, fill: float) -> list[str]:
    missing = summed.rows - int(summed.present[at])
    if not missing:
        return []
    policy = POLICIES[field.missing].name
    if field.measured:
        put = f"{fill:.6g}"
    else:
        put = "no category" if np.isnan(fill) else repr(field.categories[int(fill)])
    asked = f"of {summed.rows:,} rows" + (f" of {summed.clients} clients" if summed.clients else "")
    return [f"{field.name}: {missing:,} missing cells {asked} become {put} (missing = {policy!r})"]
