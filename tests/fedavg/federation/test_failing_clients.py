"""Clients whose module or data fail are dropped by name, and the run continues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.algorithms.scaffold import Scaffold
from fedavg.client.update import ClientContext, prepare, prepare_nothing
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import DataError, LocalProtocolError
from fedavg.federation.federation import Federation
from fedavg.models.spec import ModelSpec
from fedavg.plan.resolution import resolve
from fedavg.privacy.noise import CentralGaussian, DistributedGaussian
from fedavg.protocol.messages import RoundStart, SumMessage, decode, encode
from fedavg.simulation.population import InProcess, Population
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import LENGTH, MODEL, SUMS, clients, examples, federation, plan

SICK = 7


class Touchy(nn.Module):
    """A softmax regression that does something else when an example begins with 99."""

    def __init__(self, harm):
        super().__init__()
        self.inner = nn.Linear(12, 3)
        self.harm = harm

    def forward(self, inputs):
        if self.training and bool((inputs[:, 0] == 99).any()):
            return self.harm(inputs, self.inner)
        return self.inner(inputs)


def boom(inputs, inner):
    raise ZeroDivisionError("a user's own bug")


def shapeless(inputs, inner):
    return inner(inputs)[:, 0, None, None]


def nan(inputs, inner):
    return inner(inputs) * torch.nan


def huge(inputs, inner):
    return inner(inputs * 1e30)


def touchy(input_shape, num_classes):
    """Factory for worker processes."""
    return Touchy(boom)


def population(n=20):
    everyone = clients(n)
    sick = everyone[SICK]
    features = sick.features.copy()
    features[0, 0] = 99
    return everyone | {SICK: Dataset(features, sick.labels)}


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (boom, "ZeroDivisionError: a user's own bug"),
        (shapeless, "Error"),
        (nan, "NonFiniteError"),
    ],
)
@pytest.mark.parametrize("name", ["secagg", "bfv"])
def test_a_client_that_fails_is_dropped_by_name(name, harm, word):
    run = Federation(Touchy(harm), population(), plan(SUMS[name]), evaluate=examples(50, 1))
    results = list(run.run(2))
    for result in results:
        assert result.skipped is None
        assert result.survivors == 19
        assert list(result.failures) == [SICK]
        assert word in result.failures[SICK]


def test_in_worker_processes_too():
    spec = ModelSpec("tests.fedavg.federation.test_failing_clients:touchy", (12,), 3)
    run = Federation(spec, population(), plan(InsecurePlain()), workers=2)
    (result,) = run.run(1)
    assert (result.survivors, list(result.failures)) == (19, [SICK])
    assert "a user's own bug" in result.failures[SICK]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_a_program_stops_the_run(stop):
    def stopping(inputs, inner):
        raise stop

    run = Federation(Touchy(stopping), population(), plan(InsecurePlain()))
    with pytest.raises(stop):
        list(run.run(1))


PRIVATE = {"encoding": FixedPoint(0.5, 12), "noise": CentralGaussian(1.0)}


@pytest.mark.parametrize("noise", [CentralGaussian(1.0), DistributedGaussian(1.0)])
@pytest.mark.parametrize("harm", [boom, shapeless, nan, huge])
def test_under_dp_a_failure_is_no_silence(harm, noise):
    """Who is silent must not depend on anybody's data: zeros leave instead, and the log says why."""
    everyone = population(40)
    run = Federation(Touchy(harm), everyone, plan(SecAgg(), **PRIVATE | {"noise": noise}))
    (result,) = run.run(1)
    assert result.survivors == result.cohort == 40
    assert list(result.failures) == [SICK]
    assert "zeros were sent" in result.failures[SICK]
    assert (result.contributors, run.stopped) == (39, "finished")


