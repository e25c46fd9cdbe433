"""Sums in NVFlare's simulator, as a command: python -m tests.interop.nvflare.simulated FOLDER [options]."""

from __future__ import annotations

import argparse
from pathlib import Path

from nvflare.job_config.api import FedJob

from tests.interop.nvflare.enrolled import enrol
from tests.interop.nvflare.parts import KnownExecutor, ModelController


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--members", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stage-timeout", type=int, default=60)
    parser.add_argument("--dies", default="")
    parser.add_argument("--at", default="")
    given = parser.parse_args()
    root = given.folder
    sites = enrol(root, given.clients, given.members)
    job = FedJob("sums")
    controller = ModelController(str(root / "server"), sites, given.rounds, given.stage_timeout)
    job.to_server(controller)
    job.to_clients(KnownExecutor(str(root), given.dies, given.at), tasks=["secure_sum"])
    job.simulator_run(str(root / "workspace"), n_clients=len(sites), threads=len(sites))


if __name__ == "__main__":
    main()
