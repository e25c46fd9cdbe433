"""Checks when a federation is built, the same for every secure sum: ids, data, and where the clients run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from fedavg import checks
from fedavg.data.foreign import as_dataset
from fedavg.errors import DataError, LocalProtocolError
from fedavg.simulation.fork_server import start_early
from fedavg.simulation.pool import worker_pool
from fedavg.simulation.population import in_process

if TYPE_CHECKING:
    from fedavg.data.dataset import Dataset, TargetKind
    from fedavg.models.spec import ModelSpec
    from fedavg.simulation.interface import SimulationFactory

__all__ = ["check_evaluation", "chosen_simulation", "declared_population", "enrolled"]

_LARGEST_ID = 2**32 - 1  # ids have four bytes in messages


def enrolled(clients: object) -> dict[int, Dataset]:
    """The clients by id.

    Args:
        clients: a mapping from ids to data sets, or a list of data sets, whose ids are then 0, 1, 2, ….  A
            data set is a `Dataset`, or an object that `fedavg.as_dataset` converts to one.
            Ids are whole numbers from 0 to 2^32 − 1, of Python or NumPy.

    Raises:
        DataError: there are no clients, an id is invalid, an entry is no data set, or the kinds of labels
            differ.

    Example:
        >>> from fedavg import Dataset
        >>> data = Dataset(np.zeros((3, 2)), np.array([0, 1, 1]))
        >>> list(enrolled({np.int64(7): data})), list(enrolled([data, data]))
        ([7], [0, 1])
    """
    if isinstance(clients, Mapping):
        given = list(cast("Mapping[object, object]", clients).items())
    elif isinstance(clients, Sequence) and not isinstance(clients, str | bytes):
        given = list(enumerate(cast("Sequence[object]", clients)))
    else:
        raise DataError(
            f"clients are a mapping from ids to data sets, or a list of data sets, not a "
            f"{type(clients).__name__}"
        )
    if not given:
        raise DataError("a federation needs clients")
    found: dict[int, Dataset] = {}
    for name, data in given:
        # A mapping type of the user's own may list an id twice.
        client = _id(name)
        if client in found:
            raise DataError(f"two clients have the id {client}: give each an id of its own")
        try:
            found[client] = as_dataset(data)
        except DataError as error:
            raise DataError(f"client {client}: {error}") from error
    _one_kind(found)
    return found


def declared_population(population: int | None, clients: Mapping[int, Dataset]) -> int:
    """N, the public number of enrolled clients.

    Args:
        population: the declared number; None declares the number of present clients.
        clients: the present clients.

    Raises:
        DataError: more clients are present than declared, or the number is not whole.
    """
    if population is None:
        return len(clients)
    declared = checks.data.whole("population", population)
    if declared < len(clients):
        raise DataError(
            f"{len(clients)} clients are here, but a population of {declared} was declared"
        )
    return declared


def chosen_simulation(
    given: SimulationFactory | None, spec: ModelSpec | None, workers: int
) -> SimulationFactory:
    """How the clients will be simulated: as asked, in this process, or in workers, which start early.

    Args:
        given: the user's own factory; None for one of this package.
        spec: description of the model; None if the federation was given a module.
        workers: number of processes; 0 for this process.

    Raises:
        LocalProtocolError: there are workers, and they cannot build the model.
    """
    if workers and spec is None:
        raise LocalProtocolError("worker processes build their own models: give a ModelSpec")
    if workers:
        start_early()  # loads torch in another process meanwhile
    here = partial(worker_pool, workers=workers) if workers else in_process
    return given or here


def _id(name: object) -> int:
    # In Python True is an integer, and as an id it would silently be client 1.
    if isinstance(name, bool | np.bool_) or not isinstance(name, int | np.integer):
        raise DataError(
            f"client ids are whole numbers, not {name!r:.40} ({type(name).__name__}): number the clients, "
            "for example with list(clients.values()), and keep the names beside"
        )
    if not 0 <= int(name) <= _LARGEST_ID:
        raise DataError(f"client ids lie in 0 … {_LARGEST_ID}, and {int(name)} does not")
    return int(name)


def _one_kind(clients: Mapping[int, Dataset]) -> None:
    """Check that all labels are of one kind and width, since one model serves all clients."""
    # The first client sets the kind, so that the message can name two that differ.
    first, kind = next((client, _labels(data)) for client, data in clients.items())
    for client, data in clients.items():
        if _labels(data) != kind:
            raise DataError(
                f"client {client} has {_words(_labels(data))}, but client {first} has {_words(kind)}: one "
                "model predicts one kind of labels"
            )


def check_evaluation(evaluate: Dataset, clients: Mapping[int, Dataset]) -> None:
    """Refuse an evaluation set whose labels are of another kind than the clients'.

    Raises:
        DataError: the kind or the number of columns differs.
    """
    kind = _labels(next(iter(clients.values())))
    if _labels(evaluate) != kind:
        raise DataError(
            f"the evaluation set has {_words(_labels(evaluate))}, but the clients have {_words(kind)}"
        )


def _labels(data: Dataset) -> tuple[TargetKind, tuple[int, ...]]:
    return data.kind, tuple(data.labels.shape[1:])


def _words(kind: tuple[TargetKind, tuple[int, ...]]) -> str:
    columns = f" with {kind[1][0]} columns" if kind[1] else ""
    return f"labels of kind {kind[0].name!r}{columns}"
