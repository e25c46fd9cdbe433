"""One trial step: what cannot train is refused with the reason, before anything is charged or sent."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import fedavg
from fedavg.algorithms.interface import PlainHalf
from fedavg.algorithms.personal.ditto import Ditto
from fedavg.algorithms.personal.fedrep import FedRep
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import CapacityError, DataError, FedAvgError, PlanError
from fedavg.federation.federation import Federation
from fedavg.losses import CrossEntropy
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.plan.plan import Plan
from fedavg.privacy.noise import CentralGaussian
from fedavg.privacy.sampling import PoissonCohort
from fedavg.sums.plain import InsecurePlain
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update
from tests.e2e.small import SUMS, clients, examples, plan
from tests.fedavg.support.block_plans import CUTS, MODEL


class Counting(nn.Linear):
    """Counts its forward passes in a buffer, as moving averages and schedules do."""

    def __init__(self):
        super().__init__(12, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, inputs):
        if self.training:
            self.calls += 1
        return super().forward(inputs)


class Detached(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs).detach()


class Diverging(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) * 1e39


class Steep(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) * 1e20


class Broken(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs).no_such_method()


class Split(nn.Module):
    """Batch statistics, and so no batch of one."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Linear(12, 3), nn.BatchNorm1d(3, track_running_stats=False)

    def forward(self, inputs):
        return self.norm(self.a(inputs))


def _settled():
    """A spectral norm whose vectors move no more until the weights do: one step alone leaves them."""
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(12, 3)))
    for _ in range(1000):
        model(torch.zeros(1, 12))
    return model


def _private(**changes):
    parts = {
        "cohort": PoissonCohort(0.9),
        "encoding": FixedPoint(1.0, 16),
        "noise": CentralGaussian(2.0),
        "secure_sum": InsecurePlain(),
        "local_training": LocalTraining(lr=0.1),
        "server_optimizer": FedAvg(),
    }
    return Plan(**(parts | changes))


CASES = {
    "BatchNorm": (
        lambda: nn.Sequential(nn.Linear(12, 3), nn.BatchNorm1d(3)),
        {},
        r"'1.running_mean' of BatchNorm1d.*GroupNorm",
    ),
    "counter": (Counting, {}, "buffer 'calls' of Counting.*GroupNorm or LayerNorm"),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(12, 3))),
        {},
        r"buffer '0.parametrizations.weight.0._[uv]'.*no spectral norm",
    ),
    "settled spectral norm": (
        _settled,
        {},
        r"buffer '0.parametrizations.weight.0._[uv]'.*no spectral norm",
    ),
    "detached": (lambda: Detached(12, 3), {}, "does not depend on any parameter"),
    "infinite": (
        lambda: Diverging(12, 3),
        {},
        "NaN or infinity on the first batch, with any learning rate",
    ),
    "broken": (lambda: Broken(12, 3), {}, "AttributeError"),
    "too few outputs": (lambda: nn.Linear(12, 2), {}, "label 2.*2 outputs"),
    "inputs": (lambda: nn.Linear(5, 3), {}, "examples of shape 12: it raised RuntimeError"),
    "double": (lambda: nn.Linear(12, 3).double(), {}, r"model.float\(\)"),
    "loss": (
        lambda: nn.Linear(12, 3),
        {"local_training": LocalTraining(loss="mse")},
        "'mse' needs labels of kind numbers",
    ),
    "class weights": (
        lambda: nn.Linear(12, 3),
        {"local_training": LocalTraining(loss=CrossEntropy(class_weights=(1.0, 2.0)))},
        "class_weights has 2 weights",
    ),
}


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_what_cannot_train_is_refused_before_any_charge(name, private):
    """Mutant: without the trial every client fails alike, each round is charged, and the run "finishes"."""
    make, changes, said = CASES[name]
    model = make()
    before = {key: part.clone() for key, part in model.state_dict().items()}
    chosen = _private(**changes) if private else plan(SUMS["insecure-plain"], **changes)
    run = Federation(model, clients(20), chosen)
    with pytest.raises((DataError, PlanError), match=rf"(?s)client \d+.* cannot train.*{said}"):
        next(run.run(2))
    assert not run.ledger.history
    assert run.stopped == "unstarted"
    assert all(torch.equal(part, before[key]) for key, part in model.state_dict().items())


