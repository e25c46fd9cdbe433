"""The five fields of work: gains of federated training and costs of privacy, on the examples' tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.fields import rows
from benchmarks.fields.catalogue import FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench, names: Sequence[str] = tuple(FIELDS)) -> None:
    """Train each field's model in every way, over five seeds, and report a table each.

    Args:
        bench: where results go.
        names: names of the fields.
    """
    for name in names:
        rows.add(bench, FIELDS[name], seeds=bench.pick(quick=1, default=5, full=5))
