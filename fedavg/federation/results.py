"""The results of all rounds of a run: as a data frame, with the best round, and with callbacks."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from fedavg.errors import ConfigError, MissingExtraError
from fedavg.plan.stopping import check_stopping
from fedavg.training.stopping import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.federation.federation import Federation
    from fedavg.protocol.result import RoundResult
    from fedavg.training.stopping import EarlyStopping

__all__ = ["Results", "train"]


class Results(Sequence["RoundResult"]):
    """The results of a run's rounds, in order.

    Args:
        rounds: one result for each round.
        stopped: how the run ended, see `fedavg.Federation.stopped`.
        released: float64[d], the final model of the run: that of the last round, or of the best one.
        best_round: number of the best round, from 1; None if the last model is kept.

    Example:
        >>> import numpy as np
        >>> from fedavg import RoundResult
        >>> rounds = [RoundResult(k, None, 0.5 / k, None, None, 9, 8, None, 70, 90, {}) for k in (1, 2)]
        >>> results = Results(rounds, "finished", np.zeros(3), best_round=1)
        >>> [row["loss"] for row in results.rows()], results.kept.round
        ([0.5, 0.25], 1)
    """

    def __init__(
        self,
        rounds: Sequence[RoundResult],
        stopped: str,
        released: NDArray[np.float64],
        best_round: int | None = None,
    ) -> None:
        self._rounds = tuple(rounds)
        self.stopped = stopped
        self.released = released
        self.best_round = best_round

    @overload
    def __getitem__(self, index: int) -> RoundResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RoundResult, ...]: ...
    def __getitem__(self, index: int | slice) -> RoundResult | tuple[RoundResult, ...]:
        return self._rounds[index]

    def __len__(self) -> int:
        return len(self._rounds)

    @property
    def kept(self) -> RoundResult | None:
        """The round of the model that the run leaves; None without a round."""
        if self.best_round is not None:
            return next(result for result in self._rounds if result.round == self.best_round)
        return self._rounds[-1] if self._rounds else None

    def rows(self) -> list[dict[str, Any]]:
        """One flat mapping a round: its number, loss, each figure and its baseline, epsilon, cohort, …."""
        return [_row(result) for result in self._rounds]

    def to_frame(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame
        """`rows` as a pandas data frame, one row a round.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingExtraError(
                "to_frame returns a pandas data frame, but pandas is not installed: run pip install pandas, "
                "or use rows()"
            ) from error
        return pandas.DataFrame(self.rows())


def _row(result: RoundResult) -> dict[str, Any]:
    row: dict[str, Any] = {"round": result.round, "loss": result.loss}
    for figure in result.figures:
        row[figure.name] = figure.value
        row[f"{figure.name} of {figure.baseline.rule}"] = figure.baseline.value
    return row | {
        "epsilon_release": result.epsilon_release,
        "epsilon_server": result.epsilon_server,
        "cohort": result.cohort,
        "survivors": result.survivors,
        "contributors": result.contributors,
        "skipped": result.skipped,
        "bytes_up": result.bytes_up,
        "bytes_down": result.bytes_down,
        "seconds": sum(result.seconds.values()),
    }


def train(
    federation: Federation,
    num_rounds: int,
    *,
    callbacks: Sequence[Callable[[RoundResult], object]] = (),
    stopping: EarlyStopping | None = None,
) -> Results:
    """Run a federation to its end and gather the results.

    Args:
        federation: a federation that has not run yet.
        num_rounds: largest number of rounds.
        callbacks: functions called with each round's result, in order, for logs and progress.
        stopping: ends the run when the headline no longer improves, and keeps the best round's model; without
            noise only.

    Raises:
        PlanError: `stopping` is given for a run with noise, or for a plan that it does not fit
            (`fedavg.plan.stopping`).
        ConfigError: `stopping` is given without held-out examples, or a callback cannot be called.
        Exception: the errors of `Federation.run`.

    Example:
        >>> import fedavg, numpy, torch
        >>> data = fedavg.Dataset(numpy.eye(2), numpy.array([0, 1]))
        >>> parts = fedavg.PoissonCohort(1.0), fedavg.Quantised(4.0, 16), None, fedavg.InsecurePlain()
        >>> plan = fedavg.Plan(*parts, fedavg.LocalTraining(lr=0.5), fedavg.FedAvg())
        >>> federation = fedavg.Federation(torch.nn.Linear(2, 2), [data] * 3, plan, evaluate=data)
        >>> seen = []
        >>> results = train(federation, 2, callbacks=[lambda result: seen.append(result.round)])
        >>> seen, results.stopped, results[1].loss < results[0].loss
        ([1, 2], 'finished', True)
    """
    # A callback that cannot be called is refused now, before the first round is charged.
    for callback in callbacks:
        if not callable(callback):
            raise ConfigError(f"a callback is a function of a round's result, not {callback!r:.80}")
    watcher = None
    if stopping is not None:
        plan = federation.plan
        private = plan.noise is not None
        check_stopping(plan.personalization, private=private, best=stopping.best)
        if not federation.scores_models:
            raise ConfigError("early stopping watches held-out examples: give evaluate=")
        watcher = Watcher(stopping)
    gathered: list[RoundResult] = []
    kept: NDArray[np.float64] | None = None
    until = None if watcher is None else watcher.is_over
    best = (lambda: kept) if stopping is not None and stopping.best else None
    for result in federation.run(num_rounds, until=until, best=best):
        gathered.append(result)
        better = watcher is not None and watcher.better(result.round, result.headline)
        # A copy stays as it is if an optimiser reuses its arrays.
        if better and stopping is not None and stopping.best:
            kept = federation.released.copy()
        for callback in callbacks:
            _tell(callback, result)
    released = federation.released if kept is None else kept
    number = None if watcher is None or kept is None else watcher.best_round
    return Results(gathered, federation.stopped, released, number)


def _tell(callback: Callable[[RoundResult], object], result: RoundResult) -> None:
    """Call a callback; its errors stay as they are, with a note that says whose they are."""
    try:
        callback(result)
    # A note keeps the type of the error, for which the caller may have a handler.
    except Exception as error:
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        error.add_note(f"The callback {name} raised this after round {result.round}.")
        raise
