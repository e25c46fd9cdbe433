"""Loading of tasks: built-in ones by name, the user's own from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedavg import checks
from fedavg.data.dataset import Dataset, numbers_of
from fedavg.data.partitions.split import stratified
from fedavg.data.readers.arrays import load_arrays
from fedavg.data.readers.sources import SOURCES, columns_of, table_of_source
from fedavg.data.readers.text import split_texts
from fedavg.data.tables.files import is_table
from fedavg.data.task import Task, keep_classes
from fedavg.errors import DataError, PlanError
from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from fedavg.data.tables.schemas.schema import Schema, TaskName
    from fedavg.data.tables.source import TableSource

__all__ = ["Task", "TaskInfo", "available_tasks", "built_in_table", "keep_classes", "load_task"]


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """Properties of a built-in task that are known before it is loaded.

    Args:
        name: name for `load_task`.
        description: description in one line.
        examples, classes, shape: size of the whole set.
        extra: extra of this package that installs the set.
        available: whether that extra is installed.
    """

    name: str
    description: str
    examples: int
    classes: int
    shape: tuple[int, ...]
    extra: str
    available: bool


def available_tasks() -> list[TaskInfo]:
    """List the built-in tasks; a set is read only if its size depends on the installed version.

    Example:
        >>> [task.name for task in available_tasks()]
        ['mnist-14x14', 'mnist-5k', 'mnist-8x8', 'digits', 'breast-cancer', 'credit-default', 'python-topics']
    """
    return [
        TaskInfo(
            name,
            source.description,
            source.size,
            source.classes,
            source.shape,
            source.extra,
            source.installed,
        )
        for name, source in SOURCES.items()
    ]


def load_task(
    name_or_path: str | Path,
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
    task: TaskName = "auto",
    schema: Schema | None = None,
) -> Task:
    """Load a built-in task by name, or a task of your own from a file.

    Args:
        name_or_path: a name that `available_tasks` lists; the path of a table (.csv, .tsv or .parquet,
            compressed or not); or the path of an .npz file whose arrays are called x_train, y_train, x_test,
            y_test, or x, y, or features, labels.  In an .npz file, features of type uint8 are read as images
            and scaled to [0, 1].
        test_fraction: share of the examples held out for scoring, if there is no fixed split: a share of each
            class of a built-in set, or of the rows of a file by a keyed hash of each.
        seed: public seed of that split.
        task: kind of the labels of an .npz file; "auto" refuses labels that could be of two kinds.
        schema: description of a table's columns, with bounds for its numbers.  If numbers have to be scaled
            by statistics instead, use `fedavg.place`, which lets the clients sum them.

    Raises:
        DataError: the name is unknown, a file or extra is missing, or arrays or columns are no examples.

    Example:
        >>> task = load_task("digits", test_fraction=0.25)
        >>> len(task.train) + len(task.test), round(len(task.test) / 1797, 2), task.outputs
        (1797, 0.25, 10)
        >>> load_task("didgits")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fedavg.errors.DataError: there is no data set 'didgits'; built in are ... Do you mean 'digits'? ...
    """
    test_fraction = checks.data.proper_fraction("test_fraction", test_fraction)
    path = Path(name_or_path)
    if is_table(path):
        return _load_table(path, schema, test_fraction, seed)
    if schema is not None:
        raise DataError(f"{name_or_path} is no table (.csv, .tsv, .parquet): leave out the schema")
    if path.suffix.lower() == ".npz":
        return load_arrays(path, task=task, test_fraction=test_fraction, seed=seed)
    return _load_built_in(str(name_or_path), test_fraction, seed)


def _load_table(path: Path, schema: Schema | None, test_fraction: float, seed: int) -> Task:
    # These modules load pyarrow, which is optional and needed for tables only.
    from fedavg.data.tables.encode import encode  # noqa: PLC0415
    from fedavg.data.tables.reading import read_table  # noqa: PLC0415
    from fedavg.data.tables.source import divided  # noqa: PLC0415

    if schema is None:
        raise DataError(
            f"{path} is a table: give a schema of its columns, or use fedavg.place(DataConfig(name="
            f"{str(path)!r}, target=…), secure_sum), which proposes one and scales by statistics that the "
            "clients sum"
        )
    rows = encode(read_table(path, schema.file), schema)
    about = (f"rows of {path.name}", str(path), "unknown")
    natural = bool(schema.client)
    split = {"natural": natural, "split": "row", "fraction": test_fraction, "seed": seed}
    return _scaled(divided(str(path), about, rows, **split))  # pyright: ignore[reportArgumentType] - as named


def _scaled(source: TableSource) -> Task:
    """The task of a table, scaled by the bounds that its schema declares."""
    everything = np.arange(len(source.train))
    try:
        # Without a secure sum only public bounds can scale the columns.
        return source.placed([everything], None, seed=0)[0]
    except PlanError as error:
        raise DataError(
            f"{source.name}: without statistics a table is scaled by declared bounds ({error}); "
            "fedavg.place lets the clients sum statistics"
        ) from error


def built_in_table(name: str, *, test_fraction: float, seed: int) -> TableSource:
    """A built-in table, encoded by its own schema and split.

    Args:
        name: a key of `SOURCES` with a schema.
        test_fraction: share of each class to score on.
        seed: public seed of the split.

    Raises:
        DataError: an extra is missing.
    """
    from fedavg.data.tables.encode import encode  # noqa: PLC0415 - loads pyarrow
    from fedavg.data.tables.source import shipped  # noqa: PLC0415 - as above

    source = SOURCES[name]
    table = table_of_source(name)
    if source.schema is None:
        raise DataError(f"{name} is no table")
    about = (source.description, source.source, source.licence)
    rows = encode(table, source.schema)
    return shipped(name, about, rows, fraction=test_fraction, seed=seed)


def _load_built_in(name: str, test_fraction: float, seed: int) -> Task:
    source = SOURCES.get(name)
    if source is None:
        own = "A path of an .npz, .csv, .tsv or .parquet file, or of a folder of images, is data of your own"
        raise DataError(
            f"there is no data set {name!r}; {offered(name, SOURCES, lead='built in are', then=own)}"
        )
    if source.schema is not None:
        return _scaled(built_in_table(name, test_fraction=test_fraction, seed=seed))
    about = (source.description, source.source, source.licence)
    columns = columns_of(name)
    whole = Dataset(numbers_of(columns["features"], "features"), columns["labels"])
    owners, names, split = None, (), "a fixed share of each class"
    if "owners" in columns:
        train, test = split_texts(columns, test_fraction)
        # Owners without a training example are no clients.
        present, places = np.unique(columns["owners"][train].astype(np.int64), return_inverse=True)
        owners, names = places.astype(np.int64), tuple(columns["names"][present].tolist())
        split = "the end of each text"
    else:
        train, test = stratified(whole.labels, fraction=test_fraction, seed=seed, name=name)
    parts = (whole.subset(train), whole.subset(test))
    return Task(
        name,
        *parts,
        source.classes,
        *about,
        owners=owners,
        owner_names=names,
        label_names=source.labels or tuple(map(str, range(source.classes))),
        split=split,
    )
