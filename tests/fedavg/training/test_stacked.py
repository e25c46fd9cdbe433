"""Clients trained at once: each as if alone, to the bit, and as the plain loop, to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.client import update as steps
from fedavg.data.dataset import Dataset
from fedavg.models.layout import Layout
from fedavg.models.zoo import build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.resolution import resolve
from fedavg.protocol.messages import RoundStart
from fedavg.simulation.population import Faults, InProcess, Population
from fedavg.training.fast import stacked
from fedavg.training.fast.stacked import StackedPath
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update, local_updates, stackable
from tests.e2e.small import MODEL, SUMS, clients, plan


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _dataset(count: int, seed: int, features: int = 6) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset(rng.normal(size=(count, features)), rng.integers(0, 3, count))


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(["softmax", "mlp"]),
    features=st.sampled_from([6, 13, 64]),
    count=st.integers(1, 9),
    batch=st.sampled_from([None, 1, 3, 20]),
    epochs=st.integers(1, 3),
    decay=st.sampled_from([1.0, 0.7]),
    company=st.integers(1, 7),
    height=st.sampled_from([1, 50, 1 << 20]),
)
def test_a_client_is_trained_alike_alone_and_in_company(
    name: str,
    features: int,
    count: int,
    batch: int | None,
    epochs: int,
    decay: float,
    company: int,
    height: int,
) -> None:
    model = build_model(name, (features,), 3, seed=1)
    layout = Layout.of(model)
    start = layout.flatten(model)
    training = LocalTraining(epochs=epochs, batch_size=batch, lr=0.2, step_decay=decay)
    options = {"round_index": 2, "num_rounds": 9}
    jobs = [
        TrainingJob(
            model, layout, start, _dataset(count, seed, features), training, **options, seed=seed
        )
        for seed in range(company)
    ]
    assert all(stackable(job) for job in jobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "_STACK", height)
        together = local_updates(jobs)
    for update, job in zip(together, jobs, strict=True):
        alone = local_update(job)
        assert (update == alone).all()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fedavg.training.loop.FAST_PATHS", [])
            plain = local_update(job)
        np.testing.assert_allclose(update, plain, atol=2e-6)


def test_what_is_stacked_does_not_depend_on_company() -> None:
    small, training = build_model("softmax", (6,), 3, seed=0), LocalTraining()
    layout, data = Layout.of(small), _dataset(5, 0)
    job = TrainingJob(small, layout, np.zeros(layout.size), data, training)
    assert stackable(job)
    large = build_model("2nn", (6,), 3, seed=0)
    assert not stackable(replace(job, model=large, layout=Layout.of(large)))
    assert not stackable(replace(job, training=LocalTraining(optimizer="adam")))
    assert not stackable(replace(job, training=LocalTraining(l2=0.1)))
    assert not stackable(replace(job, correction=np.ones(layout.size)))
    assert not stackable(replace(job, dataset=_dataset(5, 0, features=5)))
    assert not stackable(replace(job, dataset=_dataset(50_000, 0)))
    small.dense()[0].bias.requires_grad_(False)
    assert not stackable(job)


def test_a_population_trains_its_small_models_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The round's sum is that of clients trained one by one; mutant: updates handed to others."""
    from tests.fedavg.simulation.test_pool import _sum_over

    model = MODEL.build()
    layout, chosen = Layout.of(model), plan(SUMS["insecure-plain"])
    resolution = resolve(
        chosen, num_clients=6, vector_length=layout.size, num_rounds=3, largest_client=8
    )
    stacks: list[int] = []
    run_together = StackedPath.run_together

    def spy(path: StackedPath, jobs: list[TrainingJob]) -> object:
        stacks.append(len(jobs))
        return run_together(path, jobs)

    monkeypatch.setattr(StackedPath, "run_together", spy)
    sums = []
    for together in (True, False):
        transport = InProcess(Population(clients(6, sizes=(4, 4, 4)), Faults()))
        transport.equip(resolution, model, layout, b"", 0)
        if not together:
            monkeypatch.setattr(Population, "train_together", lambda *_: None)
        sums.append(_sum_over(transport, resolution, 0, MODEL))
    assert sums[0] == sums[1]
    assert any(sums[0])
    assert stacks == [3, 1, 1, 1]


def test_only_so_many_updates_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the cohort; mutant: all are trained before the first one answers."""
    model = MODEL.build()
    layout, everyone = Layout.of(model), clients(6, sizes=(4,))
    resolution = resolve(
        plan(SUMS["insecure-plain"]),
        num_clients=6,
        vector_length=layout.size,
        num_rounds=3,
        largest_client=8,
    )
    side = SUMS["insecure-plain"].client_side(b"")
    bench = steps.Workbench(resolution, model, layout, side, 0)
    start = RoundStart(0, np.zeros(layout.size, "<f4").tobytes())
    whole = steps.train_together(bench, everyone, start)
    assert set(whole) == set(range(6))
    monkeypatch.setattr(steps, "_AT_ONCE", 2 * layout.size)
    part = steps.train_together(bench, everyone, start)
    assert set(part) == {0, 1}
    assert all((part[client] == whole[client]).all() for client in part)
