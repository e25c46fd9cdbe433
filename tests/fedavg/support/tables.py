"""Tables and cells for tests, from lists of texts."""

import pyarrow as pa

from fedavg.data.tables.cells import ArrowCells
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.reading import Table
from fedavg.data.tables.schemas.schema import MARKERS


def cells(values, *, markers=MARKERS, heading="c", kind=None, **file):
    """Cells of a column; texts unless `kind` says otherwise."""
    array = pa.array(values, kind or pa.string())
    return ArrowCells(heading, array, tuple(markers), FileFormat(**file))


def table(**columns):
    """A table of texts, as a CSV file gives it, or of what the lists hold."""
    arrays = {name: pa.array(values) for name, values in columns.items()}
    rows = len(next(iter(arrays.values())))
    return Table("t.csv", arrays, rows, FileFormat(decimal="."))


def write(path, text, *, encoding="utf-8"):
    """Write a text file and return its path."""
    path.write_bytes(text.encode(encoding))
    return path
