"""SCAFFOLD against Algorithm 1 in plain numpy; where it converges and federated averaging does not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.algorithms.chain import ClientChain
from fedavg.algorithms.scaffold import Scaffold, Variates
from fedavg.algorithms.state import FolderStore
from fedavg.client.update import ClientContext, Prepared, prepare, prepare_nothing
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import LocalProtocolError, NonFiniteError, PlanError
from fedavg.federation.federation import Federation
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.schedule import Schedule
from fedavg.optimizers.server import FedAvg
from fedavg.plan.resolution import resolve
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import CentralGaussian, DistributedDiscreteGaussian, DistributedSkellam
from fedavg.privacy.sampling import FixedCohort
from fedavg.protocol.messages import RoundStart, start_digest
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from fedavg.training.job import TrainingJob
from tests.e2e.small import LENGTH, MODEL, SUMS, clients, examples, federation, plan

FINE = FixedPoint(
    4.0, 40, rounding="nearest"
)  # a grid of 1e-11, so that only float32 is between us
EVERY_STEP = LocalTraining(steps=5, batch_size=3, lr=0.2, l2=0.05)
BY_EPOCHS = LocalTraining(
    epochs=2, batch_size=3, lr=0.2, step_decay=0.9, schedule=Schedule("cosine")
)


def _gradient(w, data, rows, l2):
    x = np.hstack([data.features, np.ones((len(data), 1))]).astype(float)[rows]
    logits = x @ w.T
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(x)), data.labels[rows]] -= 1
    return p.T @ x / len(x) + l2 * w


def _matrix(vector):
    return np.hstack([vector[:36].reshape(3, 12), vector[36:, None]])


def _reference(start, population, rounds, training, cohorts, server_lr=1.0):
    """Karimireddy et al. 2020, Algorithm 1 with option II, as it is printed; in float64."""
    x, c = _matrix(start), np.zeros((3, 13))
    own = {i: np.zeros((3, 13)) for i in population}
    for r in range(rounds):
        moves, changes = [], []
        for i in cohorts[r]:
            y, rates, data = x.copy(), [], population[i]
            job = TrainingJob(None, None, start, data, training, seed=i, round_index=r)
            for s, batch in enumerate(job.batches()):
                rows = slice(None) if batch is None else batch.numpy()
                rates.append(training.lr_at(r, rounds) * training.step_decay**s)
                y -= rates[-1] * (_gradient(y, data, rows, training.l2) - own[i] + c)
            new = own[i] - c + (x - y) / sum(rates)
            moves.append(y - x)
            changes.append(new - own[i])
            own[i] = new
        x = x + server_lr * np.mean(moves, axis=0)
        c = c + len(cohorts[r]) / len(population) * np.mean(changes, axis=0)
    return x, c, own


def _stores(run):
    """The clients' own variates, as kept in this process."""
    ctx = next(iter(run._population._clients.values()))._ctx
    return ctx.store


class Watched(Federation):
    """Keeps hold of its clients, to look at what they keep."""

    def _transport(self):
        transport = super()._transport()
        self._population = transport._population
        return transport


def _watched(training, rounds, cohort=6, n=10, **changes):
    parts = {"encoding": FINE, "local_training": training, "stages": (Scaffold(),)} | changes
    cohort = FixedCohort(cohort)
    run = Watched(MODEL, clients(n), plan(InsecurePlain(), cohort=cohort, **parts))
    start = run.released.copy()
    cohorts = [run.last_sum.survivors for _ in run.run(rounds)]
    return run, start, cohorts


