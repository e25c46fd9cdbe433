"""Flower's own simulation runtime (Ray), one actor a core."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.simulation.task import Task
    from benchmarks.simulation.turns import Turns

__all__ = ["play"]


def play(task: Task, turns: Turns) -> None:
    """Run the rounds; the server's app makes turns of its own."""
    del turns
    for name in ("RAY_DISABLE_DOCKER_CPU_WARNING", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    from benchmarks.simulation.contestants import flower_app  # noqa: PLC0415 - a peer

    os.environ[flower_app.TASK] = task.to_json()
    from flwr.simulation import run_simulation  # noqa: PLC0415 - a peer

    run_simulation(
        flower_app.server,
        flower_app.client,
        task.clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": max(task.workers, 1), "include_dashboard": False},
        },
    )
