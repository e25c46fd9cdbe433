"""Plans travel with all that is in them: a loss, a step and a loop of one's own too."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.algorithms.personal.finetune import FineTune
from fedavg.errors import PlanError
from fedavg.federation.federation import Federation
from fedavg.losses.imported import ImportedLoss
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.sums.plain import InsecurePlain
from tests.e2e.processes import said_by_script
from tests.e2e.small import MODEL, clients, plan
from tests.fedavg.support import own_parts

OWN = [
    {"loss": own_parts.FourthPower(0.5)},
    {"loss": own_parts.halved},
    {"step": own_parts.step},
    {"loop": own_parts.loop},
]


ELSEWHERE = """
import sys
from pathlib import Path
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
assert "tests.fedavg.support.own_parts" not in sys.modules
here = Path(__file__)
here.with_name("back").write_bytes(plan_to_bytes(plan_from_bytes(here.with_name("sent").read_bytes())))
"""


@pytest.mark.parametrize("own", OWN)
def test_a_process_that_knows_nothing_reads_a_plan_with_parts_of_ones_own(own, tmp_path):
    """Mutant: without the modules of what is inside of the local training, the loss is unknown there."""
    given = plan(InsecurePlain(), local_training=LocalTraining(lr=0.5, **own))
    data = plan_to_bytes(given)
    (tmp_path / "sent").write_bytes(data)
    (tmp_path / "there.py").write_text(ELSEWHERE)
    code, said = said_by_script(tmp_path / "there.py")
    assert code == 0, said
    assert (tmp_path / "back").read_bytes() == data
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