@pytest.mark.parametrize("training", [EVERY_STEP, BY_EPOCHS], ids=["computed", "joined"])
def test_rounds_are_algorithm_1(training):
    """Seven rounds of 6 out of 10 clients of 3, 5 and 8 examples; the server's rate is 0.7."""
    run, start, cohorts = _watched(training, 7, server_optimizer=FedAvg(0.7))
    assert len({frozenset(cohort) for cohort in cohorts}) > 1
    x, c, own = _reference(start, clients(10), 7, training, cohorts, 0.7)
    np.testing.assert_allclose(_matrix(run.released), x, atol=3e-6)
    np.testing.assert_allclose(_matrix(run._global.stages.arrays["scaffold"]), c, atol=2e-5)
    for client in range(10):
        kept = _stores(run).load(client, 10**6).get("scaffold.control", np.zeros(LENGTH))
        np.testing.assert_allclose(_matrix(kept), own[client], atol=2e-5)
    assert np.abs(c).max() > 0.005  # whoever was drawn; far beyond the tolerance above


@pytest.mark.parametrize("training", [EVERY_STEP, BY_EPOCHS], ids=["computed", "joined"])
def test_the_servers_variate_is_the_mean_of_the_clients(training):
    """On a coarse grid of 8/2^11, since a client counts what it sent: to 1e-9, not to the grid."""
    coarse = FixedPoint(8.0, 12, rounding="nearest")
    run, _, _ = _watched(training, 6, encoding=coarse)
    kept = [
        _stores(run).load(i, 10**6).get("scaffold.control", np.zeros(LENGTH)) for i in range(10)
    ]
    np.testing.assert_allclose(
        run._global.stages.arrays["scaffold"], np.mean(kept, axis=0), atol=1e-9
    )


def test_the_mutant_that_counts_what_it_wanted_to_send_drifts_off(monkeypatch):
    coarse = FixedPoint(8.0, 12, rounding="nearest")
    exact = {}

    def sent(self, update):
        exact[id(self)] = update
        return update

    monkeypatch.setattr(Variates, "sent", sent)
    monkeypatch.setattr(
        Variates,
        "keep",
        lambda self, *_: {"control": self.own + self._change(exact[id(self)])},
    )
    run, _, _ = _watched(EVERY_STEP, 6, encoding=coarse)
    kept = [
        _stores(run).load(i, 10**6).get("scaffold.control", np.zeros(LENGTH)) for i in range(10)
    ]
    assert np.abs(run._global.stages.arrays["scaffold"] - np.mean(kept, axis=0)).max() > 1e-5


def _split_by_label():
    """Three clients, each of one or two of three overlapping classes."""
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1, 1, 2, 2, 0], 20)
    features = rng.standard_normal((120, 12)) + 1.5 * np.eye(12)[labels]
    return {
        i: Dataset(features[40 * i : 40 * i + 40], labels[40 * i : 40 * i + 40]) for i in range(3)
    }


def _optimum(population, l2):
    """Of the mean of the clients' losses, by gradient descent in float64."""
    w = np.zeros((3, 13))
    for _ in range(6000):
        w -= 0.5 * np.mean([_gradient(w, d, slice(None), l2) for d in population.values()], axis=0)
    return w


@pytest.mark.parametrize(("scaffolded", "near"), [(True, True), (False, False)])
def test_it_reaches_the_optimum_that_federated_averaging_drifts_from(scaffolded, near):
    """Strongly convex (l2 = 0.05), 25 full-batch steps a round: averaging's fixed point is elsewhere."""
    population = _split_by_label()
    training = LocalTraining(steps=25, lr=0.4, l2=0.05)
    changes = {"encoding": FINE, "local_training": training, "weighting": "equal"}
    run = Federation(
        MODEL,
        population,
        plan(InsecurePlain(), **(changes | {"stages": (Scaffold(),) if scaffolded else ()})),
    )
    best = _optimum(population, 0.05)
    begun = np.linalg.norm(_matrix(run.released) - best)
    list(run.run(60))
    error = np.linalg.norm(_matrix(run.released) - best) / begun
    assert (error < 1e-3) if near else (error > 0.2)


