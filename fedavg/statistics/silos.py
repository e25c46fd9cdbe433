"""The rows of each silo as numbers and codes, read by a schema; no silo sees another's rows.

A silo is a client with rows of its own, such as a hospital.  In a simulation one table holds all silos, and a
column names the silo of each row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import numpy as np

from dp import random_uniform
from fedavg import checks
from fedavg.data.tables.cells import LARGEST, cells_of
from fedavg.data.tables.schemas.schema import check_headings
from fedavg.errors import DataError
from fedavg.parts.nearest import offered
from fedavg.statistics.question import capped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Field
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schemas.schema import Schema
    from fedavg.statistics.question import Unit

__all__ = ["SiloRows", "Silos", "Variable", "read_silos"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Variable:
    """One column of the statistics, with its public properties.

    Args:
        name: name in results.
        categories: the words, in the order of their codes; () for a number.
        bounds: public range of a number; None where none is declared.
        days: whether the numbers are days since 1970-01-01, which reports show as dates.

    Raises:
        DataError: a column of words has bounds, or the bounds are no finite range.

    Example:
        >>> Variable("age", bounds=(0.0, 120.0)).measured, Variable("sex", ("F", "M")).measured
        (True, False)
    """

    name: str
    categories: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    days: bool = False

    def __post_init__(self) -> None:
        if type(self.name) is not str or not self.name:
            raise DataError(f"a column has a name, a text, not {self.name!r}")
        if self.bounds is None:
            return
        low, high = (checks.data.finite(f"a bound of {self.name!r}", end) for end in self.bounds)
        if self.categories or not low < high or not math.isfinite(high - low):
            raise DataError(
                f"{self.name!r}: bounds belong to a number and need low < high, not {low} … {high}"
            )

    @property
    def measured(self) -> bool:
        """Whether the column holds numbers."""
        return not self.categories


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SiloRows:
    """The rows of one silo.  They are private: the representation shows none, and pickling raises.

    Args:
        values: float64[n] by name: numbers, or codes of words; NaN where missing.
        people: int64[n], the unit of each row: a number of a person, or of the row itself.

    Example:
        >>> SiloRows({"age": np.array([31.0, np.nan])}, np.arange(2))
        SiloRows(<private>)
    """

    values: Mapping[str, NDArray[np.float64]]
    people: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.people)

    def __repr__(self) -> str:
        return "SiloRows(<private>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the rows of a silo are private and cannot be pickled")

    def taken(self, rows: NDArray[np.int64]) -> SiloRows:
        """Some of the rows."""
        return SiloRows(
            {name: value[rows] for name, value in self.values.items()}, self.people[rows]
        )

    def at_most(self, most: int) -> SiloRows:
        """At most so many rows of each unit, drawn with randomness from the operating system."""
        # Each person's rows are chosen by coins of their own: no other person changes the choice.
        return self.taken(capped(self.people, most, random_uniform(len(self))))


@dataclass(frozen=True, slots=True, eq=False)
class Silos:
    """All silos of a simulation, and the public description of their columns.

    Args:
        variables: the columns.
        rows: the rows of each silo.
        names: names of the silos, which are public, as their number is.
        unit: whose privacy counts.

    Raises:
        DataError: there is no column or no silo, a column has no values of a silo, an array has another
            length or type, or two rows are one unit although rows are the units.

    Example:
        >>> from fedavg.statistics import Record, SiloRows, Silos, Variable
        >>> ages = [np.array([31.0, 54.0]), np.array([60.0]), np.array([np.nan, 20.0])]
        >>> rows = [SiloRows({"age": age}, np.arange(len(age))) for age in ages]
        >>> silos = Silos((Variable("age", bounds=(0, 120)),), tuple(rows), ("A", "B", "C"), Record())
        >>> len(silos.rows)
        3
    """

    variables: tuple[Variable, ...]
    rows: tuple[SiloRows, ...]
    names: tuple[str, ...]
    unit: Unit

    def __post_init__(self) -> None:
        names = [variable.name for variable in self.variables]
        if not names or len(set(names)) < len(names):
            raise DataError(f"statistics need columns with different names, not {names}")
        if not self.rows or len(self.rows) != len(self.names):
            raise DataError(f"{len(self.rows)} silos have {len(self.names)} names")
        for silo in self.rows:
            _check_rows(silo, self.variables)
            # Rows of one number would count as one unit, and all but one be left out under noise.
            if not self.unit.column and len(np.unique(silo.people)) < len(silo):
                raise DataError(
                    f"every {self.unit.name} is a unit of its own, but several rows of a silo have the same "
                    "number in people: number them differently, or name a column of people (Person)"
                )

    def chosen(self, names: tuple[str, ...]) -> Silos:
        """Some of the columns, by name; all for ().

        Raises:
            DataError: there is no such column.
        """
        if not names:
            return self
        known = {variable.name: variable for variable in self.variables}
        for name in names:
            if name not in known:
                raise DataError(f"there is no column {name!r}; {offered(name, known)}")
        return replace(self, variables=tuple(known[name] for name in names))


def _check_rows(silo: SiloRows, variables: tuple[Variable, ...]) -> None:
    checks.data.plain_array("the people of a silo", silo.people, "iu")
    if silo.people.shape != (len(silo.people),):
        raise DataError("the people of a silo are one number for each row")
    for variable in variables:
        if variable.name not in silo.values:
            raise DataError(f"a silo has no column {variable.name!r}")
        values = checks.data.plain_array(variable.name, silo.values[variable.name], "f")
        if values.shape != silo.people.shape:
            raise DataError(f"{variable.name!r} has not one value for each row of a silo")
        there = values[~np.isnan(values)]
        if variable.measured:
            wrong = ~(np.abs(there) <= LARGEST)
        else:
            wrong = (there != np.floor(there)) | (there < 0) | (there >= len(variable.categories))
        if bool(wrong.any()):
            raise DataError(
                f"{variable.name!r} holds values that are no "
                + (f"numbers within ±{LARGEST:g}" if variable.measured else "codes of its words")
            )


def read_silos(
    table: Table, schema: Schema, client: str, unit: Unit, *, private: bool = False
) -> Silos:
    """Read a table that holds the rows of all silos.

    Numbers beyond declared bounds are clamped under noise; exact sums take them as they are, and count them.
    Rows without a silo, and rows without a person where a column names people, are left out.

    Args:
        table: the table, as read.
        schema: a schema that describes the columns.
        client: heading of the column that names the silo of each row.
        unit: whose privacy counts.
        private: whether noise will protect the rows: a cell that its column cannot hold is then missing,
            since a refusal would reveal something about the rows.

    Raises:
        DataError: a heading does not exist, no column is left, or (without noise) a cell is wrong.

    Example:
        >>> from fedavg.data.tables.columns import Number
        >>> from fedavg.data.tables.reading import table_of
        >>> from fedavg.data.tables.schemas.schema import Schema
        >>> from fedavg.statistics import Record
        >>> cells = {"ward": np.array(["a", "b", "a"]), "age": np.array([31, 54, 60])}
        >>> schema = Schema(columns={"age": Number(bounds=(0, 120))})
        >>> silos = read_silos(table_of("t", cells), schema, "ward", Record())
        >>> silos.names, [len(rows) for rows in silos.rows]
        (('a', 'b'), [2, 1])
    """
    check_headings(schema, tuple(table.columns), table.name)
    roles = [("silos", client), *([("people", unit.column)] if unit.column else [])]
    for what, heading in roles:
        if heading not in table.columns:
            raise DataError(
                f"{table.name} has no column {heading!r} to name the {what}; "
                f"{offered(heading, table.columns)}"
            )
    if client == unit.column:
        raise DataError(f"column {client!r} cannot name both the silo and the person of a row")
    owner, names = cells_of(table, client, schema.markers).words()
    people = np.arange(table.rows)
    if unit.column:
        people = cells_of(table, unit.column, schema.markers).words()[0]
    variables, arrays = _columns(table, schema, {heading for _, heading in roles}, private=private)
    pieces = [np.flatnonzero((owner == place) & (people >= 0)) for place in range(len(names))]
    whole = SiloRows(arrays, people)
    return Silos(tuple(variables), tuple(whole.taken(piece) for piece in pieces), names, unit)


def _columns(
    table: Table, schema: Schema, roles: set[str], *, private: bool
) -> tuple[list[Variable], dict[str, NDArray[np.float64]]]:
    variables: list[Variable] = []
    arrays: dict[str, NDArray[np.float64]] = {}
    for heading, column in schema.columns.items():
        fields: tuple[Field, ...] = column.fields(heading)
        if heading in roles or not fields:
            continue
        cells = cells_of(table, heading, (*schema.markers, *column.markers))
        encoded = (column if private else _unclamped(column)).encode(cells)
        odd = np.flatnonzero(encoded.odd)
        if len(odd) and not private:
            shown = ", ".join(
                f"{cells.shown(int(row))!r} in row {row + 1:,}" for row in odd[:_SHOWN]
            )
            raise DataError(
                f"column {heading!r}: {shown}{' and more' if len(odd) > _SHOWN else ''}: not "
                f"{encoded.wanted}. Correct the file, or name the word in the column's markers if it stands "
                "for a missing cell"
            )
        for field, values in zip(fields, encoded.arrays, strict=True):
            days = field.name == f"{heading} days" and "days" in getattr(column, "parts", ())
            variables.append(_variable(field, days=days))
            arrays[field.name] = np.where(encoded.odd, np.nan, values)
    if not variables:
        raise DataError(f"{table.name}: the schema describes no column to take statistics of")
    return variables, arrays


def _unclamped(column: Any) -> Any:  # noqa: ANN401 - any registered column
    """The column without its bounds: exact sums count the numbers beyond them, and clamp none silently."""
    if "bounds" not in column.__struct_fields__:
        return column
    return msgspec.structs.replace(column, bounds=None)


def _variable(field: Field, *, days: bool) -> Variable:
    # A measurement of fixed meaning, 0 and 1, is counted as two words.
    if field.fixed:
        return Variable(field.name, ("no", "yes"))
    return Variable(field.name, field.categories, field.bounds, days)