def test_a_rate_that_is_too_large_is_told_from_a_loss_without_a_value():
    """The gradient is about 1e20: a step of 1e30 overflows, and one of 1e10 does not."""
    chosen = plan(SUMS["insecure-plain"], local_training=LocalTraining(lr=1e30))
    run = Federation(Steep(12, 3), clients(20), chosen)
    with pytest.raises(PlanError, match=r"learning rate 1e\+30 gives NaN or infinity: lower it"):
        next(run.run(2))


def test_one_kind_of_client_that_cannot_train_is_found_among_the_others():
    """Clients with one example, among twenty that have more."""
    population = clients(20) | {20: examples(1, 5), 21: examples(1, 6)}
    run = Federation(Split(), population, plan(SUMS["insecure-plain"]))
    with pytest.raises(
        DataError, match=r"client 20 \(and 1 more like it\).*statistics over a batch"
    ):
        run.resolve(1)
    list(Federation(Split(), clients(20), plan(SUMS["insecure-plain"])).run(1))


def test_a_last_batch_of_one_is_no_batch():
    """41 examples in batches of 8: the one that is left joins the last eight."""
    population = {client: examples(41, client) for client in range(10)}
    training = LocalTraining(batch_size=8, lr=0.1)
    run = Federation(Split(), population, plan(SUMS["insecure-plain"], local_training=training))
    (result,) = run.run(1)
    assert (result.survivors, result.failures) == (10, {})


def test_one_label_beyond_the_outputs_is_found_wherever_it_is():
    """The last example of the last client, which no trial step sees."""
    population = clients(20)
    last = population[19]
    labels = last.labels.copy()
    labels[-1] = 10**9
    population[19] = Dataset(last.features, labels)
    run = Federation(nn.Linear(12, 3), population, plan(SUMS["insecure-plain"]))
    with pytest.raises(DataError, match="client 19 cannot train: there is a label 1000000000"):
        run.resolve(1)


def test_an_update_that_cannot_be_encoded_is_refused():
    chosen = plan(SUMS["insecure-plain"], local_training=LocalTraining(lr=1e4))
    run = Federation(nn.Linear(12, 3), clients(20), chosen)
    with pytest.raises(CapacityError, match="client 0"):
        run.resolve(1)


def test_a_scoring_that_fails_is_refused_too():
    class Moody(nn.Linear):
        def forward(self, inputs):
            if not self.training:
                raise RuntimeError("not while scoring")
            return super().forward(inputs)

    chosen = _private()
    run = Federation(Moody(12, 3), clients(20), chosen, evaluate=examples(30, 1))
    with pytest.raises(DataError, match="not while scoring"):
        next(run.run(1))
    assert not run.ledger.history


def test_sparse_embeddings_train_under_adam():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(50, 4, sparse=True), nn.Linear(48, 3)

        def forward(self, inputs):
            return self.head(self.table((inputs.abs() * 10).long().clamp(0, 49)).flatten(1))

    training = LocalTraining(lr=0.01, optimizer="adam")
    run = Federation(Words(), clients(20), _private(local_training=training))
    assert all(not result.failures for result in run.run(2))
    assert (run.released != 0).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"personalization": Ditto(LocalTraining(lr=0.1), 0.5)},
        {"personalization": FedRep(LocalTraining(lr=0.1), ("2.*",))},
        {"clipping": None},
    ],
)
def test_a_trial_leaves_no_trace_in_the_run(changes, monkeypatch):
    """The same rounds with and without it: it neither moves the model nor draws what a round draws."""
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    released = []
    for tried in (True, False):
        run = Federation(model, clients(20), plan(SUMS["insecure-plain"], **changes))
        if not tried:
            monkeypatch.setattr("fedavg.federation.federation.try_out", lambda *_: None)
        list(run.run(2))
        released.append(run.released)
    np.testing.assert_array_equal(*released)