@pytest.mark.parametrize("training", [EVERY_STEP, BY_EPOCHS], ids=["computed", "joined"])
@pytest.mark.parametrize("name", [name for name in SUMS if name != "insecure-plain"])
def test_every_secure_sum_trains_the_same_model_to_the_bit(name, training):
    changes = {"stages": (Scaffold(),), "local_training": training}
    plain, masked = (federation(SUMS[kind], changes=changes) for kind in ("insecure-plain", name))
    for run in (plain, masked):
        assert all(result.skipped is None for result in run.run(2))
    assert np.array_equal(plain.released, masked.released)
    assert np.array_equal(
        plain._global.stages.arrays["scaffold"], masked._global.stages.arrays["scaffold"]
    )


def test_nothing_more_is_sent_where_steps_are_equal():
    bytes_up = {}
    for name, training in (("equal", EVERY_STEP), ("unequal", BY_EPOCHS)):
        for scaffolded in (False, True):
            changes = {
                "local_training": training,
                "stages": (Scaffold(),) if scaffolded else (),
                "weighting": "equal",
            }
            run = federation(InsecurePlain(), changes=changes)
            (result,) = run.run(1)
            bytes_up[name, scaffolded] = result.bytes_up
    assert bytes_up["equal", True] == bytes_up["equal", False]
    more = bytes_up["unequal", True] - bytes_up["unequal", False]
    assert more >= 20 * 4 * LENGTH  # four bytes a coordinate in the clear


def test_the_plain_loop_corrects_as_the_fast_path_does(monkeypatch):

    runs = []
    for fits in (True, False):
        if not fits:
            monkeypatch.setattr("fedavg.training.loop.FAST_PATHS", [])
        runs.append(
            federation(
                InsecurePlain(), changes={"stages": (Scaffold(),), "local_training": EVERY_STEP}
            )
        )
        list(runs[-1].run(3))
    np.testing.assert_allclose(runs[0].released, runs[1].released, atol=1e-4)
    assert np.abs(runs[0]._global.stages.arrays["scaffold"]).max() > 0.05


def test_worker_processes_give_the_same_model():
    changes = {"stages": (Scaffold(),), "local_training": BY_EPOCHS}
    here, there = (federation(InsecurePlain(), changes=changes, workers=n) for n in (0, 2))
    for run in (here, there):
        list(run.run(3))
    assert np.array_equal(here.released, there.released)
    assert np.array_equal(
        here._global.stages.arrays["scaffold"], there._global.stages.arrays["scaffold"]
    )


PRIVATE = {"encoding": FixedPoint(0.5, 12), "noise": CentralGaussian(1.0), "stages": (Scaffold(),)}


def _resolved(**changes):
    return resolve(
        plan(InsecurePlain(), **(PRIVATE | changes)),
        num_clients=20,
        vector_length=LENGTH,
        num_rounds=4,
        largest_client=8,
    )


def test_under_dp_the_sensitivity_is_that_of_the_joint_vector():
    joined, computed = (_resolved(local_training=t) for t in (BY_EPOCHS, EVERY_STEP))
    assert joined.sensitivity.dimension == 2 * LENGTH
    assert joined.sensitivity.l2 == joined.plan.encoding.l2_sensitivity(2 * LENGTH)
    assert computed.sensitivity.dimension == LENGTH
    # one multiplier, one event: the noise grows with the vector
    assert joined.release_event() == computed.release_event()
    assert joined.server_stddev(20, 20) > computed.server_stddev(20, 20)


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from([0.0, 1e-3, 1.0, 1e6, math.inf, math.nan]),
    other=st.sampled_from([0.0, 1.0, 1e9]),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("training", [EVERY_STEP, BY_EPOCHS], ids=["computed", "joined"])
