"""Examples that a configuration names, not yet spread over clients: arrays, a folder of images, a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg import checks
from fedavg.data.dataset import NUMBERS, strata_names
from fedavg.data.loading import foreign_keys
from fedavg.data.readers.arrays import read_arrays
from fedavg.data.readers.images import load_images
from fedavg.data.readers.sources import SOURCES
from fedavg.data.readers.unit_scale import UnitScale, check_bounds
from fedavg.data.tables.files import is_table
from fedavg.data.task import keep_classes
from fedavg.data.tasks import built_in_table, load_task
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.data.settings import DataConfig
    from fedavg.data.tables.schemas.propose import Proposal
    from fedavg.data.task import Task
    from fedavg.sums.interface import SecureSum


class Examples(Protocol):
    """Examples that are not yet spread over clients."""

    @property
    def strata(self) -> NDArray[np.int64]:
        """int64[m]: the stratum of each training example, by which partitions skew."""
        ...

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The names of the strata, in the order of their numbers."""
        ...

    @property
    def owners(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """int64[m], the owner of each training example, and the owners' names; None without owners."""
        ...

    @property
    def groups(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """int64[m], the group of each training row or −1, and all groups' names; None without groups."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was seen, chosen and lost while the examples were read; it may reveal single rows."""
        ...

    def placed(
        self, pieces: Sequence[NDArray[np.int64]], statistics: SecureSum | None, *, seed: int
    ) -> tuple[Task, dict[int, Dataset]]:
        """The task as model inputs, and the examples of each client."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """Examples that become model inputs once they are at unit scale.

    Args:
        task: the task as it was read.
        scale: scaling of the task to unit scale; None does not scale it.
    """

    task: Task
    scale: UnitScale | None = None

    @property
    def strata(self) -> NDArray[np.int64]:
        return self.task.train.kind.strata(self.task.train.labels)

    @property
    def strata_names(self) -> tuple[str, ...]:
        return strata_names(self.task.train.labels, self.strata, self.task.label_names)

    @property
    def owners(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        owners = self.task.owners
        return None if owners is None else (owners, self.task.owner_names)

    @property
    def groups(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """None: arrays and images name no groups."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        return self.task.notes

    def placed(
        self, pieces: Sequence[NDArray[np.int64]], statistics: SecureSum | None, *, seed: int
    ) -> tuple[Task, dict[int, Dataset]]:
        task = self.task
        if self.scale is not None:
            task = self.scale.applied(task, pieces, statistics, seed=seed)
        return task, {client: task.train.subset(piece) for client, piece in enumerate(pieces)}


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """The examples that a configuration names.

    Args:
        examples: the examples, not yet spread over clients.
        config: the configuration, with every chosen setting filled in.
        proposal: the schema proposed for a table; None if everything was declared, and for arrays.
    """

    examples: Examples
    config: DataConfig
    proposal: Proposal | None = None


def load(data: DataConfig, *, private: bool) -> Loaded:
    """Load the configured examples.  The split has its own seed, so that runs are scored on the same rows.

    Args:
        data: the configuration.
        private: whether noise protects the rows, in which case only declared properties of a table are used.

    Raises:
        DataError: the data cannot be read, or a configured class does not exist.
        ConfigError: `private` is set, and a property of the data is not declared.
    """
    foreign_keys.refuse_of_folders(data)
    source = SOURCES.get(data.name)
    if source is not None and source.schema is not None:
        return _load_built_in_table(data)
    if is_table(Path(data.name)):
        return _load_table(data, private=private)
    if Path(data.name).suffix.lower() == ".npz":
        return _load_arrays(data, private=private)
    # Keys of tables are refused for other data, where they would have no effect.
    own = foreign_keys.of_tables(data)
    if Path(data.name).is_dir() and data.name not in SOURCES and not own:
        return _load_folder(data, private=private)
    if own and (data.name in SOURCES or Path(data.name).is_dir()):
        raise ConfigError(
            f"{data.name} is no table of your own (.csv, .tsv, .parquet): leave out data.{own[0]}"
        )
    task = load_task(
        data.name, test_fraction=data.test_fraction, seed=data.split_seed, task=data.task
    )
    if data.classes:
        task = keep_classes(task, data.classes)
    return Loaded(_Ready(task), data)


def _load_arrays(data: DataConfig, *, private: bool) -> Loaded:
    own = [key for key in foreign_keys.of_tables(data) if key != "bounds"]
    if own:
        raise ConfigError(f"{data.name} holds arrays and is no table: leave out data.{own[0]}")
    check_bounds(data.bounds)
    checks.data.proper_fraction("test_fraction", data.test_fraction)
    task, floats = read_arrays(
        Path(data.name),
        task=data.task,
        test_fraction=data.test_fraction,
        seed=data.split_seed,
        declared=bool(data.classes) or not private,
    )
    foreign_keys.refuse_of_splits(data, task)
    if data.classes:
        task = keep_classes(task, data.classes)
    elif private and task.train.kind != NUMBERS:
        # The number of classes is taken from the file, which is sound only if it is public; the run says so.
        said = (
            f"under noise labels of {data.name}, {task.outputs} classes or outputs, are taken for public; "
            "if a client could bring another one, name the classes in [data] classes"
        )
        task = replace(task, notes=(*task.notes, said))
    return Loaded(_Ready(task, UnitScale(floats, data.bounds)), data)


def _load_folder(data: DataConfig, *, private: bool) -> Loaded:
    checks.data.proper_fraction("test_fraction", data.test_fraction)
    task = load_images(
        Path(data.name),
        size=data.image_size,
        channels=data.channels,
        classes=data.classes,
        test_fraction=data.test_fraction,
        seed=data.split_seed,
        private=private,
    )
    foreign_keys.refuse_of_splits(data, task)
    return Loaded(_Ready(task), data)


def _load_built_in_table(data: DataConfig) -> Loaded:
    own = foreign_keys.of_tables(data)
    if own:
        raise ConfigError(
            f"{data.name} is built in, with its schema and its split: leave out data.{own[0]}"
        )
    source = built_in_table(data.name, test_fraction=data.test_fraction, seed=data.split_seed)
    if not data.classes:
        return Loaded(source, data)
    task, _ = source.placed([np.arange(len(source.train))], None, seed=0)
    return Loaded(_Ready(keep_classes(task, data.classes)), data)


def _load_table(data: DataConfig, *, private: bool) -> Loaded:
    # These load pyarrow, which is optional, and only tables need it.
    from fedavg.data.loading.schema_choice import chosen, declared_schema, settled  # noqa: PLC0415
    from fedavg.data.tables.encode import encode  # noqa: PLC0415
    from fedavg.data.tables.reading import read_table  # noqa: PLC0415
    from fedavg.data.tables.source import divided, of_classes, parted_by_time  # noqa: PLC0415

    checks.data.proper_fraction("test_fraction", data.test_fraction)
    path = Path(data.name)
    given = declared_schema(data)
    foreign_keys.refuse_beside_time(data, given.time)
    table = read_table(path, given.file)
    proposal = chosen(table, data, private=private)
    rows = encode(table, proposal.schema, private=private)
    rows = replace(rows, notes=(*proposal.notes, *rows.notes))
    rows = of_classes(rows, data.classes) if data.classes else rows
    about, natural = (f"rows of {path.name}", str(path), "unknown"), bool(proposal.schema.client)
    if data.test_from:
        examples = parted_by_time(data.name, about, rows, natural=natural, first=data.test_from)
    else:
        examples = divided(
            data.name,
            about,
            rows,
            natural=natural,
            split=data.split,
            fraction=data.test_fraction,
            seed=data.split_seed,
        )
    # A declared schema needs no display: it is the user's own.
    shown = None if proposal.declared else proposal
    return Loaded(examples, settled(data, proposal.schema), shown)
