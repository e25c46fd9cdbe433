"""Every part of docs/extending.md is complete: it runs in a federation, from a module of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.arch.tree import ROOT
from tests.e2e.processes import said_by_script

_PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
_PARTS = dict(
    re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", _PAGE, flags=re.MULTILINE | re.DOTALL)
)
_SUITE = _PARTS.pop("Its tests")
_USE = {
    "A stage: a change to updates": "stages=(SquareRoot(),)",
    "A noise": "noise=TwiceAtTheServer(1.0), encoding=fedavg.FixedPoint(1.0, 12)",
    "A secure sum": "secure_sum=Careful(at_least=12)",
    "A sampler of cohorts": "cohort=Weekday(1.0)",
    "An optimiser of the server": "server_optimizer=SignStep()",
    "An encoding": "encoding=Coarse(8.0, 16, rounding='nearest')",
    "A personalisation": "personalization=Halfway(fedavg.LocalTraining(lr=0.1))",
}
_RUN = """
import numpy as np, torch, fedavg
from my_parts import *
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
rng = np.random.default_rng(0)
x = rng.standard_normal((200, 5)).astype(np.float32)
data = fedavg.Dataset(x, (x[:, 0] > 0).astype(np.int64))
clients = {{i: data.subset(np.arange(10 * i, 10 * i + 10)) for i in range(20)}}
parts = dict(cohort=fedavg.PoissonCohort(1.0), encoding=fedavg.FixedPoint(8.0, 20, rounding="nearest"),
    noise=None, secure_sum=fedavg.SecAgg(), local_training=fedavg.LocalTraining(lr=0.5),
    server_optimizer=fedavg.FedAvg())
plan = fedavg.Plan(**(parts | dict({use})))
assert plan_from_bytes(plan_to_bytes(plan)) == plan
results = list(fedavg.Federation(torch.nn.Linear(5, 2), clients, plan, evaluate=data).run(2))
assert all(result.skipped is None for result in results), results
print("ran", len(results))
"""


_USE_OF_RECORDS = {"A rule over groups": "robust=HalfMedian(3)"}
_RUN_OF_RECORDS = """
import numpy as np, torch, fedavg
from my_parts import *
rng = np.random.default_rng(0)
silos = [fedavg.Dataset(rng.standard_normal((20, 5)), rng.integers(0, 2, 20)) for _ in range(9)]
privacy = fedavg.RecordPrivacy(unit="record", rate=0.5, clip=1.0, max_units=20, noise_multiplier=1.0)
plan = fedavg.RecordPlan(privacy=privacy, steps=2, divisor=90.0, {use})
results = list(fedavg.RecordFederation(torch.nn.Linear(5, 2), silos, plan).run())
assert all(result.groups == 3 for result in results), results
print("ran", len(results))
"""
_SCRIPTS = {title: _RUN.format(use=use) for title, use in _USE.items()} | {
    title: _RUN_OF_RECORDS.format(use=use) for title, use in _USE_OF_RECORDS.items()
}


def test_every_family_of_the_page_is_used() -> None:
    assert set(_SCRIPTS) == set(_PARTS)


@pytest.mark.parametrize("title", _SCRIPTS)
def test_a_part_of_the_page_runs(title, tmp_path) -> None:
    source = _PARTS[title]
    assert len(source.splitlines()) < 40
    (tmp_path / "my_parts.py").write_text(source)
    (tmp_path / "run.py").write_text(_SCRIPTS[title])
    code, said = said_by_script(tmp_path / "run.py")
    assert code == 0, said[-2000:]
    assert "ran 2" in said


def test_the_suite_of_the_page_collects_and_passes(tmp_path) -> None:
    (tmp_path / "my_parts.py").write_text(_PARTS["A stage: a change to updates"])
    (tmp_path / "test_my_parts.py").write_text(_SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_parts.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^7 passed", done.stdout, flags=re.MULTILINE), done.stdout
