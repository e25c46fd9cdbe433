"""The data of a run, from its configuration: the task, each client's examples, and the model's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fedavg.data.loading.loading import load
from fedavg.data.partitions import partition
from fedavg.data.partitions.skew import skew_features
from fedavg.data.readers.sources import SOURCES
from fedavg.data.settings import Chosen, DataConfig
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.data.dataset import Dataset
    from fedavg.data.loading.loading import Examples
    from fedavg.data.tables.schemas.propose import Proposal
    from fedavg.data.task import Task
    from fedavg.sums.interface import SecureSum

_CLIENTS = (
    1000  # default for a built-in set that is large enough, and the largest default for a file
)
_ROWS = 20  # examples for each client, at which the default for a file aims

__all__ = ["Placed", "names_of", "pieces_of", "place", "with_defaults"]


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
