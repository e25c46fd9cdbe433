"""Sums over HTTP and TLS: the server's process is killed, parties vanish and come back, messages are lost."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import tokenize

import httpx
import pytest
import typer

from tests.interop.http.crowd import EXAMPLE, ROOT, Crowd

TIMEOUT = (
    15  # seconds that a stage waits for a party that is gone; long beside a stage of a busy machine
)


def test_the_example_is_under_200_lines():
    """Lines of code: neither blank, nor comment, nor docstring."""
    lines = 0
    for path in EXAMPLE.glob("*.py"):
        quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
        found, fresh = set(), True
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                docstring = fresh and token.type == tokenize.STRING
                if (
                    token.type not in quiet | {tokenize.ENCODING, tokenize.ENDMARKER}
                    and not docstring
                ):
                    found.update(range(token.start[0], token.end[0] + 1))
                fresh = token.type in quiet | {tokenize.ENCODING}
        lines += len(found)
    assert lines < 200


def test_one_shot_survives_a_lossy_network_and_restarts_of_everybody(tmp_path):
    """In round 1 members restart at each stage, clients before and after their message; in 2 the server."""
    crowd = Crowd(tmp_path / "demo", clients=12, members=9)
    crowd.slow = {"client-1": 0.5, "member-7": 0.5}
    crowd.dies_before = {"client-3": "1.0", "member-0": "1.1", "member-1": "1.2", "member-2": "1.3"}
    crowd.dies_after = {"client-4": "1.0", "member-3": "1.1", "member-4": "1.2", "member-5": "1.3"}
    crowd.kill_at = "2.2"
    codes = asyncio.run(crowd.run((2, 3 * TIMEOUT), (1, 3 * TIMEOUT)))
    assert codes == [-9, 0]
    everybody = list(range(12))
    # What was computed is sent again after a restart, so that nobody is lost in round 1.
    assert crowd.check() == {1: everybody, 3: everybody}
    assert len(crowd.lines) == 2


def test_secagg_loses_a_client_at_each_stage_and_the_server_in_one(tmp_path):
    """A client that ends after its keys takes no part again until the next round, and keeps one answer."""
    crowd = Crowd(tmp_path / "demo", clients=10, members=0)
    crowd.dies_before = {"client-2": "1.2"}
    crowd.dies_after = {"client-5": "1.4"}
    crowd.kill_at = "2.3"
    codes = asyncio.run(crowd.run((2, TIMEOUT), (1, TIMEOUT)))
    assert codes == [-9, 0]
    found = crowd.check()
    assert set(found) == {1, 3}
    assert {5} <= set(found[1]) <= set(range(10)) - {2}  # 5 had sent its vector
    assert found[3] == list(range(10))


def test_too_few_clients_end_in_no_sum_and_the_next_round_is_exact(tmp_path):
    crowd = Crowd(tmp_path / "demo", clients=6, members=0)
    crowd.dies_before = {f"client-{i}": "1.3" for i in range(4)}
    codes = asyncio.run(crowd.run((2, TIMEOUT)))
    assert codes == [0]
    assert crowd.lines[0].startswith("round 1: no sum: too few")
    assert crowd.check() == {2: list(range(6))}


def test_processes_of_their_own_and_strangers(tmp_path):
    """A client as a process, as the page starts it; a stranger without a certificate gets no answer."""
    crowd = Crowd(tmp_path / "demo", clients=6, members=0)
    client = [EXAMPLE / "party.py", crowd.root / "client-0"]
    process = subprocess.Popen(
        [sys.executable, *map(str, client), "--server", f"https://localhost:{crowd.port}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )

    async def knock():
        tls = ssl.create_default_context(cafile=crowd.root / "server" / "ca.crt")
        async with httpx.AsyncClient(verify=tls, timeout=30) as http:
            await crowd.said_something.wait()
            with pytest.raises(httpx.TransportError):
                await http.get(f"https://localhost:{crowd.port}/client-1")

    async def both():
        return await asyncio.gather(crowd.run((2, 60), absent=["client-0"]), knock())

    try:
        asyncio.run(both())
    finally:
        process.kill()
        process.wait()
    assert crowd.check() == {1: list(range(6)), 2: list(range(6))}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """One of the example's programs to its end."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_folder_is_enrolled_once_and_a_sentence_says_so(tmp_path):
    command = (EXAMPLE / "enrol.py", tmp_path / "demo", "--clients", 3, "--length", 10)
    assert run(*command).returncode == 0
    keys = (tmp_path / "demo" / "client-1" / "identity").read_bytes()
    again = run(*command)
    assert again.returncode == 1
    assert again.stderr.startswith("error: ")
    assert "Traceback" not in again.stderr
    assert (tmp_path / "demo" / "client-1" / "identity").read_bytes() == keys


def test_a_party_whose_update_fails_says_why_and_ends(tmp_path, monkeypatch, capsys):
    """Zeros in its place would be a vector like any other, and silence in a loop would train for ever."""
    assert run(EXAMPLE / "enrol.py", tmp_path / "demo", "--clients", 3).returncode == 0
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import party as example

    class Asked:
        seen = "1.0"

        def answer(self, question):
            raise ZeroDivisionError("no examples")

    async def reply(_):
        return httpx.Response(200, content=b"question", request=httpx.Request("GET", "http://s/c"))

    async def followed():
        async with httpx.AsyncClient(
            base_url="http://server", transport=httpx.MockTransport(reply)
        ) as http:
            await example.follow(Asked(), "client-1", http)

    with pytest.raises(typer.Exit) as caught:
        asyncio.run(followed())
    assert caught.value.exit_code == 1
    assert "client-1 ends: ZeroDivisionError: no examples" in capsys.readouterr().out
