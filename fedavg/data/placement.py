"""The data of a run, from its configuration: the task, each client's examples, and the model's inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from fedavg import checks
from fedavg.data import foreign_keys, partition
from fedavg.data.dataset import NUMBERS, strata_names
from fedavg.data.readers.arrays import read_arrays
from fedavg.data.readers.images import load_images
from fedavg.data.readers.sources import SOURCES
from fedavg.data.readers.unit_scale import UnitScale, check_bounds
from fedavg.data.settings import Chosen, DataConfig
from fedavg.data.skew import skew_features
from fedavg.data.tables.files import is_table
from fedavg.data.task import keep_classes
from fedavg.data.tasks import built_in_table, load_task
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.data.tables.propose import Proposal
    from fedavg.data.task import Task
    from fedavg.sums.interface import SecureSum

_CLIENTS = (
    1000  # default for a built-in set that is large enough, and the largest default for a file
)
_ROWS = 20  # examples for each client, at which the default for a file aims

__all__ = [
    "Examples",
    "Loaded",
    "Placed",
    "load",
    "names_of",
    "pieces_of",
    "place",
    "with_defaults",
]


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


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Examples spread over their clients.

    Args:
        task: the examples as model inputs.
        clients: the data set of each client.
        names: names of the clients, in the same order.
        config: the configuration, with every chosen setting filled in.
        proposal: the schema proposed for a table, or None.
        own: whether the examples come from the user and not from a built-in set.
        chosen: settings that were left open, with the reason of each choice.
    """

    task: Task
    clients: dict[int, Dataset]
    names: tuple[str, ...]
    config: DataConfig
    proposal: Proposal | None
    own: bool = False
    chosen: tuple[Chosen, ...] = ()


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
    from fedavg.data.schema_choice import chosen, declared_schema, settled  # noqa: PLC0415
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


def pieces_of(examples: Examples, data: DataConfig, *, seed: int) -> list[NDArray[np.int64]]:
    """Return the indices of each client's training examples.

    Args:
        examples: the examples to spread.
        data: the configuration.
        seed: public seed.

    Raises:
        ConfigError: the partition is natural but the examples have no owners, or a client column is given but
            the partition is not natural.
        DataError: the examples do not allow the partition.
    """
    data, _ = with_defaults(data, examples)
    strata, count, kind = examples.strata, data.clients or 0, data.partition
    if (kind == "natural" and examples.owners is None) or (data.client and kind != "natural"):
        raise ConfigError(
            "data.partition = 'natural' needs data.client, the column that says whose row it is, and "
            "data.client needs data.partition = 'natural': give both or neither"
        )
    match kind:
        case "iid":
            return partition.iid(strata, count, seed=seed)
        case "shards":
            return partition.shards(
                strata, count, shards_per_client=data.shards_per_client, seed=seed
            )
        case "dirichlet":
            return partition.dirichlet(strata, count, alpha=data.alpha, seed=seed)
        case "quantity":
            return partition.quantity(strata, count, alpha=data.alpha, seed=seed)
        case "noisy-sort":
            return partition.noisy_sort(strata, count, spread=data.spread, seed=seed)
        case "natural" | "auto":
            found = [] if examples.owners is None else partition.natural(examples.owners[0])
            # A number of clients beside natural owners would be ignored, so it is refused.
            if data.name not in SOURCES and count not in (0, len(found)):
                named = f"column {data.client!r}" if data.client else data.name
                other = "" if data.client else ", or choose another data.partition, such as 'iid'"
                raise ConfigError(
                    f"{named} says whose the examples are, of {len(found):,} clients to train on, and "
                    f"data.clients asks for {count:,}: leave one of them out{other}"
                )
            return found


def place(data: DataConfig, statistics: SecureSum | None, *, seed: int = 0) -> Placed:
    """Load the examples, spread them over the clients, and convert them to model inputs.

    Args:
        data: the configuration's table [data].
        statistics: secure sum of the clients' statistics of a table; None under differential privacy, where
            only declared properties may decide how a row is encoded.
        seed: public seed.

    Raises:
        ConfigError, DataError: see `load` and `pieces_of`.
        PlanError: under differential privacy a table has no public bounds, or the clients are too few to sum.

    Example:
        >>> from fedavg.sums.plain import InsecurePlain
        >>> placed = place(DataConfig(name="digits", clients=5, partition="iid"), InsecurePlain())
        >>> len(placed.clients), placed.task.outputs
        (5, 10)
    """
    # Without statistics the plan adds noise, and only declared properties may be used.
    loaded = load(data, private=statistics is None)
    own = data.name not in SOURCES
    config, chosen = with_defaults(loaded.config, loaded.examples)
    pieces = pieces_of(loaded.examples, config, seed=seed)
    # The number of clients that were found is written into the run's configuration.
    config = msgspec.structs.replace(config, clients=len(pieces))
    task, clients = loaded.examples.placed(pieces, statistics, seed=seed)
    clients = skew_features(clients, data.feature_skew, strength=data.feature_strength, seed=seed)
    names = names_of(loaded.examples, pieces)
    return Placed(task, clients, names, config, loaded.proposal, own, chosen)


def with_defaults(data: DataConfig, examples: Examples) -> tuple[DataConfig, tuple[Chosen, ...]]:
    """Choose the number of clients and the partition, if they are left open.

    Args:
        data: the configuration.
        examples: the examples that the configuration names.

    Returns:
        The completed configuration, and the choices made; for a large built-in set the choices are empty.
    """
    own = data.name not in SOURCES
    natural = examples.owners is not None
    given, found = data, list[Chosen]()
    if data.partition == "auto":
        scheme = "natural" if natural else "iid" if own else "noisy-sort"
        data = msgspec.structs.replace(data, partition=scheme)
        if scheme == "iid":
            why = (
                "nothing says whose an example is; real clients are less alike, as under dirichlet"
            )
            found.append(Chosen("data.partition", scheme, why))
    if data.clients is None and data.partition != "natural":
        rows = len(examples.strata)
        # A small built-in set cannot give each of the example's clients a row.
        counted = own or rows < _CLIENTS
        # Three clients are the fewest that the protected sums allow.
        clients = min(max(rows // _ROWS, 3), _CLIENTS) if counted else _CLIENTS
        data = msgspec.structs.replace(data, clients=clients)
        if counted:
            why = f"{rows:,} examples to train on make about {_ROWS} for each, and at most {_CLIENTS:,}"
            found.append(Chosen("data.clients", data.clients, f"{why} clients"))
    return (data, tuple(found)) if data != given else (given, ())


def names_of(examples: Examples, pieces: Sequence[NDArray[np.int64]]) -> tuple[str, ...]:
    """The names of the clients: the values of the client column, or numbers if there is none."""
    owners = examples.owners
    if owners is None or not owners[1] or len(owners[1]) != len(pieces):
        return tuple(str(client) for client in range(len(pieces)))
    return owners[1]
