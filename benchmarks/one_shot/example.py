"""The built-in example under `--secure-sum one-shot` and under `secagg`, on the wall."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Cost

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_SHORT = 1
"""Rounds of the run that is subtracted: start of the interpreter, data, calibration."""


def run(bench: Bench) -> None:
    """Both take turns; what a run of one round takes is measured beside it, and left out."""
    rounds = bench.pick(quick=2, default=6, full=30)
    contestants = {
        f"{kind} {count}": partial(_wall, kind, count)
        for count in (_SHORT, rounds)
        for kind in ("one-shot", "secagg")
    }
    times = bench.contest(
        "the built-in example",
        contestants,
        rounds=bench.pick(quick=1, default=1, full=5),
        warm_up=False,
    )
    ours, theirs = times[f"one-shot {rounds}"], times[f"secagg {rounds}"]
    short = {kind: times[f"{kind} {_SHORT}"].median for kind in ("one-shot", "secagg")}
    bench.add(
        Measure(
            "example",
            f"`fedavg run --secure-sum one-shot --rounds {rounds}` against secagg",
            "wall s",
            ours,
            theirs,
            ratio=ours.median / theirs.median,
            bar=bench.bar(1.2, 0.8, at_most=True),
            note=f"whole commands, with the start of the interpreter; runs of one round take "
            f"{short['one-shot']:.3g} and {short['secagg']:.3g} s",
        )
    )


def _wall(kind: str, rounds: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fedavg", "run", "--secure-sum", kind]
        command += ["--rounds", str(rounds), "--out", f"{folder}/run"]
        begun = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
        return Cost(time.monotonic() - begun)
