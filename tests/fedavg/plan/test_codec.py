"""Plans travel with all that is in them: a loss, a step and a loop of one's own too."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fedavg.algorithms.personal.finetune import FineTune
from fedavg.errors import PlanError
from fedavg.federation.federation import Federation
from fedavg.losses.imported import ImportedLoss
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import MODEL, clients, plan
from tests.fedavg.support import own_parts

OWN = [
    {"loss": own_parts.FourthPower(0.5)},
    {"loss": own_parts.halved},
    {"step": own_parts.step},
    {"loop": own_parts.loop},
]


@pytest.mark.parametrize("own", OWN)
def test_a_process_that_knows_nothing_reads_a_plan_with_parts_of_ones_own(own):
    """Mutant: without the modules of what is inside of the local training, the loss is unknown there."""
    given = plan(InsecurePlain(), local_training=LocalTraining(lr=0.5, **own))
    code = (
        "import sys\n"
        "from fedavg.plan.codec import plan_from_bytes, plan_to_bytes\n"
        "data = sys.stdin.buffer.read()\n"
        "sys.stdout.buffer.write(plan_to_bytes(plan_from_bytes(data)))\n"
    )
    data = plan_to_bytes(given)
    there = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=False
    )
    assert there.stdout == data, there.stderr.decode()
    assert plan_from_bytes(data) == given


@pytest.mark.parametrize("own", OWN)
def test_workers_train_with_parts_of_ones_own_as_this_process_does(own):
    given = plan(InsecurePlain(), local_training=LocalTraining(lr=0.5, **own))
    alone, spread = (Federation(MODEL, clients(6), given, workers=count) for count in (0, 2))
    for run in (alone, spread):
        (result,) = run.run(1)
        assert (result.survivors, dict(result.failures)) == (6, {})
    assert np.array_equal(alone.released, spread.released)


def test_the_personal_training_counts_too():
    tune = FineTune(LocalTraining(lr=0.5, loss=own_parts.FourthPower()))
    assert b"tests.fedavg.support.own_parts" in plan_to_bytes(
        plan(InsecurePlain(), personalization=tune)
    )


def test_a_function_of_the_program_itself_is_refused_for_workers_before_any_starts():
    lost = plan(InsecurePlain(), local_training=LocalTraining(loss=ImportedLoss("__main__:mine")))
    with pytest.raises(PlanError, match="defined in the program itself.*workers=0"):
        plan_to_bytes(lost)
