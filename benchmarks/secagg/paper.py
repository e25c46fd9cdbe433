"""Parameters on paper, up to a million clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.kit.measure import Table
from secagg import UnsafeParametersError
from secagg.params.derivation import requirements

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench
    from secagg.params.derivation import ThreatModel

__all__ = ["run"]

_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
_RATES = (0.05, 0.1)
_MODELS: tuple[ThreatModel, ...] = ("malicious", "malicious-local", "semi-honest")


def run(bench: Bench) -> None:
    """Neighbours, threshold and quorum for each threat model; "–" where no session is allowed."""
    rows: list[tuple[object, ...]] = []
    for model in _MODELS:
        for rate in _RATES:
            for n in _SIZES:
                try:
                    need = requirements(n, rate, rate, model)
                except UnsafeParametersError:
                    rows.append((model, rate, f"{n:,}", "–", "–", "–", "–"))
                    continue
                figures = (need.degree, need.threshold, need.quorum, f"{need.min_survivors:,}")
                rows.append((model, rate, f"{n:,}", *figures))
    columns = ("model", "drop = collude", "n", "neighbours", "threshold", "quorum", "smallest sum")
    bench.add(Table("paper", "parameters on paper", columns, rows))
