"""Sums on NVFlare's processes under mutual TLS: a site that is killed costs no more than itself.

It takes minutes for each case: it runs when RUN_DEPLOYMENTS is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nvflare", reason="needs the environment of constraints-peers.txt")

from tests.interop.nvflare.parts import known

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif("RUN_DEPLOYMENTS" not in os.environ, reason="takes minutes for each case")
@pytest.mark.parametrize(
    ("members", "dies", "at", "first"),
    [
        (6, "client-3", "1.0", {0, 1, 2}),
        *((6, "member-3", f"1.{stage}", {0, 1, 2, 3}) for stage in (1, 2, 3)),
        (0, "client-3", "1.0", {0, 1, 2}),
        (0, "client-3", "1.3", {0, 1, 2}),
        (0, "client-3", "1.5", {0, 1, 2, 3}),
    ],
)
def test_a_killed_site_leaves_the_round_exact_and_takes_part_in_the_next_job(
    tmp_path, members, dies, at, first
):
    """The site's process and that of its job are killed as the site is asked."""
    options = ("--members", members, "--dies", dies, "--at", at, "--rounds", 1)
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.nvflare.deployment", str(tmp_path / "run")]
        + [str(option) for option in (*options, "--stage-timeout", 20)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    for number, clients in ((1, first), (2, {0, 1, 2, 3})):
        kept = np.load(tmp_path / "run" / "parties" / "server" / f"sum-{number}.npz")
        assert set(kept["survivors"].tolist()) == clients, done.stdout
        expected = sum(known(client, number, 200) for client in clients)
        np.testing.assert_array_equal(kept["total"], expected)
    assert "again: FINISHED:COMPLETED" in done.stdout
