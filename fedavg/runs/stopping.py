"""Early stopping and the best round's model in a run directory, also after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.config.builders.training import stopping_of
from fedavg.protocol.result import figure_of_row
from fedavg.training.stopping import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedavg.config.build import Job
    from fedavg.federation.checkpoint import Restart
    from fedavg.federation.federation import Federation
    from fedavg.protocol.result import RoundResult
    from fedavg.runs.files.directory import RunDirectory

__all__ = ["Keeper"]

_BEST = "best.npy"  # the best model so far; deleted once the run has ended


class Keeper:
    """Follows a run's headline, and keeps the best round's model if the configuration asks for it.

    Args:
        job: job of the run.
        directory: run directory; its log is read when the run is resumed.
        restart: state to resume from; None for a new run.
    """

    def __init__(self, job: Job, directory: RunDirectory, restart: Restart | None) -> None:
        self.directory = directory
        self.vector: NDArray[np.float64] | None = None
        rule = stopping_of(job.config.evaluation)
        self._watcher = None if rule is None else Watcher(rule)
        self._keeps = rule is not None and rule.best
        if restart is not None and self._watcher is not None:
            better = False
            # The watcher is rebuilt from the log, so that a resumed run stops where the first one would have.
            for row in directory.read_rows("metrics.jsonl"):
                figures: list[dict[str, Any]] = row.get("figures", [])
                headline = figure_of_row(figures[0]) if figures else None
                better = self._watcher.better(int(row["round"]), headline)
            if better and self._keeps:  # a kill may fall between a round's log and its model
                directory.write_array(_BEST, restart.checkpoint.model.released)

    @property
    def until(self) -> Callable[[], bool] | None:
        """Whether the run is over, for `Federation.run`; None if nothing ends it early."""
        return None if self._watcher is None else self._watcher.is_over

    @property
    def best(self) -> Callable[[], NDArray[np.float64] | None] | None:
        """The best round's model so far, for `Federation.run`; None where the last one is kept."""
        return self._best if self._keeps else None

    def _best(self) -> NDArray[np.float64] | None:
        # The model is read back from the disk, where it is also after an interruption.
        path = self.directory.path / _BEST
        if self._watcher is None or self._watcher.best_round is None or not path.exists():
            return None
        vector: NDArray[np.float64] = np.load(path, allow_pickle=False)
        return vector

    def take(self, result: RoundResult, federation: Federation) -> None:
        """Examine one round, and keep its model if it is the best so far."""
        if self._watcher is None:
            return
        if self._watcher.better(result.round, result.headline) and self._keeps:
            self.directory.write_array(_BEST, federation.released)

    def keep(self, federation: Federation) -> dict[str, Any]:
        """At the end, make the best round's model the run's, and name the round in the summary."""
        best = self._best()
        if self._watcher is None or best is None:
            return {}
        self.directory.write_model(federation.model_file(best))
        # The file is removed only after the model has been written.
        (self.directory.path / _BEST).unlink()
        self.vector = best
        number = self._watcher.best_round
        rows = self.directory.read_rows("metrics.jsonl")
        row = next((row for row in rows if row["round"] == number), {})
        figures = row.get("figures", [])
        return {"best_round": number, "figures": figures, "accuracy": row.get("accuracy")}
