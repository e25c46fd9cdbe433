"""The blocks suite: what a client saves that trains one block of the model, and what accuracy it costs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Measure two models, cut both ways into 1, 2, 4 and 8 blocks; no peer has this under a secure sum."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler announces itself otherwise
    from benchmarks.blocks import rows  # noqa: PLC0415 - the command sets the environment

    rows.everything(bench)
