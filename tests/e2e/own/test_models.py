"""Models, data and code as users bring them: the right figures, or one sentence before any charge."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import dp
import fedavg
from fedavg.models.layout import Layout
from fedavg.training.evaluation import evaluate


def task(n=400, d=6, seed=0):
    """Two classes by the sign of the first feature."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    return fedavg.Dataset(x, (x[:, 0] > 0).astype(np.int64))


def split(data, clients):
    parts = np.array_split(np.arange(len(data)), clients)
    return {client: data.subset(part) for client, part in enumerate(parts)}


def exact(size=10, **changes):
    parts = {
        "cohort": fedavg.FixedCohort(size=size),
        "encoding": fedavg.FixedPoint(clip=8.0, bits=24, rounding="nearest"),
        "noise": None,
        "secure_sum": fedavg.InsecurePlain(),
        "local_training": fedavg.LocalTraining(epochs=1, lr=0.1),
        "server_optimizer": fedavg.FedAvg(),
    }
    return fedavg.Plan(**(parts | changes))


def private(**changes):
    parts = {
        "cohort": fedavg.PoissonCohort(rate=0.9),
        "encoding": fedavg.FixedPoint(clip=1.0, bits=16),
        "noise": fedavg.CentralGaussian(noise_multiplier=2.0),
    }
    return exact(**(parts | changes))


BOTH = pytest.mark.parametrize("plan", [exact, private], ids=["exact", "private"])


@BOTH
@pytest.mark.parametrize("evaluated", [False, True])
def test_the_callers_module_is_left_alone_and_the_released_one_is_handed_out(plan, evaluated):
    """The module once held one client's own trained weights, neither clipped nor noised."""
    data = task()
    mine = nn.Linear(6, 2)
    before = copy.deepcopy(mine.state_dict())
    run = fedavg.Federation(mine, split(data, 10), plan(), evaluate=data if evaluated else None)
    list(run.run(2))
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())
    assert mine.training
    held = Layout.of(mine).flatten(run.model())
    assert np.allclose(held, run.released, atol=1e-6)
    assert not np.allclose(held, Layout.of(mine).flatten(mine), atol=1e-6)


def test_the_module_is_left_alone_when_a_run_breaks_off():
    data, mine = task(), nn.Linear(6, 2)
    before = copy.deepcopy(mine.state_dict())
    rounds = fedavg.Federation(mine, split(data, 10), exact()).run(5)
    next(rounds)
    rounds.close()
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())


def test_updates_that_are_all_nan_are_said_under_noise_too():
    """A learning rate of 1e30 in a hidden layer: one step is finite, and twenty are not."""
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    hot = fedavg.LocalTraining(epochs=20, lr=1e30)
    run = fedavg.Federation(net, split(task(), 20), private(local_training=hot))
    results = list(run.run(3))
    assert run.stopped == "nothing-learnt"
    for result in results:
        assert result.contributors == 0
        assert len(result.failures) == result.survivors
        assert "lower the learning rate" in next(iter(result.failures.values()))


