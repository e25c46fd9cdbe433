"""Sums in NVFlare's simulator: exact, and a site that ends at a stage costs no more than itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nvflare", reason="needs the environment of constraints-peers.txt")

from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from fedavg.adapters.nvflare import SumController
from fedavg.adapters.nvflare.executor import ANSWER, PARTY, QUESTION, TASK
from fedavg.errors import ConfigError, LocalProtocolError
from tests.interop.nvflare.enrolled import enrol
from tests.interop.nvflare.parts import KnownExecutor, known

ROOT = Path(__file__).resolve().parents[3]
LENGTH = 200


def simulated(folder, *options):
    """What the simulator says, and the survivors of each sum; raises if a sum is not exact."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.nvflare.simulated", str(folder), *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    found = {}
    for path in (folder / "server").glob("sum-*.npz"):
        number, kept = int(path.stem.split("-")[1]), np.load(path)
        found[number] = kept["survivors"].tolist()
        expected = sum(known(client, number, LENGTH) for client in found[number])
        assert np.array_equal(kept["total"], expected)
    return done.stdout + done.stderr, found


@pytest.mark.parametrize("members", [0, 6])
def test_two_rounds_are_exact(tmp_path, members):
    said, found = simulated(tmp_path / "run", "--clients", 6, "--members", members, "--rounds", 2)
    assert found == {1: list(range(6)), 2: list(range(6))}, said
    assert len(re.findall(r"stage \d\.\d: [\d.]+ s", said)) == 2 * (4 if members else 6)


@pytest.mark.parametrize(
    ("members", "dies", "at", "first"),
    [
        (0, "client-2", "1.0", {0, 1, 3, 4, 5}),
        (0, "client-2", "1.3", {0, 1, 3, 4, 5}),
        (0, "client-2", "1.5", {0, 1, 2, 3, 4, 5}),
        (6, "client-2", "1.0", {0, 1, 3, 4, 5}),
        (6, "member-2", "1.1", {0, 1, 2, 3, 4, 5}),
        (6, "member-2", "1.3", {0, 1, 2, 3, 4, 5}),
    ],
)
def test_a_site_that_ends_at_a_stage_leaves_the_rounds_exact(tmp_path, members, dies, at, first):
    """Its party is in the sum if its vector had left; the simulator does not start a site again."""
    said, found = simulated(
        tmp_path / "run",
        *("--clients", 6, "--members", members, "--rounds", 2),
        *("--dies", dies, "--at", at, "--stage-timeout", 60),
    )
    assert {number: set(clients) for number, clients in found.items()} == {
        1: first,
        2: {0, 1, 3, 4, 5},
    }, said


def test_too_many_sites_lost_end_in_no_sum(tmp_path):
    said, found = simulated(
        tmp_path / "run",
        "--clients",
        3,
        "--rounds",
        1,
        "--dies",
        "client-2",
        "--at",
        "1.3",
        "--stage-timeout",
        60,
    )
    assert found == {}
    assert "round 1: no sum: too few" in said


def task(name, question):
    data = Shareable()
    data[PARTY], data[QUESTION] = name, question
    return data


@pytest.mark.parametrize("name", ["../client-1", "server", "client-9", "", "/etc", 3, None])
def test_a_server_reaches_no_other_folder(tmp_path, name):
    enrol(tmp_path / "run", 3, 0)
    executor = KnownExecutor(str(tmp_path / "run"))
    executor.at = executor.dies = "nothing"
    reply = super(KnownExecutor, executor).execute(TASK, task(name, b"q"), FLContext(), Signal())
    assert reply.get_return_code() in {ReturnCode.BAD_TASK_DATA, ReturnCode.EXECUTION_EXCEPTION}
    assert ANSWER not in reply


@pytest.mark.parametrize("question", [b"", b"noise", "text", None, 7])
def test_other_bytes_than_a_question_get_no_answer(tmp_path, question):
    enrol(tmp_path / "run", 3, 0)
    executor = KnownExecutor(str(tmp_path / "run"))
    data = task("client-1", question)
    reply = super(KnownExecutor, executor).execute(TASK, data, FLContext(), Signal())
    assert reply.get_return_code() in {ReturnCode.BAD_TASK_DATA, ReturnCode.EXECUTION_EXCEPTION}
    other = super(KnownExecutor, executor).execute("train", data, FLContext(), Signal())
    assert other.get_return_code() == ReturnCode.BAD_TASK_DATA


def test_a_controller_refuses_sites_that_do_not_fit(tmp_path):
    sites = enrol(tmp_path / "run", 3, 0)
    folder = str(tmp_path / "run" / "server")
    for wrong in ({**sites, "site-9": ["client-9"]}, dict(list(sites.items())[1:])):
        with pytest.raises(ConfigError, match="run each party of the agreement once"):
            SumController(folder, wrong).start_controller(FLContext())
    for number in (0, 1.5, True, "2"):
        with pytest.raises(LocalProtocolError, match="rounds must be"):
            SumController(folder, sites, rounds=number)
        with pytest.raises(LocalProtocolError, match="stage_timeout must be"):
            SumController(folder, sites, stage_timeout=number)
