"""A crowd of parties around one server process: connections fail, parties vanish and come back.

The load test is `python -m tests.interop.http.crowd`: 200 clients for each kind of sum.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import os
import resource
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from fedavg.adapters.polling import Letter, open_party, read_agreement

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "embed_http"
PATIENCE = 600.0  # seconds after which a crowd counts as hung; no test is about time


def load(name):
    """A module of the example."""
    spec = importlib.util.spec_from_file_location(f"embed_http_{name}", EXAMPLE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


enrol, example = load("enrol"), load("party")
example.PAUSE = 0.05


class Vanished(BaseException):
    """The process of a party ends here; no error, so that the party's own handling does not see it."""


def free_port():
    """A port below those that outgoing connections take, so that it stays free while the server is down."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Lossy(httpx.AsyncBaseTransport):
    """Loses every third answer on its way, and every fourth acknowledgement; keeps what was sent."""

    def __init__(self, inner, crowd, name):
        self.inner, self.crowd, self.name, self.sent = inner, crowd, name, 0

    async def handle_async_request(self, request):
        if request.method != "POST":
            return await self.inner.handle_async_request(request)
        body = await request.aread()
        ticket = Letter.from_bytes(body).ticket
        self.crowd.sent.setdefault((self.name, ticket), set()).add(hashlib.sha256(body).digest())
        await self.crowd.before(self.name, ticket)
        self.sent += 1
        if self.sent % 3 == 0:
            raise httpx.ConnectError("lost on its way")
        response = await self.inner.handle_async_request(request)
        if self.sent % 4 == 0:
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("the acknowledgement is lost")
        await self.crowd.after(self.name, ticket)
        return response

    async def aclose(self):
        await self.inner.aclose()


class Crowd:
    """All parties of one folder in this process, and the server in a process of its own.

    Args:
        root: folder to enrol them in.
        clients: number of clients.
        members: number of members; 0 for SecAgg.
        length: coordinates of a vector.
    """

    def __init__(self, root, clients, members, length=200):
        enrol.main(root, clients=clients, members=members, length=length)
        self.root, self.port, self.lines = root, free_port(), []
        self.agreed = read_agreement(root / "server")
        self.said_something = asyncio.Event()
        self.sent = {}  # (party, ticket) → digests of all answers that left
        self.dies_before, self.dies_after, self.slow = {}, {}, {}
        self.gone_for_good, self.kill_at, self.process = set(), None, None

    async def before(self, name, ticket):
        """What happens to a party that is about to send."""
        await asyncio.sleep(self.slow.get(name, 0))
        self._die(self.dies_before, name, ticket)

    async def after(self, name, ticket):
        """What happens to a party that has sent, and to the server that has received."""
        if ticket == self.kill_at:
            self.kill_at = None
            self.process.kill()
        self._die(self.dies_after, name, ticket)

    def _die(self, when, name, ticket):
        if when.get(name) == ticket:
            del when[name]
            raise Vanished(name)

    async def party(self, name):
        """A party, and after its end a new one from the same folder."""
        folder = self.root / name
        while True:
            http = example.connect(folder, f"https://localhost:{self.port}")
            http._transport = Lossy(http._transport, self, name)
            async with http:
                with contextlib.suppress(Vanished):
                    await example.follow(open_party(folder, example.update), name, http)
            if name in self.gone_for_good:
                return

    async def server(self, rounds, stage_timeout):
        """One life of the server; its lines are kept."""
        command = [sys.executable, EXAMPLE / "server.py", self.root / "server"]
        command += ["--port", self.port, "--rounds", rounds, "--stage-timeout", stage_timeout]
        self.process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        async for line in self.process.stdout:
            self.lines.append(line.decode().strip())
            self.said_something.set()
        return await self.process.wait()

    async def run(self, *lives, absent=()):
        """Run the server for some lives of (rounds, stage time-out), among all parties but the absent."""
        names = [name for name in self.agreed.addresses if name not in absent]
        async with asyncio.timeout(PATIENCE):
            parties = [asyncio.create_task(self.party(name)) for name in names]
            try:
                return [await self.server(*life) for life in lives]
            finally:
                for task in parties:
                    task.cancel()
                ended = await asyncio.gather(*parties, return_exceptions=True)
                bad = [e for e in ended if e and not isinstance(e, asyncio.CancelledError)]
                assert not bad, bad

    def survivors(self):
        """Round → clients in its sum; raises if a sum is not exact."""
        found, length = {}, self.agreed.vector_length
        model = bytes(8 * length)  # of the first round; after it the last sum
        sums = {int(path.stem[4:]): path for path in (self.root / "server").glob("sum-*.npz")}
        for number, path in sorted(sums.items()):
            kept = np.load(path)
            found[number] = kept["survivors"].tolist()
            expected = sum(example.update(i, number, length, model) for i in found[number])
            assert np.array_equal(kept["total"], expected), f"round {number} is wrong"
            model = kept["total"].astype("<i8").tobytes()
        return found

    def check(self):
        """No party gave two answers to one question; every round is exact or said to have no sum."""
        assert all(len(answers) == 1 for answers in self.sent.values())
        assert all("in the sum" in line or "no sum" in line for line in self.lines)
        return self.survivors()


def load_test(clients, members, timeout):
    """Three rounds: clients are slow, some vanish and come back, a member is gone, the server is killed."""
    with tempfile.TemporaryDirectory() as folder:
        crowd = Crowd(Path(folder) / "crowd", clients, members, length=1000)
        crowd.slow = {f"client-{i}": 2.0 for i in range(0, clients, 20)}
        stage = "1.0" if members else "1.3"  # before their vectors leave
        crowd.dies_before = {f"client-{i}": stage for i in range(7, clients, 40)}
        if members:
            crowd.dies_before["member-8"] = "3.2"
            crowd.gone_for_good.add("member-8")
        crowd.kill_at = "2.2"
        began = time.monotonic()
        codes = asyncio.run(crowd.run((2, timeout), (1, timeout)))
        found = crowd.check()
        spent = time.monotonic() - began
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        print(  # noqa: T201 - a command's result
            f"{clients} clients, {members} members: {spent:.0f} s; parties so far {cpu.ru_utime:.0f} CPU s",
            *crowd.lines,
            f"codes of the server {codes}; clients in sums { ({n: len(s) for n, s in found.items()}) }",
            sep="\n",
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--stage-timeout", type=float, default=120.0)
    given = parser.parse_args()
    for members in (9, 0):
        load_test(given.clients, members, given.stage_timeout)