@pytest.mark.parametrize("name", CUTS)
def test_every_block_is_tried(name, monkeypatch):
    tried = []

    def spy(job):
        tried.append(job.layout)
        return local_update(job)

    monkeypatch.setattr("fedavg.client.trial.local_update", spy)
    Federation(MODEL, clients(24), plan(SUMS["insecure-plain"], blocks=CUTS[name])).resolve(2)
    first, again, second = tried  # the first client's step is tried twice, for a module's memory
    assert first == again
    assert (first == second) == (name != "layers")


def test_the_callers_module_is_nobodys_workspace():
    """After a private run it held one client's own model, neither clipped nor noised."""
    torch.manual_seed(0)
    model = nn.Linear(12, 3)
    layout = Layout.of(model)
    start = layout.flatten(model)
    population = clients(10)
    run = Federation(model, population, _private(local_training=LocalTraining(lr=0.5)))
    list(run.run(1))
    held = layout.flatten(model)
    np.testing.assert_array_equal(held, start)
    for data in population.values():
        job = TrainingJob(nn.Linear(12, 3), layout, start, data, LocalTraining(lr=0.5))
        assert not np.allclose(start + local_update(job), held, atol=1e-6)
    assert (run.released != start).any()


def test_an_error_of_the_trial_is_the_users_type():
    """Refusals stay in the package's tree, so that a command line can print them without a traceback."""
    run = Federation(Broken(12, 3), clients(6), plan(SUMS["insecure-plain"]))
    with pytest.raises(FedAvgError) as caught:
        run.resolve(1)
    assert isinstance(caught.value.__cause__.__cause__, AttributeError)


@pytest.mark.parametrize("lr", [0.5, 1e38])
def test_large_numbers_are_named_where_an_update_is_too_large(lr):
    far = {
        client: Dataset(data.features * 1000 + 1, data.features[:, :1] * 1e6, "numbers")
        for client, data in clients(6).items()
    }
    training = LocalTraining(lr=lr)
    run = Federation(nn.Linear(12, 1), far, plan(SUMS["insecure-plain"], local_training=training))
    with pytest.raises(
        FedAvgError, match=r"features reach \d+ and labels reach .*: scale them first"
    ):
        run.resolve(1)
    large = LocalTraining(lr=1e38)
    run = Federation(
        nn.Linear(12, 3), clients(6), plan(SUMS["insecure-plain"], local_training=large)
    )
    with pytest.raises(FedAvgError) as caught:
        run.resolve(1)
    assert "scale them" not in str(caught.value)
    assert "learning rate" in str(caught.value)


def linear_1(shape, outputs):
    """A factory that ignores how many outputs are asked for, as do those below."""
    del outputs
    return nn.Linear(shape[0], 1)


def linear_3(shape, outputs):
    del outputs
    return nn.Linear(shape[0], 3)


def linear_5(shape, outputs):
    del outputs
    return nn.Linear(shape[0], 5)


def absolute(outputs, labels):
    """A loss of one's own, which accepts any number of outputs."""
    return (outputs.sum(1) - labels.reshape(len(labels), -1).float().sum(1)).abs()


def one_step(model, batch):
    return absolute(model(batch.features), batch.labels).mean()


def _labelled(kind, needed):
    """Six clients whose labels need this number of outputs."""
    found = {}
    for client, data in clients(6).items():
        rows = np.arange(len(data))
        labels = {
            "classes": rows % needed,
            "numbers": np.ones((len(data), needed)),
            "multi-label": np.tile(rows[:, None] % 2, needed),
        }[kind]
        found[client] = Dataset(data.features, labels, kind)
    return found


TASKS = {"binary": ("classes", 2), "multi-class": ("classes", 3), "regression": ("numbers", 2)}
TASKS["multi-label"] = ("multi-label", 2)


