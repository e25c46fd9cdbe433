"""A SuperLink and SuperNodes as real processes on this machine, and a run of an app on them.

As a program it prints what happens: python -m tests.interop.flower.support.deployment --help
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fedavg import FixedPoint, OneShot, SecAgg
from fedavg.adapters.exchange import Record, Terms, enrol_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.flower.support.guard import Guard

ROOT = Path(__file__).resolve().parents[4]
APP = ROOT / "examples" / "flower"
BIN = Path(sys.executable).parent
_ENCODING = FixedPoint(2.0, 20, rounding="nearest")


def one_shot(nodes: int) -> OneShot:
    """All nodes are members of the committee; one of them may be lost."""
    return OneShot(committee=nodes, corrupt_members=0, absent_members=1, dropout_rate=1 / nodes)


def masked(nodes: int) -> SecAgg:
    """One node may be lost, and one may collude with the server."""
    return SecAgg(dropout_rate=1 / nodes)


SUMS = {"one-shot": one_shot, "secagg": masked}


def terms(nodes: int, chosen: str = "one-shot") -> Terms:
    """What the nodes of the example agree on."""
    return Terms(
        SUMS[chosen](nodes),
        {
            "train": Record(_ENCODING, metrics={"train_loss": 10.0}, ranges={"steps": 1000.0}),
            "evaluate": Record(_ENCODING, arrays=(), metrics={"eval_loss": 10.0, "eval_acc": 1.0}),
        },
        max_weight=1000,
    )


class Deployment:
    """Processes on loopback, ended when the context ends.

    Args:
        folder: for logs, Flower's own files, and the nodes' folders.
        nodes: number of SuperNodes.
        plain: whether the app runs without secure sums.
        chosen: name of the sum, one of `SUMS`.
        guard: TLS, node authentication and trusted signers; None for `--insecure`.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int,
        *,
        plain: bool = False,
        chosen: str = "one-shot",
        guard: Guard | None = None,
    ) -> None:
        self.folder, self.nodes, self.app = folder, nodes, folder / "app"
        self._terms = terms(nodes, chosen)
        shutil.copytree(APP, self.app, ignore=shutil.ignore_patterns("__pycache__", "*.fab"))
        if plain:
            _without_us(self.app / "quick")
        self._guard = guard
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._port = _free_ports(1 + nodes)
        home = folder / "home"
        home.mkdir(parents=True)
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "127.0.0.1:{self._port[0]}"\n'
            + (guard.connection if guard else "insecure = true\n")
        )
        self._environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),  # how the package gets to the nodes here
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            **(guard.environment if guard else {}),
        }

    @property
    def settings(self) -> str:
        """The app's settings for these nodes."""
        path = self.folder / "keys" / "agreement.json"
        return f'nodes={self.nodes} agreement="{path}"'

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self) -> None:
        enrol_here(self.folder / "keys", self.nodes, self._terms)
        link = self._port[0]
        signing = (sys.executable, "-m", "tests.interop.flower.support.guard")
        command = signing if self._guard and self._guard.signed else (BIN / "flower-superlink",)
        options = self._guard.link if self._guard else ("--insecure",)
        here = ("--host", "127.0.0.1", "--port", link)
        self._start(
            "superlink", *command, *options, *here, "--disable-runtime-dependency-installation"
        )
        self._await_port(link)
        for node in range(self.nodes if self._guard else 0):
            key = self._guard.folder / f"node{node}.pub"
            subprocess.run(
                [BIN / "flwr", "supernode", "register", key, "here"],
                env=self._environment,
                check=True,
                timeout=120,
            )
        for node in range(self.nodes):
            self.start_node(node)

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.stop(name, signal.SIGTERM)
        time.sleep(1)

    def _start(self, name: str, *command: object) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(part) for part in command],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start_node(self, node: int) -> None:
        """Start a SuperNode."""
        own = self.folder / "keys" / str(node)
        self._start(
            f"node{node}",
            BIN / "flower-supernode",
            *(self._guard.node(node) if self._guard else ("--insecure",)),
            "--superlink",
            f"127.0.0.1:{self._port[0]}",
            "--host",
            "127.0.0.1",
            "--port",
            self._port[1 + node],
            "--node-config",
            f'partition-id={node} fedavg-folder="{own}"',
        )

    def stop(self, name: str, how: int = signal.SIGKILL) -> None:
        """End a process that this object started, and its children."""
        process = self._processes.pop(name, None)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, how)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=20)

    def log(self, name: str) -> str:
        """What a process has printed."""
        return re.sub(r"\x1b\[\d+m", "", (self.folder / f"{name}.log").read_text(errors="replace"))

    def run(
        self, settings: str, *, done: str, limit: float, seen: Callable[[str], None] | None = None
    ) -> str:
        """Run the app until its log has `done`; `seen` is given every line."""
        command = (BIN / "flwr", "run", self.app, "here", "--stream", "--run-config", settings)
        self._start("run", *command)
        began, read = time.monotonic(), 0
        while time.monotonic() - began < limit:
            lines = self.log("run").splitlines()
            for line in lines[read:]:
                if seen is not None:
                    seen(line)
            read = len(lines)
            if re.search(done, self.log("run")):
                break
            time.sleep(0.1)
        return self.log("run")

    def _await_port(self, port: int) -> None:
        for _ in range(600):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError(self.log("superlink"))