def test_whatever_a_client_holds_it_stays_within_the_sensitivity(training, size, other, seed):
    """Hostile server (c) and data (Δ): the encoded joint vector obeys the norm that noise is scaled to."""
    resolution = _resolved(local_training=training)
    rng = np.random.default_rng(seed)
    model = MODEL.build()
    from fedavg.client import update as module
    from fedavg.models.layout import Layout

    layout = Layout.of(model)
    ctx = ClientContext(resolution, model, layout, InsecurePlain().client_side(b""), 0)
    control = (rng.standard_normal(LENGTH) * other).astype("<f4")
    start = RoundStart(0, np.zeros(LENGTH, "<f4").tobytes(), extras={"scaffold": control.tobytes()})
    state = {"scaffold.control": rng.standard_normal(LENGTH) * other}
    with pytest.MonkeyPatch.context() as patch:
        drawn = rng.standard_normal(LENGTH) * size
        patch.setattr(module, "local_update", lambda *_, **__: drawn)
        try:
            prepared = prepare(ctx, 3, examples(5, 0), start, state)
        except NonFiniteError as error:
            assert not math.isfinite(size)
            prepared = prepare_nothing(ctx, 3, examples(5, 0), start, state, error)
    assert isinstance(prepared, Prepared)
    norm = np.linalg.norm(prepared.encoded.astype(float))
    assert norm <= resolution.sensitivity.l2 * (1 + 1e-9)
    assert np.isfinite(prepared.state["scaffold.control"]).all()


def test_under_dp_the_servers_variate_is_a_function_of_what_was_released():
    """From the noisy mean and public numbers alone: who survived is no argument."""
    resolution = _resolved(local_training=EVERY_STEP)
    rng = np.random.default_rng(0)
    control, mean = rng.standard_normal((2, LENGTH))
    facts, expected = resolution.facts(1), resolution.expected_cohort
    _, after = Scaffold().received(facts, mean, expected, control)
    shown = control.astype(np.float32)
    np.testing.assert_allclose(
        after, control - shown - mean / (0.2 * 5), rtol=1e-12
    )  # all take part
    run = federation(InsecurePlain(), n=30, changes=PRIVATE | {"local_training": EVERY_STEP})
    results = list(run.run(3))
    assert all(result.skipped is None for result in results)
    assert np.abs(run._global.stages.arrays["scaffold"]).max() > 0


@pytest.mark.parametrize("noise", [DistributedSkellam(1.0), DistributedDiscreteGaussian(1.0)])
@pytest.mark.parametrize("clipping", [None, AdaptiveClipping(bit_stddev=8.0)])
def test_under_masks_and_noise_epsilon_is_that_of_the_plan_without(noise, clipping):
    spent = {}
    for scaffolded in (False, True):
        changes = PRIVATE | {"noise": noise, "clipping": clipping, "local_training": BY_EPOCHS}
        run = federation(
            SecAgg(), n=30, changes=changes | {"stages": (Scaffold(),) if scaffolded else ()}
        )
        results = list(run.run(2))
        assert all(result.skipped is None for result in results)
        spent[scaffolded] = results[-1].epsilon_release
    assert run._global.stages.arrays["scaffold"].any()
    assert spent[True] == pytest.approx(
        spent[False], rel=0.02
    )  # a wider vector rounds a little more


def test_a_checkpoint_holds_the_servers_variate(tmp_path):
    from fedavg.federation.checkpoint import RunJournal
    from tests.fedavg.federation.test_checkpoint import stop_in_round

    for name, training in (("computed", EVERY_STEP), ("joined", BY_EPOCHS)):
        changes = {"stages": (Scaffold(),), "local_training": training}
        whole = federation(InsecurePlain(), changes=changes)
        list(whole.run(5))
        folder = tmp_path / name
        folder.mkdir()
        options = {"changes": changes, "client_store": folder / "clients"}
        journal = RunJournal(folder)
        stop_in_round(federation(InsecurePlain(), journal=journal, **options), journal, 4, rounds=5)
        second = federation(InsecurePlain(), journal=RunJournal(folder), **options)
        list(second.run(5, RunJournal(folder).load()))
        assert np.array_equal(second.released, whole.released)
        assert np.array_equal(
            second._global.stages.arrays["scaffold"], whole._global.stages.arrays["scaffold"]
        )


