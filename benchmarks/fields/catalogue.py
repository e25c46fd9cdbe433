"""The five fields: where each example lies, what its rows are scored by, and what anyone could predict."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fields.scores import Auc, Rmse

if TYPE_CHECKING:
    from benchmarks.fields.scores import Metric

__all__ = ["FIELDS", "Field"]

_EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of work, whose example has a folder of its own.

    Args:
        name: the folder's name.
        metric: what predictions are scored by.
        silos: what the silos are, in words.
        unit: what epsilon protects, in words.
        guess: what a party without any model says, in words.
        guessed: that prediction, in the target's unit.
        by_time: whether the configuration holds out later rows, so that no seed decides which.

    Example:
        >>> FIELDS["healthcare"].secure.name, FIELDS["healthcare"].silos
        ('secure.toml', 'towns')
    """

    name: str
    metric: Metric
    silos: str
    unit: str
    guess: str
    guessed: float = 0.0
    by_time: bool = False

    def seeded(self, table: Path, seed: int) -> dict[str, object]:
        """Settings of one seed: the table, first weights and batches, and which rows are held out."""
        settings: dict[str, object] = {"data.name": str(table), "seed": seed}
        return settings if self.by_time else settings | {"data.split_seed": seed}

    @property
    def folder(self) -> Path:
        """The example's folder."""
        return _EXAMPLES / self.name

    @property
    def secure(self) -> Path:
        """The configuration without noise."""
        return self.folder / "secure.toml"

    @property
    def private(self) -> Path:
        """The configuration with epsilon for persons or records."""
        return self.folder / "private.toml"

    def write(self, path: Path) -> None:
        """Write the example's table, by the example's own code."""
        runpy.run_path(str(self.folder / "__main__.py"), run_name=self.name)["write"](path)


FIELDS = {
    field.name: field
    for field in (
        Field("healthcare", Auc(), "towns", "person", "one risk for all"),
        Field("finance", Auc(), "states", "record", "one risk for all"),
        Field("supply_chain", Auc(), "carriers", "record", "one risk for all", by_time=True),
        Field("manufacturing", Auc(), "runs", "record", "one risk for all"),
        Field("energy", Rmse(), "states", "record", "as in the year before", by_time=True),
    )
}
"""All fields by their names."""
