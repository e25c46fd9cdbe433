"""Early stopping, and the choice of the best round's model; only for runs without noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dp.checks import assign
from fedavg import checks
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from fedavg.metrics.interface import Figure

__all__ = ["EarlyStopping", "Watcher"]


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """A rule that ends a run by its headline on the held-out rows.

    Args:
        patience: number of rounds in a row without an improvement after which the run ends; None never.
        min_delta: smallest change that counts as an improvement, ≥ 0, in the headline's unit.
        best: whether to keep the best round's model instead of the last one's.

    Raises:
        ConfigError: a value is out of range, or there is neither a patience nor `best`.

    Example:
        >>> EarlyStopping(patience=5, best=True).patience
        5
    """

    patience: int | None = 5
    min_delta: float = 0.0
    best: bool = True

    def __post_init__(self) -> None:
        if self.patience is not None:
            assign(self, patience=checks.config.whole("patience", self.patience))
        assign(self, min_delta=checks.config.at_least("min_delta", self.min_delta, 0))
        if self.patience is None and not self.best:
            raise ConfigError("early stopping without patience and without best changes nothing")


class Watcher:
    """Follows one run's headline.

    Args:
        stopping: the rule.

    Example:
        >>> from fedavg.metrics.interface import Baseline, Figure
        >>> watcher = Watcher(EarlyStopping(patience=2))
        >>> loss = lambda value: Figure("loss", value, Baseline("none", None), False, True)
        >>> [watcher.better(k, loss(value)) for k, value in enumerate((3.0, 2.0, 2.5, 2.0), start=1)]
        [True, True, False, False]
        >>> watcher.best_round, watcher.is_over()
        (2, True)
    """

    def __init__(self, stopping: EarlyStopping) -> None:
        self._rule = stopping
        self._best: float | None = None
        self._waited = 0
        self.best_round: int | None = None

    def is_over(self) -> bool:
        """Whether the run should end here."""
        patience = self._rule.patience
        return patience is not None and self._waited >= patience

    def better(self, round_number: int, headline: Figure | None) -> bool:
        """Record one round's headline; return True if it is the best so far.

        Args:
            round_number: number of the round, from 1.
            headline: the figure; None, or a figure without a value, is no improvement.

        Raises:
            ConfigError: the run has no held-out rows, and so no headline.
        """
        if headline is None:
            raise ConfigError("early stopping needs held-out examples: give evaluate=")
        # A round without a defined headline counts as one without an improvement.
        if headline.value is not None and self._improves(headline.value, headline):
            self._best, self._waited, self.best_round = headline.value, 0, round_number
            return True
        self._waited += 1
        return False

    def _improves(self, value: float, headline: Figure) -> bool:
        if self._best is None:
            return True
        gain = value - self._best if headline.greater_is_better else self._best - value
        return gain > self._rule.min_delta