def test_what_a_round_left_behind_that_broke_off_is_forgotten(tmp_path, monkeypatch):
    """Its clients had moved their cᵢ, and it is run again with others: c stays the mean of all cᵢ.

    Mutant: nothing is rewound.
    """
    from fedavg.federation.checkpoint import RunJournal

    draws = iter([(0, 1, 2, 3), (0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 0, 4)])
    monkeypatch.setattr(FixedCohort, "draw", lambda *_: next(draws))
    changes = {"stages": (Scaffold(),), "local_training": EVERY_STEP, "cohort": FixedCohort(4)}
    options = {"n": 10, "changes": changes, "client_store": tmp_path / "clients"}
    broken = federation(InsecurePlain(), journal=RunJournal(tmp_path), **options).run(3)
    next(broken)
    with monkeypatch.context() as patch:
        patch.setattr(RunJournal, "finished", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            next(broken)
    second = federation(InsecurePlain(), journal=RunJournal(tmp_path), **options)
    assert len(list(second.run(3, RunJournal(tmp_path).load()))) == 2
    store, none = FolderStore(tmp_path / "clients"), np.zeros(LENGTH)
    kept = [store.load(client, 10**6).get("scaffold.control", none) for client in range(10)]
    np.testing.assert_allclose(
        second._global.stages.arrays["scaffold"], np.mean(kept, axis=0), atol=1e-7
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"local_training": LocalTraining(optimizer="momentum")}, "mean gradient"),
        ({"local_training": LocalTraining(optimizer="adamw")}, "mean gradient"),
        ({"local_training": LocalTraining(proximal=0.1)}, "FedProx"),
        ({"weighting": "examples"}, "unweighted mean"),
        (
            {"secure_sum": Selective(Bfv(), SecAgg(), SensitivityMap.random(LENGTH, 0.5, seed=0))},
            "other coordinates",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(changes, word):
    with pytest.raises(PlanError, match=word):
        replace(plan(InsecurePlain()), stages=(Scaffold(),), **changes)


def test_encrypting_in_part_goes_with_equal_steps():
    sums = Selective(Bfv(), SecAgg(), SensitivityMap.random(LENGTH, 0.5, seed=0))
    changes = {"stages": (Scaffold(),), "local_training": EVERY_STEP}
    runs = [federation(kind, changes=changes) for kind in (sums, InsecurePlain())]
    for run in runs:
        list(run.run(2))
    assert np.array_equal(runs[0].released, runs[1].released)


def _chain(resolution, control):
    extras = {} if control is None else {"scaffold": control}
    facts = replace(resolution.facts(0), examples=5)
    return ClientChain(resolution.plan.stages, facts, extras, {})


@pytest.mark.parametrize(
    ("control", "word"),
    [
        (None, "disagree"),
        (b"", "not of 39"),
        (np.full(LENGTH, np.nan, "<f4").tobytes(), "NaN"),
    ],
)
def test_a_client_refuses_what_is_no_control_variate(control, word):
    resolution = _resolved(local_training=EVERY_STEP)
    with pytest.raises(LocalProtocolError, match=word):
        _chain(resolution, control)
    without = resolve(
        plan(InsecurePlain()), num_clients=20, vector_length=LENGTH, num_rounds=4, largest_client=8
    )
    with pytest.raises(LocalProtocolError, match="disagree"):
        _chain(without, b"\0" * 4 * LENGTH)


def test_the_variate_is_bound_into_the_rounds_context():
    starts = [
        RoundStart(0, b"m", extras=extras)
        for extras in ({}, {"scaffold": b"a"}, {"scaffold": b"b"}, {"another": b"a"})
    ]
    assert len({start_digest(start) for start in starts}) == 4