class Sparse(nn.Module):
    """Gradients of its embedding are sparse tensors."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 4, sparse=True)
        self.head = nn.Linear(24, 2)

    def forward(self, inputs):
        places = (inputs.abs() * 10).long().clamp(0, 49)
        return self.head(self.embedding(places).flatten(1))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_sparse_gradients_train_like_dense_ones(optimizer):
    """They once failed at every client, and were charged every round."""
    data, lr = task(), fedavg.LocalTraining(lr=0.01, optimizer=optimizer)
    found = []
    for sparse in (True, False):
        torch.manual_seed(0)
        net = Sparse()
        net.embedding.sparse = sparse
        run = fedavg.Federation(net, split(data, 10), exact(local_training=lr))
        assert [len(result.failures) for result in run.run(2)] == [0, 0]
        found.append(run.released)
    assert np.allclose(*found, atol=1e-6)


class Untrainable(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, inputs):
        return self.linear(inputs).detach()


@BOTH
def test_a_model_that_cannot_train_is_refused_before_the_first_charge(plan):
    run = fedavg.Federation(Untrainable(), split(task(), 10), plan())
    with pytest.raises(
        fedavg.PlanError, match="nothing was charged or sent.*does not depend on any"
    ):
        next(run.run(3))
    assert run.ledger.history == ()


SUMS = [fedavg.InsecurePlain(), fedavg.SecAgg(), fedavg.Bfv(), fedavg.Ckks()]


@pytest.mark.parametrize("secure_sum", SUMS, ids=lambda each: each.kind)
def test_ids_have_one_answer_for_every_sum(secure_sum):
    clients = split(task(), 10)
    plan = exact(secure_sum=secure_sum)
    counted = {np.int64(client): data for client, data in clients.items()}
    (result,) = fedavg.Federation(nn.Linear(6, 2), counted, plan).run(1)
    assert result.survivors == 10
    named = {f"h{client}": data for client, data in clients.items()}
    with pytest.raises(fedavg.DataError, match="whole numbers, not 'h0'"):
        fedavg.Federation(nn.Linear(6, 2), named, plan)


class ReadOnlyNorm(nn.BatchNorm1d):
    """Only reads its statistics: the usual way to use a pretrained backbone."""

    def train(self, mode=True):  # noqa: FBT002 - as torch has it
        return super().train(False)


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm, self.b = nn.Linear(6, 8), norm, nn.Linear(8, 2)

    def forward(self, inputs):
        return self.b(torch.relu(self.norm(self.a(inputs))))


def accuracies(net, clients, plan, data):
    run = fedavg.Federation(net, clients, plan, evaluate=data)
    found = [result.accuracy for result in run.run(2)]
    assert run.stopped == "finished"
    assert np.isfinite(run.released).all()
    return found


def test_frozen_batch_normalisation_is_read_and_its_two_ways_agree():
    data = task()
    always = Normed(ReadOnlyNorm(8).requires_grad_(False))
    before = Normed(nn.BatchNorm1d(8).requires_grad_(False))
    before.norm.eval()
    found = [accuracies(net, split(data, 10), exact(), data) for net in (always, before)]
    assert found[0] == found[1]


def test_batch_normalisation_that_would_leave_the_client_is_refused():
    data = task()
    with pytest.raises(fedavg.PlanError, match="changed the buffer 'norm.running_mean'"):
        accuracies(Normed(nn.BatchNorm1d(8)), split(data, 10), exact(), data)


@BOTH
def test_statistics_of_the_batch_need_two_examples(plan):
    def net():
        return Normed(nn.BatchNorm1d(8, track_running_stats=False))

    data = task()
    assert len(accuracies(net(), split(data, 10), plan(), data)) == 2
    alone = {client: data.subset(np.array([client])) for client in range(10)}
    with pytest.raises(fedavg.DataError, match="nothing was charged.*statistics over a batch"):
        accuracies(net(), alone, plan(), data)


@BOTH
def test_a_last_batch_of_one_joins_the_one_before(plan):
    """41 examples in batches of 8, and 2,049 to score on."""
    data = task(410)
    net = Normed(nn.BatchNorm1d(8, track_running_stats=False))
    training = fedavg.LocalTraining(batch_size=8, lr=0.1)
    run = fedavg.Federation(
        net, split(data, 10), plan(local_training=training), evaluate=task(2049, seed=1)
    )
    (result,) = run.run(1)
    assert dict(result.failures) == {}
    assert result.accuracy is not None


class Buffered(nn.Module):
    """Constants that are NaN, infinite or whole numbers are no trainable parameters."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)
        self.register_buffer("missing", torch.tensor(float("nan")))
        self.register_buffer("mask", torch.zeros(2), persistent=False)
        self.register_buffer("order", torch.arange(6))

    def forward(self, inputs):
        known = torch.where(inputs == 1e9, self.missing, inputs)
        return self.linear(known[:, self.order]) + self.mask


