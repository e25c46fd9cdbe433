"""Where a run's clients live, as its configuration says: on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fedavg.simulation.fork_server import start_early

if TYPE_CHECKING:
    from collections.abc import Generator

    from fedavg.config.settings import SimulationConfig
    from fedavg.simulation.interface import SimulationFactory

__all__ = ["passing_store", "prepare", "simulation_of"]


def prepare(config: SimulationConfig) -> None:
    """Begin to start processes, or refuse a missing engine, while the data is read and noise is calibrated.

    Raises:
        MissingExtraError: the engine is not installed, or in another version.
    """
    if config.elsewhere:
        from fedavg.adapters.engines import RAY  # noqa: PLC0415 - for this engine only

        RAY.version()
    elif config.workers:
        start_early()


def simulation_of(config: SimulationConfig) -> SimulationFactory | None:
    """The factory of a cluster's clients; None for this machine.

    Args:
        config: the table [simulation].
    """
    if not config.elsewhere:
        return None
    from fedavg.adapters.ray import RaySimulation  # noqa: PLC0415 - for this engine only

    return RaySimulation(actors=None if config.workers < 0 else config.workers)


@contextlib.contextmanager
def passing_store(config: SimulationConfig, run: Path) -> Generator[Path | None]:
    """A folder for the states of clients that end with this block; None keeps them in memory.

    Args:
        config: the table [simulation].
        run: directory of the run, which all nodes share.
    """
    if not config.elsewhere:
        yield None
        return
    with tempfile.TemporaryDirectory(dir=run, prefix="clients-") as folder:
        yield Path(folder)
