"""NVFlare's proof-of-concept deployment as processes on loopback: a server, sites, and one of them killed.

As a program it prints what happens: python -m tests.interop.nvflare.deployment FOLDER --help
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from nvflare.fuel.flare_api.flare_api import new_secure_session
from nvflare.job_config.api import FedJob

from tests.interop.nvflare.enrolled import enrol
from tests.interop.nvflare.parts import KnownExecutor, ModelController

ROOT = Path(__file__).resolve().parents[3]
ADMIN = "admin@nvidia.com"
_GRACE = 20  # seconds for NVFlare to close a job


class Deployment:
    """The processes of a provisioned project, with mutual TLS, ended when the context ends.

    Args:
        folder: a new folder for all files.
        sites: number of sites.
    """

    def __init__(self, folder, sites):
        self.folder, self.sites = folder, [f"site-{number + 1}" for number in range(sites)]
        self._processes = {}
        self._read = 0
        self._environment = {
            **os.environ,
            "HOME": str(folder / "home"),  # the tool keeps its settings there
            "NVFLARE_POC_WORKSPACE": str(folder / "poc"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        (folder / "home").mkdir(parents=True)
        tool = Path(sys.executable).parent / "nvflare"
        subprocess.run(
            [tool, "poc", "prepare", "-n", str(sites), "--force"],
            env=self._environment,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        (self.kits,) = (folder / "poc" / "example_project").glob("prod_*")
        self.port = _free_port()
        for path in self.kits.glob("*/startup/fed_*.json"):
            # The server would listen on all interfaces under the name that the tool gives it.
            text = path.read_text().replace("8002", str(self.port))
            text = text.replace('"server:', '"localhost:')
            path.write_text(text.replace('"admin_server": "server"', '"admin_server": "localhost"'))

    def __enter__(self):
        try:
            self._start("server", "server.server_train", "fed_server.json")
            self._await_port()
            for site in self.sites:
                self.start_site(site)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in list(self._processes):
            self.stop(name)

    def start_site(self, site):
        """Start a site."""
        self._start(site, "client.client_train", "fed_client.json", f"uid={site}")

    def _start(self, name, module, settings, *values):
        command = (sys.executable, "-u", "-m", f"nvflare.private.fed.app.{module}")
        kit = ("-m", self.kits / name, "-s", settings, "--set", "secure_train=true")
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*map(str, command + kit), *values, "org=nvidia", "config_folder=config"],
                env=self._environment,
                cwd=self.kits / name,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # the processes of its jobs are in its group
            )

    def stop(self, name):
        """Kill a process that this object started, and the processes of its jobs."""
        process = self._processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)

    def run(self, job, limit, seen):
        """Run an exported job; `seen` is given each line of the server's log. How it ended."""
        session, over = self._session(), 0.0
        try:
            number = session.submit_job(str(job))
            began = time.monotonic()
            while time.monotonic() - began < limit:
                lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
                for line in lines[self._read :]:
                    seen(line)
                    if "Server runner finished" in line:
                        over = time.monotonic()
                self._read = len(lines)
                status = session.get_job_meta(number)["status"]
                if status.startswith("FINISHED"):
                    return status
                # NVFlare waits for a site that was killed long after the last round is over.
                if over and time.monotonic() - over > _GRACE:
                    break
                time.sleep(0.5)
            session.abort_job(number)
            return f"{status}, aborted"
        finally:
            session.close()

    def _session(self):
        """A session of the administrator, once all sites have registered."""
        for _ in range(120):
            session = new_secure_session(ADMIN, str(self.kits / ADMIN), timeout=60.0)
            if len(session.get_system_info().client_info) == len(self.sites):
                return session
            session.close()
            time.sleep(1)
        raise TimeoutError((self.folder / "server.log").read_text()[-3000:])

    def _await_port(self):
        for _ in range(600):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError((self.folder / "server.log").read_text()[-3000:])


def _free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--members", type=int, default=0, help="of a committee; 0 for SecAgg")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stage-timeout", type=int, default=30)
    parser.add_argument("--dies", default="", help="party whose site is killed")
    parser.add_argument("--at", default="", help="ticket at which it is killed, such as 1.3")
    parser.add_argument("--limit", type=float, default=600)
    given = parser.parse_args()
    root, began = given.folder, time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes end with this one

    def told(line):
        if found := re.search(r"stage \d.*|round \d.*|a late answer.*|rror.*|died.*|dead.*", line):
            print(f"{time.monotonic() - began:6.1f} {found[0][:200]}", flush=True)  # noqa: T201 - a program

    with Deployment(root / "nvflare", given.sites) as deployment:
        parties = root / "parties"
        sites = enrol(parties, given.sites, given.members, sites=given.sites)

        def run(name, rounds, dies):
            controller = ModelController(
                str(parties / "server"), sites, rounds, given.stage_timeout
            )
            job = FedJob(name, min_clients=given.sites)
            job.to_server(controller)
            for site in deployment.sites:
                executor = KnownExecutor(str(parties), dies, given.at, whole_site=True)
                job.to(executor, site, tasks=["secure_sum"])
            job.export_job(str(root / "jobs"))
            ended = deployment.run(root / "jobs" / name, given.limit, told)
            print(f"{name}: {ended}", flush=True)  # noqa: T201 - a program

        run("sums", given.rounds, given.dies)
        if given.dies:
            (site,) = (site for site, names in sites.items() if given.dies in names)
            deployment.stop(site)
            deployment.start_site(site)
            run("again", 1, "")


if __name__ == "__main__":
    main()