def test_constant_buffers_are_left_in_peace():
    data = task()
    torch.manual_seed(0)
    buffered = Buffered()
    torch.manual_seed(0)
    plain = nn.Linear(6, 2)
    clients = split(data, 10)
    assert accuracies(buffered, clients, exact(), data) == accuracies(plain, clients, exact(), data)


class Half(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(6, 10).to(kind)
        self.kind = kind

    def forward(self, inputs):
        return self.linear(inputs.to(self.kind))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_the_loss_of_half_precision_models_is_that_of_their_outputs(kind, scale):
    """The sum over a batch once overflowed in the model's own type: infinity where it is 50.1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2048, 6)).astype(np.float32)
    data = fedavg.Dataset(x, rng.integers(0, 10, 2048))
    model = Half(kind)
    with torch.no_grad():
        model.linear.weight.mul_(scale)
        true = functional.cross_entropy(
            model(torch.from_numpy(x)).double(), torch.from_numpy(data.labels)
        )
    layout = Layout.of(model)
    found = evaluate(model, layout, layout.flatten(model), data).loss
    assert found == pytest.approx(float(true), rel=1e-5)


X = np.zeros((4, 3), np.float32)
Y = np.zeros(4, np.int64)
REFUSED = {
    "fractions as classes": (X, np.array([0.5, 1.2, 3.0, 0.0]), "say target='numbers'"),
    "floats as classes": (X, np.array([0.0, 1.0, 1.0, 0.0]), "number the classes from 0"),
    "negative": (X, np.array([-1, 1, 1, -1]), "counted from 0"),
    "a column": (X, np.array([[0], [1], [1], [0]]), r"int64 of shape \(4, 1\)"),
    "indicators": (X, np.eye(4, dtype=int), "say target='multi-label'"),
    "texts": (X, np.array(["a", "b", "a", "b"]), "number the classes from 0"),
    "objects": (X, np.array([0, 1, None, 1], dtype=object), "number the classes"),
    "beyond int64": (X, np.array([0, 1, 2**63, 1], np.uint64), "label 9223372036854775808"),
    "nothing": (np.zeros((0, 3), np.float32), np.zeros(0, int), "at least one example"),
    "no columns": (np.zeros(4, np.float32), Y, "one row of features"),
    "beyond float32": (np.full((4, 3), 1e300), Y, "NaN or infinity"),
    "NaN": (np.full((4, 3), np.nan), Y, "NaN or infinity"),
    "complex": (np.zeros((4, 3), complex), Y, "no real numbers"),
    "identifiers": (np.full((4, 3), 2**24 + 1), Y, "16777217 that float32 cannot tell"),
    "masked": (np.ma.masked_equal(np.arange(12.0).reshape(4, 3), 5), Y, "1 masked element"),
}


@pytest.mark.parametrize(("features", "labels", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_data_that_would_be_changed_are_refused(features, labels, said):
    with pytest.raises(fedavg.DataError, match=said):
        fedavg.Dataset(features, labels)


TAKEN = {
    "booleans": (X, np.array([True, False, True, True]), [1, 0, 1, 1]),
    "bytes": (X, np.array([0, 1, 2, 255], np.uint8), [0, 1, 2, 255]),
    "lists": ([[1.0, 2.0], [3.0, 4.0]], [0, 1], [0, 1]),
    "tensors": (torch.zeros(4, 3, requires_grad=True), torch.tensor([0, 1, 1, 0]), [0, 1, 1, 0]),
    "transposed": (np.zeros((3, 4), np.float32).T, Y, [0] * 4),
    "read only": (np.broadcast_to(np.float32(1), (4, 3)), Y, [0] * 4),
    "reversed": (X[::-1], np.arange(4)[::-1], [3, 2, 1, 0]),
    "other byte order": (X.astype(">f4"), np.arange(4).astype(">i4"), [0, 1, 2, 3]),
}


@pytest.mark.parametrize(("features", "labels", "read"), TAKEN.values(), ids=TAKEN.keys())
def test_data_of_any_layout_are_read_and_train(features, labels, read):
    data = fedavg.Dataset(features, labels)
    assert data.labels.tolist() == read
    model = nn.Linear(data.features.shape[1], max(read) + 2)
    run = fedavg.Federation(model, [data] * 4, exact(4), evaluate=data)
    (result,) = run.run(1)
    assert (result.survivors, run.stopped) == (4, "finished")


@pytest.mark.parametrize("label", [2, 10**9, 10**12])
def test_a_label_beyond_the_model_is_refused_at_once(label):
    """A label of 10^9 once counted classes until the memory was full."""
    clients = split(task(), 10)
    clients[7] = fedavg.Dataset(clients[7].features, np.full(len(clients[7]), label))
    with pytest.raises(fedavg.DataError, match=f"client 7 cannot train: .*{label}"):
        next(fedavg.Federation(nn.Linear(6, 2), clients, exact()).run(1))


def test_a_composition_whose_result_is_dropped_has_no_epsilon():
    """A habit from other libraries, where the accountant changes: here epsilon would stay 0."""
    accountant = dp.Accountant()
    event = dp.GaussianEvent(0.5, dp.PoissonSampling(0.1))
    accountant.compose(event, 1000)
    with pytest.raises(dp.DpError, match=r"write accountant = accountant.compose\(event, count\)"):
        accountant.epsilon(1e-5)
    assert accountant.compose(event, 1000).epsilon(1e-5).low > 100


class Pairs(torch.utils.data.Dataset):
    """A data set as tutorials of torch have it."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return torch.from_numpy(self.data.features[index]), int(self.data.labels[index])


def test_clients_are_data_sets_of_torch_pairs_and_data_frames():
    pandas = pytest.importorskip("pandas")
    data = task()
    ours = split(data, 4)
    frame = pandas.DataFrame(ours[2].features)
    foreign = [
        Pairs(ours[0]),
        torch.utils.data.TensorDataset(*map(torch.from_numpy, (ours[1].features, ours[1].labels))),
        (frame, pandas.Series(ours[2].labels)),
        (ours[3].features.tolist(), ours[3].labels.tolist(), np.ones(len(ours[3]))),
    ]
    found = []
    for clients, held in ((ours, data), (foreign, Pairs(data))):
        torch.manual_seed(0)
        run = fedavg.Federation(nn.Linear(6, 2), clients, exact(4), evaluate=held)
        found.append([result.accuracy for result in run.run(2)])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("text", "a str is no data set"),
        (np.zeros((3, 2)), "a ndarray is no data set"),
        ((1, 2, 3, 4), "this one has 4 parts"),
        ([1, 2], "item 0 of the list is no pair"),
        ([([1.0], 0), ([1.0, 2.0], 0)], "unequal shapes"),
        ([], "holds no examples"),
    ],
)
def test_what_holds_no_examples_is_refused_by_client(given, said):
    with pytest.raises(fedavg.DataError, match=f"client 0: .*{said}"):
        fedavg.Federation(nn.Linear(6, 2), {0: given}, exact())


def test_a_data_frame_alone_does_not_say_what_is_predicted():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(fedavg.DataError, match="which column is predicted"):
        fedavg.as_dataset(pandas.DataFrame({"x": [1.0], "y": [0]}))


def test_regression_reports_its_error_beside_the_mean():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6)).astype(np.float32)
    y = x @ np.array([3, -2, 1, 0, 0, 0], np.float32) + 10
    data = fedavg.Dataset(x, y, "numbers")
    training = fedavg.LocalTraining(epochs=10, lr=0.1)
    plan = exact(local_training=training, encoding=fedavg.FixedPoint(64.0, 24, rounding="nearest"))
    run = fedavg.Federation(nn.Linear(6, 1), split(data, 10), plan, evaluate=data)
    *_, last = run.run(5)
    assert (last.headline.name, last.headline.baseline.rule) == ("rmse", "mean")
    assert last.headline.baseline.value == pytest.approx(y.std(), rel=1e-5)
    assert last.headline.value < 0.1
    assert last.accuracy is None