def _without_us(app: Path) -> None:
    """Take the four lines about secure sums out of the app."""
    for name in ("client_app.py", "server_app.py"):
        text = (app / name).read_text()
        text = re.sub(r"mods=\[secure_mod\(.*\)\]", "", text)
        text = re.sub(r"(?m)^(from fedavg|    grid = SecureGrid).*\n", "", text)
        (app / name).write_text(text)


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


STAGES = {
    "one-shot": ("contribute", "report", "sign", "answer"),
    "secagg": (
        "advertise_keys",
        "share_keys",
        "check_shares",
        "masked_input",
        "consistency",
        "unmask",
    ),
}
"""The stages of each sum, in order."""


def _begins(stages: tuple[str, ...]) -> dict[str, str]:
    before = ("configure_train: Sampled", *(f"secure sum 1, {stage}:" for stage in stages))
    return dict(zip(stages, before, strict=False))


WHEN = {stage: line for stages in STAGES.values() for stage, line in _begins(stages).items()}
"""The line of the run's log after which a stage of the first sum begins."""


class Killer:
    """Kills a node when a stage of the first sum begins, and starts it again when the sum is over.

    Args:
        deployment: the processes.
        stage: the stage; "" to kill nobody.
        told: is given every line.
    """

    def __init__(self, deployment: Deployment, stage: str, told: Callable[[str], None]) -> None:
        self._deployment, self._told = deployment, told
        self._node = deployment.nodes - 1
        self._next = [(WHEN[stage], self._kill), ("secure sum 1 (", self._restart)] if stage else []

    def __call__(self, line: str) -> None:
        """See a line of the run's log."""
        self._told(line)
        if self._next and self._next[0][0] in line:
            self._next.pop(0)[1]()

    def _kill(self) -> None:
        self._deployment.stop(f"node{self._node}")
        self._told(f"killed node {self._node}")

    def _restart(self) -> None:
        self._deployment.start_node(self._node)
        self._told(f"started node {self._node} again")


def main() -> None:
    """Run the example once, and kill the last node at a stage of the first sum if asked to."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600)
    parser.add_argument("--kill", choices=WHEN, default="")
    parser.add_argument("--settings", default="", help="further settings of the app")
    parser.add_argument("--sum", choices=SUMS, default="one-shot")
    parser.add_argument("--plain", action="store_true", help="without secure sums")
    parser.add_argument(
        "--guarded", choices=("signed", "unsigned"), help="TLS, and trusted signers"
    )
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()

    def told(line: str) -> None:
        if given.verbose or re.search(
            r"secure sum|ROUND|node \d|accuracy|rror|refused|finished:", line
        ):
            print(f"{time.monotonic() - began:6.1f} {line[:300]}", flush=True)  # noqa: T201 - a program

    folder = Path(tempfile.mkdtemp(prefix="flower-"))
    told(f"logs of node 0 and the others: {folder}")
    guard = None
    if given.guarded:
        from tests.interop.flower.support.guard import Guard

        guard = Guard.made(folder / "guard", given.nodes, signed=given.guarded == "signed")
    how = {"plain": given.plain, "chosen": given.sum, "guard": guard}
    with Deployment(folder, given.nodes, **how) as deployment:
        deployment.run(
            f"num-server-rounds={given.rounds} {deployment.settings} {given.settings}".strip(),
            done="finished: |Traceback|Invalid",
            limit=given.limit,
            seen=Killer(deployment, given.kill, told),
        )


if __name__ == "__main__":
    main()
