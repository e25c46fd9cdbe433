"""Secure means in Flower's simulation, and on a SuperLink with four SuperNodes as processes.

The second takes minutes for each case: it runs when RUN_DEPLOYMENTS is set.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from fedavg.adapters.exchange.vectors.coordinates import Coordinates
from tests.interop.flower.support.deployment import STAGES, Deployment, Killer
from tests.interop.flower.support.guard import Guard
from tests.interop.flower.support.simulated import SUMS, fit, model, terms

_ROOT = Path(__file__).resolve().parents[3]
_ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(_ROOT),
    "FLWR_TELEMETRY_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}

_UNSENT = ("contribute", "advertise_keys", "share_keys", "check_shares", "masked_input")
"""Stages in which a node that dies has not sent its record."""


@pytest.mark.parametrize("chosen", SUMS)
def test_the_simulation_gives_our_own_sum_to_the_bit(chosen):
    command = (
        sys.executable,
        "-m",
        "tests.interop.flower.support.simulated",
        "secure",
        "--sum",
        chosen,
    )
    done = subprocess.run(
        [*command, "--nodes", "6", "--rounds", "1", "--parameters", "64"],
        env=_ENVIRONMENT,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["complete"] == [True]
    start = model(64)
    at = Coordinates.of(terms(6, chosen), "train", start)
    total = sum(at.encode(*fit(node, start), start) for node in range(6))
    expected = at.decode(total, tuple(range(6)), start)
    np.testing.assert_array_equal(np.array(found["weights"], np.float32), expected.arrays["w"])


@pytest.mark.skipif("RUN_DEPLOYMENTS" not in os.environ, reason="takes minutes for each case")
@pytest.mark.parametrize(
    ("chosen", "stage"),
    [(chosen, stage) for chosen, stages in STAGES.items() for stage in (*stages, "")],
    ids=lambda name: name or "nobody",
)
def test_a_killed_supernode_costs_one_round_its_record_at_most(chosen, stage, tmp_path):
    with Deployment(tmp_path, 4, chosen=chosen) as deployment:
        times = "fraction-evaluate=0.0 train-timeout=120.0 stage-timeout=90.0"
        log = deployment.run(
            f"num-server-rounds=2 {deployment.settings} {times}",
            done="finished: |Traceback|Invalid",
            limit=900,
            seen=Killer(deployment, stage, lambda _: None),
        )
    # The round is complete without the killed node, and the next one has all four.
    nodes = 3 if stage in _UNSENT else 4
    assert f"secure sum 1 (train): mean of {nodes} nodes" in log, log[-3000:]
    assert "secure sum 2 (train): mean of 4 nodes" in log, log[-3000:]
    assert "finished: weights" in log
    # Nothing of a masked sum is left in a node's folder.
    assert not list(tmp_path.glob("keys/*/secagg.state*"))


@pytest.mark.skipif("RUN_DEPLOYMENTS" not in os.environ, reason="takes minutes for each case")
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_tls_authenticated_nodes_and_trusted_signers(signed, tmp_path):
    """SuperNodes with --trusted-entities run a signed app, and refuse one without a signature."""
    guard = Guard.made(tmp_path / "guard", 4, signed=signed)
    with Deployment(tmp_path, 4, guard=guard) as deployment:
        times = "fraction-evaluate=0.0 train-timeout=120.0 stage-timeout=90.0"
        log = deployment.run(
            f"num-server-rounds=1 {deployment.settings} {times}",
            done="finished: |Traceback|Invalid",
            limit=900,
        )
        nodes = "".join(deployment.log(f"node{node}") for node in range(4))
    if signed:
        assert "secure sum 1 (train): mean of 4 nodes" in log, log[-3000:]
    else:
        # A node that runs nothing of the app does not even send its sealing key.
        refused = "secure sum 1 (train): 4 members of the committee have sent no sealing key"
        assert refused in log, log[-3000:]
        assert nodes.count("The FAB could not be verified") == 4