def test_the_zeros_are_zeros_and_only_under_dp():
    from fedavg.models.layout import Layout

    model = Touchy(boom)
    layout = Layout.of(model)
    start = RoundStart(0, np.zeros(LENGTH, "<f4").tobytes())
    sizes = {"num_clients": 20, "vector_length": LENGTH, "num_rounds": 2, "largest_client": 8}
    private, exact = (
        ClientContext(
            resolve(plan(InsecurePlain(), **changes), **sizes),
            model,
            layout,
            InsecurePlain().client_side(b""),
            0,
        )
        for changes in (PRIVATE, {})
    )
    given = (SICK, population()[SICK], start, {})
    with pytest.raises(DataError, match="ZeroDivisionError: a user's own bug") as caught:
        prepare(private, *given)
    prepared = prepare_nothing(private, *given, caught.value)
    assert not prepared.encoded.any()
    assert "a user's own bug" in prepared.training_error
    with pytest.raises(DataError, match="a user's own bug"):
        prepare_nothing(exact, *given, caught.value)
    with pytest.raises(LocalProtocolError, match="the server's"):
        prepare_nothing(private, *given, LocalProtocolError("the server's fault"))
    assert prepare(private, 3, population()[3], start, {}).encoded.any()


def test_zeros_keep_the_control_variates_in_step():
    """SCAFFOLD under DP: to the server the update was zero, and to the client as well."""
    from fedavg.models.layout import Layout
    from fedavg.optimizers.local import LocalTraining

    training = LocalTraining(steps=2, lr=0.5)
    resolution = resolve(
        plan(InsecurePlain(), **PRIVATE, stages=(Scaffold(),), local_training=training),
        num_clients=20,
        vector_length=LENGTH,
        num_rounds=2,
        largest_client=8,
    )
    model = Touchy(boom)
    side = InsecurePlain().client_side(b"")
    ctx = ClientContext(resolution, model, Layout.of(model), side, 0)
    control = np.full(LENGTH, 0.25, "<f4")
    start = RoundStart(0, np.zeros(LENGTH, "<f4").tobytes(), extras={"scaffold": control.tobytes()})
    state = {"scaffold.control": np.ones(LENGTH)}
    prepared = prepare_nothing(ctx, SICK, population()[SICK], start, state, ValueError("no"))
    assert not prepared.encoded.any()
    np.testing.assert_array_equal(prepared.state["scaffold.control"], 0.75)


class Liar(Population):
    """Client 3 uploads something else than a vector."""

    def deliver(self, round_index, client_id, messages, attempt=0):
        from dataclasses import replace

        delivery = super().deliver(round_index, client_id, messages, attempt)
        if client_id != 3:
            return delivery
        changed = []
        for data in delivery.messages:
            message = decode(data)
            if isinstance(message, SumMessage):
                message = SumMessage(message.round, message.payload[:-8], message.attempt)
            changed.append(encode(message))
        return replace(delivery, messages=tuple(changed))


def simulation_of(kind):
    """A simulation in this process whose population is of this class."""

    def make(enrolled):
        return InProcess(kind(enrolled.datasets, enrolled.faults), enrolled.model, enrolled.layout)

    return make


def test_an_upload_of_a_wrong_shape_is_refused_by_name():
    run = Federation(
        MODEL,
        clients(20),
        plan(InsecurePlain()),
        evaluate=examples(50, 1),
        simulation=simulation_of(Liar),
    )
    results = list(run.run(2))
    for result in results:
        assert result.skipped is None
        assert 3 not in run.last_sum.survivors
        assert "client 3 did not send" in result.failures[3]


def test_an_empty_answer_is_a_silence_without_a_name():

    class Mute(Population):
        def deliver(self, round_index, client_id, messages, attempt=0):
            given = super().deliver(round_index, client_id, messages, attempt)
            return type(given)(client_id, ()) if client_id == 3 else given

    run = federation(InsecurePlain(), simulation=simulation_of(Mute))
    (result,) = run.run(1)
    assert (result.survivors, result.failures) == (19, {})
