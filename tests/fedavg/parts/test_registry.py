"""Parts: they check their types, register once, and are their own bytes."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import msgspec
import numpy as np
import pytest

from fedavg.errors import ConfigError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import FAMILIES, Part, load_plugins, named, names, register, union
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.plan.resolution import resolve
from fedavg.privacy.noise import DistributedGaussian
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.sums.masked import SecAgg
from tests.arch.tree import ROOT
from tests.e2e.small import LENGTH, SUMS, plan

SIZES = {"num_clients": 30, "vector_length": LENGTH, "num_rounds": 3, "largest_client": 8}


class Sample(Part, frozen=True, tag="sample"):
    count: int = 1
    share: float = 0.5
    mode: Literal["a", "b"] = "a"
    widths: tuple[int, ...] = ()
    name: str | None = None


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"count": np.int64(3)}, {"count": 3}),
        ({"share": 1}, {"share": 1.0}),
        ({"share": np.float32(0.25)}, {"share": 0.25}),
        ({"widths": [1, 2]}, {"widths": (1, 2)}),
    ],
)
def test_numpy_scalars_and_whole_numbers_are_numbers(given, held):
    part = Sample(**given)
    for name, value in held.items():
        assert getattr(part, name) == value
        assert type(getattr(part, name)) is type(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 1.5}, "count must be a whole number, not 1.5"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": "3"}, "count must be a whole number"),
        ({"share": "half"}, "share must be a number"),
        ({"mode": "c"}, "mode must be one of 'a', 'b', not 'c'"),
        ({"widths": (1, "2")}, "widths must be a tuple"),
        ({"name": 3}, "name must be a text or None"),
    ],
)
def test_values_of_another_type_are_refused_by_name(given, said):
    with pytest.raises(PlanError, match=said):
        Sample(**given)


def test_replacing_a_field_checks_it_again():
    with pytest.raises(PlanError, match="count"):
        msgspec.structs.replace(Sample(), count="2")


def test_a_name_has_one_class_in_its_family():
    with pytest.raises(ConfigError, match="two parts of family 'noise' are called 'gaussian'"):

        @register("noise")
        class Other(Part, frozen=True, tag="gaussian"):
            pass

    assert named("noise", "gaussian") is DistributedGaussian


def test_a_class_without_a_name_or_a_family_is_refused():
    with pytest.raises(ConfigError, match="has no name"):

        @register("noise")
        class Nameless(Part, frozen=True, tag=False):
            pass

    with pytest.raises(ConfigError, match="no family"):
        register("colour")


def test_every_family_is_filled_and_decodes_by_name():
    import fedavg.data.tables.columns
    import fedavg.plan.catalogue  # noqa: F401 - both register what we ship

    for family in FAMILIES:
        assert names(family)
    assert msgspec.convert({"kind": "fixed", "size": 3}, union("cohort")) == FixedCohort(3)


def test_equal_plans_have_equal_bytes_and_every_field_counts():
    one = plan(SecAgg(), cohort=PoissonCohort(1))
    two = plan(SecAgg(), cohort=PoissonCohort(1.0))
    assert plan_to_bytes(one) == plan_to_bytes(two)
    assert plan_from_bytes(plan_to_bytes(one)) == one
    other = plan(SecAgg(), cohort=PoissonCohort(1), local_training=LocalTraining(epochs=2, lr=0.25))
    digests = {resolve(p, **SIZES).digest for p in (one, two, other)}
    assert len(digests) == 2


def test_a_field_that_is_not_printed_is_part_of_the_digest():
    @register("cohort")
    class Quiet(PoissonCohort, frozen=True, tag="quiet-test"):
        salt: int = 0

        def __repr__(self):
            return "Quiet()"

    one, two = (plan(SUMS["insecure-plain"], cohort=Quiet(1.0, salt)) for salt in (0, 1))
    assert repr(one) == repr(two)
    assert resolve(one, **SIZES).digest != resolve(two, **SIZES).digest


def test_plugins_that_cannot_be_imported_are_named():
    with pytest.raises(ConfigError, match="no_such_plugin"):
        load_plugins(["no_such_plugin"])


def test_a_part_from_another_module_is_rebuilt_in_a_process_that_never_saw_it(tmp_path):
    (tmp_path / "their_cohort.py").write_text(
        "from fedavg.parts import register\n"
        "from fedavg.privacy.sampling import PoissonCohort\n\n"
        "@register('cohort')\n"
        "class Theirs(PoissonCohort, frozen=True, tag='theirs'):\n"
        "    extra: int = 3\n"
    )
    make = (
        "import sys, their_cohort\n"
        "from tests.e2e.small import plan, SUMS\n"
        "from fedavg.plan.codec import plan_to_bytes\n"
        "made = plan(SUMS['secagg'], cohort=their_cohort.Theirs(1.0, 5))\n"
        "sys.stdout.buffer.write(plan_to_bytes(made))\n"
    )
    read = (
        "import sys\n"
        "from fedavg.plan.codec import plan_from_bytes\n"
        "print(plan_from_bytes(sys.stdin.buffer.read()).cohort)\n"
    )
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    made = subprocess.run([sys.executable, "-c", make], capture_output=True, check=True, env=env)
    back = subprocess.run(
        [sys.executable, "-c", read], input=made.stdout, capture_output=True, check=True, env=env
    )
    assert back.stdout.decode().strip() == "Theirs(rate=1.0, extra=5)"