@pytest.mark.parametrize("own", [{}, {"loss": absolute}, {"step": one_step}])
@pytest.mark.parametrize("task", TASKS)
def test_a_model_with_too_many_outputs_is_refused_for_every_task(task, own):
    """Mutant: without the comparison all of these train, and nothing is said."""
    kind, needed = TASKS[task]
    spec = ModelSpec("tests.fedavg.client.test_trial:linear_5", (12,), needed)
    training = LocalTraining(lr=0.1, **own)
    chosen = plan(SUMS["insecure-plain"], local_training=training)
    run = Federation(spec, _labelled(kind, needed), chosen)
    said = rf"model has 5 outputs for each example, but the task needs {needed}.*{needed} outputs"
    if not own and kind != "classes":
        said = "5"  # the loss refuses it first
    with pytest.raises(DataError, match=said):
        run.resolve(1)
    assert run.stopped == "unstarted"


@pytest.mark.parametrize("own", [{"loss": absolute}, {"step": one_step}])
def test_a_model_with_too_few_outputs_is_refused_where_the_loss_does_not_mind(own):
    spec = ModelSpec("tests.fedavg.client.test_trial:linear_1", (12,), 3)
    chosen = plan(SUMS["insecure-plain"], local_training=LocalTraining(lr=0.1, **own))
    with pytest.raises(DataError, match=r"1 output|tell only the classes 0 and 1"):
        Federation(spec, _labelled("classes", 3), chosen).resolve(1)


@pytest.mark.parametrize(("loss", "outputs"), [("bce", 1), (absolute, 1), (None, 3)])
def test_the_right_number_of_outputs_is_accepted(loss, outputs):
    spec = ModelSpec(f"tests.fedavg.client.test_trial:linear_{outputs}", (12,), max(2, outputs))
    chosen = plan(SUMS["insecure-plain"], local_training=LocalTraining(lr=0.1, loss=loss))
    population = _labelled("classes", max(2, outputs))
    run = Federation(spec, population, chosen, evaluate=population[0])
    assert run.resolve(1).vector_length == 13 * outputs


def test_outputs_beyond_all_labels_of_a_callers_module_are_said():
    """A class may have no examples, so that is a warning; a module has no declared number of classes."""
    run = Federation(nn.Linear(12, 7), clients(20), plan(SUMS["insecure-plain"]))
    with pytest.warns(UserWarning, match="7 outputs, but the clients' labels are 0 … 2"):
        run.resolve(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Federation(nn.Linear(12, 3), clients(20), plan(SUMS["insecure-plain"])).resolve(1)


def test_a_softmax_before_a_loss_that_applies_softmax_itself_is_said():
    """Training goes on, but hardly moves; the user's own loss may be meant for probabilities."""
    ended = nn.Sequential(nn.Linear(12, 3), nn.Softmax(1))
    run = Federation(ended, clients(20), plan(SUMS["insecure-plain"]))
    with pytest.warns(UserWarning, match="remove the softmax at the end of the model"):
        run.resolve(1)
    training = LocalTraining(lr=0.1, loss=absolute)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Federation(
            ended, clients(20), plan(SUMS["insecure-plain"], local_training=training)
        ).resolve(1)
        # Logarithms of probabilities pass through another log-softmax unchanged.
        logs = nn.Sequential(nn.Linear(12, 3), nn.LogSoftmax(1))
        Federation(logs, clients(20), plan(SUMS["insecure-plain"])).resolve(1)


def broken_loss(outputs, labels):
    raise KeyError("of the loss")


def broken_step(model, batch):
    raise KeyError("of the step")


def broken_loop(model, examples, context):
    raise KeyError("of the loop")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {"loss": broken_loss},
            r"the loss '.*:broken_loss', which was given outputs float32\[3, 3\]",
        ),
        ({"step": broken_step}, "the training step raised"),
        ({"loop": broken_loop}, "the client loop raised"),
    ],
)
def test_the_part_that_raised_is_named_with_its_place(own, said):
    """A loss that raised was reported as a model that takes no such batch."""
    chosen = plan(SUMS["insecure-plain"], local_training=LocalTraining(lr=0.1, **own))
    run = Federation(nn.Linear(12, 3), clients(6), chosen)
    with pytest.raises(
        DataError, match=rf"{said}.*KeyError: 'of the \w+' \(test_trial.py, line"
    ) as caught:
        run.resolve(1)
    assert "the model does not take" not in str(caught.value)


