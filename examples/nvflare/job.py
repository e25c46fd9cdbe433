"""Two secure sums in NVFlare's simulator, among the parties that were enrolled in a folder.

Run: PYTHONPATH=examples/nvflare python examples/nvflare/job.py demo
"""

from __future__ import annotations

import sys
from pathlib import Path

from my_executor import MyExecutor
from nvflare.job_config.api import FedJob

from fedavg.adapters.nvflare import SumController


def main(root: Path) -> None:
    """Client i and member i run at site i + 1."""
    sites: dict[str, list[str]] = {}
    for name in sorted(path.name for path in root.iterdir() if "-" in path.name):
        sites.setdefault(f"site-{int(name.split('-')[1]) + 1}", []).append(name)
    job = FedJob("secure_sums")
    job.to_server(SumController(str(root / "server"), sites, rounds=2))
    job.to_clients(MyExecutor(str(root)), tasks=["secure_sum"])
    job.simulator_run(str(root / "workspace"), n_clients=len(sites), threads=len(sites))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
