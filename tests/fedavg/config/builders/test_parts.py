"""Third-party parts in a configuration: from a module next to the file, in workers, and after a resume."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import fedavg
from fedavg.cli import app
from fedavg.config.build import build_plan, load_config
from fedavg.errors import ConfigError, PlanError

MODULE = """
from fedavg.algorithms.interface import PlainHalf
from fedavg.optimizers.server import FedAvg
from fedavg.parts import Part, register
from fedavg.privacy.noise import DistributedGaussian
from fedavg.privacy.sampling import PoissonCohort
from fedavg.sums.masked import SecAgg


@register("secure_sum")
class Theirs(SecAgg, frozen=True, tag="{name}-sum"):
    salt: int = 0


@register("cohort")
class Everyone(PoissonCohort, frozen=True, tag="{name}-cohort"):
    pass


@register("server_optimizer")
class Slow(FedAvg, frozen=True, tag="{name}-optimizer"):
    pass


class _Halved(PlainHalf):
    def sent(self, update):
        return update / 2


@register("stage")
class Halved(Part, frozen=True, tag="{name}-stage"):
    kind = "{name}-stage"
    remembers = False
    corrects = False
    factor: float = 2.0

    def sent_length(self, length, training):
        return length

    def client(self, facts, extra, kept):
        return _Halved()

    def init(self, length):
        return None

    def broadcast(self, state):
        return None

    def received(self, facts, mean, divisor, state):
        return mean * self.factor, state
"""
CONFIG = """
rounds = 2
baseline = false
stages = [{{kind = "{name}-stage", factor = 2.0}}]
[plugins]
modules = ["{name}"]
[data]
name = "digits"
clients = 30
partition = "iid"
[cohort]
kind = "{name}-cohort"
rate = 1.0
[server]
optimizer = "{name}-optimizer"
lr = 1.0
average_tail = 0.0
[privacy]
noise = "none"
[secure_sum]
kind = "{name}-sum"
options = {{salt = 3}}
[simulation]
workers = {workers}
dropout = 0.0
"""


def _write(folder, name, workers=0):
    (folder / f"{name}.py").write_text(MODULE.format(name=name))
    path = folder / "run.toml"
    path.write_text(CONFIG.format(name=name, workers=workers))
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_with_parts_of_the_users_own(tmp_path, workers):
    name = f"their_parts_{workers}"
    path = _write(tmp_path, name, workers)
    result = CliRunner().invoke(app, ["run", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["stages"] == [f"{name}-stage"]
    assert summary["rounds"] == 2
    assert summary["accuracy"] > 0.5
    plan = build_plan(load_config(tmp_path / "out" / "config.toml"), 650)
    assert plan.secure_sum.salt == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[secure_sum]\nkind = 'magic'\n",
            "secure_sum.kind: there is no 'magic'; there are .*secagg",
        ),
        ("[server]\noptimizer = 'sgd'\n", "server.optimizer: there is no 'sgd'"),
        ("[secure_sum]\nkind = 'oneshot'\n", "there is no 'oneshot'.*Do you mean 'one-shot'?"),
        ("[cohort]\nkind = 'all'\n", "cohort.kind: there is no 'all'"),
        ("stages = [{kind = 'none-such'}]\n", "stages: .*none-such"),
        ("stages = [{kind = 'random-k', fractoin = 0.1}]\n", "stages: .*fractoin"),
        ("[plugins]\nmodules = ['no_such_module']\n", "no_such_module"),
    ],
)
def test_names_that_no_part_has_are_refused_at_once(tmp_path, text, said):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_an_option_that_a_part_does_not_have_is_named(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[privacy]\noptions = {loudness = 3}\n")
    with pytest.raises(ConfigError, match="noise 'gaussian' has no option loudness"):
        build_plan(load_config(path), 100)


@fedavg.register("encoding")
class Coarse(fedavg.FixedPoint, frozen=True, tag="coarse-config-test"):
    """A fixed-point encoding with a field of its own."""

    half: bool = False


def test_a_configuration_names_an_encoding_of_ones_own():
    """It gets the clip norm under noise, the range without, and the fields that the table has."""
    named = {"encoding.kind": "coarse-config-test", "encoding.options": {"half": True}}
    private = build_plan(load_config(None, named), 100).encoding
    assert private == Coarse(0.5, private.bits, half=True)
    plain = {"privacy.noise": "none", "encoding.range": 4.0, "encoding.bits": 12}
    exact = build_plan(load_config(None, named | plain), 100).encoding
    assert exact == Coarse(4.0, 12, rounding="nearest", half=True)
    with pytest.raises(ConfigError, match="encoding.kind: there is no 'coars'"):
        load_config(None, {"encoding.kind": "coars"})
    with pytest.raises(ConfigError, match="has no option third"):
        build_plan(load_config(None, named | {"encoding.options": {"third": 1}}), 100)
    with pytest.raises(PlanError, match="does not go with"):
        build_plan(load_config(None, {"encoding.kind": "quantised"}), 100)