def _images(shape):
    rng = np.random.default_rng(0)
    return {c: Dataset(rng.random((6, *shape)), np.arange(6) % 3) for c in range(6)}


class Convolved(nn.Module):
    """A convolution over images of some channels, as torch expects them."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.last = nn.Conv2d(channels, 4, 3), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.last(self.first(inputs).mean((2, 3)))


@pytest.mark.parametrize(
    ("shape", "channels", "said"),
    [
        ((8, 8, 3), 3, r"height × width × channels.*np.transpose\(x, \(0, 3, 1, 2\)\)"),
        ((8, 8), 1, r"without an axis of channels.*x\[:, None\]"),
        ((64,), 1, "rows of numbers"),
    ],
)
def test_images_of_another_layout_are_refused_with_the_call_that_turns_them(shape, channels, said):
    run = Federation(Convolved(channels), _images(shape), plan(SUMS["insecure-plain"]))
    with pytest.raises(DataError, match=said):
        run.resolve(1)
    turned = _images((3, 8, 8) if channels == 3 else (1, 8, 8))
    assert Federation(Convolved(channels), turned, plan(SUMS["insecure-plain"])).resolve(1)


@fedavg.register("stage")
class BrokenStage(fedavg.Part, frozen=True, tag="broken-stage-test"):
    """Fails at the client or at the server, in the method that `place` names."""

    place: str
    kind: ClassVar[str] = "broken-stage-test"
    remembers: ClassVar[bool] = False
    corrects: ClassVar[bool] = False

    def sent_length(self, length, training):
        return length

    def client(self, facts, extra, kept):
        if self.place == "client":
            raise KeyError("of the stage")
        return PlainHalf()

    def init(self, length):
        return None

    def broadcast(self, state):
        return None

    def received(self, facts, mean, divisor, state):
        raise KeyError("of the stage")


@fedavg.register("server_optimizer")
class BrokenRule(fedavg.ServerRule, frozen=True, tag="broken-rule-test"):
    shape: int = 0

    def step(self, vector, delta, state, progress):
        if self.shape:
            return np.zeros(self.shape), state
        raise KeyError("of the rule")


@fedavg.register("encoding")
class BrokenEncoding(FixedPoint, frozen=True, tag="broken-encoding-test"):
    def encode(self, vector):
        raise KeyError("of the encoding")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": (BrokenStage("client"),)}, "the stage 'broken-stage-test' raised KeyError"),
        ({"stages": (BrokenStage("server"),)}, "the stage 'broken-stage-test' raised KeyError"),
        ({"server_optimizer": BrokenRule()}, "the server's optimiser BrokenRule raised KeyError"),
        ({"server_optimizer": BrokenRule(5)}, r"BrokenRule returned an array of shape \(5,\)"),
        (
            {"encoding": BrokenEncoding(8.0, 20, rounding="nearest")},
            "the encoding BrokenEncoding raised KeyError",
        ),
    ],
)
def test_a_part_of_ones_own_that_fails_is_found_and_named_before_any_charge(changes, said):
    """Those of the server were met after the first round had been charged."""
    run = Federation(nn.Linear(12, 3), clients(6), plan(SUMS["insecure-plain"], **changes))
    with pytest.raises((DataError, PlanError), match=said):
        run.resolve(1)
    assert not run.ledger.history


def idle_loop(model, examples, context):
    """Trains a copy, and so nothing."""


def test_a_loop_that_trains_nothing_is_refused():
    training = LocalTraining(loop=idle_loop)
    run = Federation(
        nn.Linear(12, 3), clients(6), plan(SUMS["insecure-plain"], local_training=training)
    )
    with pytest.raises(PlanError, match="changed no parameter in a trial with 3 examples"):
        run.resolve(1)
