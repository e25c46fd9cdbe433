"""Clients trained at once: each as if alone, to the bit; and by the same formulas as in the autograd loop."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedavg.client import update as steps
from fedavg.data.dataset import Dataset
from fedavg.models.layout import Layout
from fedavg.models.zoo import FeedForward, build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.resolution import resolve
from fedavg.protocol.messages import RoundStart
from fedavg.simulation.faults import Faults
from fedavg.simulation.population import InProcess, Population
from fedavg.training.fast import stacked
from fedavg.training.fast.stacked import StackedPath
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update, local_updates, stackable, train_by_autograd
from tests.arch.tree import ROOT
from tests.e2e.small import MODEL, SUMS, clients, plan
from tests.fedavg.support.float64 import assert_same_formula, doubled, in_float64

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _dataset(count: int, seed: int, features: int = 6) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset(rng.normal(size=(count, features)), rng.integers(0, 3, count))


@dataclass(frozen=True)
class Case:
    """A model, examples and steps for each of some clients."""

    features: int = 6
    hidden: tuple[int, ...] = ()
    classes: int = 3
    count: int = 5
    batch: int | None = None
    epochs: int = 1
    decay: float = 1.0
    company: int = 3
    height: int = 1 << 20
    band: int = 1 << 18

    def build(self) -> FeedForward:
        torch.manual_seed(1)
        return FeedForward((self.features, *self.hidden, self.classes))

    def jobs(self) -> list[TrainingJob]:
        model, rng = self.build(), np.random.default_rng([self.features, self.count])
        training = LocalTraining(
            epochs=self.epochs, batch_size=self.batch, lr=0.5, step_decay=self.decay
        )
        layout = Layout.of(model)
        start, shape = layout.flatten(model), (self.count, self.features)
        return [
            TrainingJob(
                model,
                layout,
                start,
                Dataset(rng.standard_normal(shape), rng.integers(0, self.classes, self.count)),
                training,
                round_index=2,
                num_rounds=9,
                seed=seed,
            )
            for seed in range(self.company)
        ]


_CASES = st.builds(
    Case,
    features=st.sampled_from([1, 6, 13, 64]),
    # Two layers of 58 after 64 inputs are the widest with which every case has at most 8,192 parameters.
    hidden=st.lists(st.integers(1, 58), max_size=2).map(tuple),
    classes=st.integers(2, 11),
    count=st.integers(1, 9),
    batch=st.sampled_from([None, 1, 3, 20]),
    epochs=st.integers(1, 3),
    decay=st.sampled_from([1.0, 0.7]),
    company=st.integers(1, 7),
    height=st.sampled_from([1, 1000, 1 << 20]),
    band=st.sampled_from([1, 300, 1 << 18]),
)


@contextmanager
def _sizes(case: Case) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "_STACK", case.height)
        patch.setattr(stacked, "_PRODUCT", case.band)
        yield


@settings(deadline=None, max_examples=60)
@given(case=_CASES)
@example(Case(13, (50,), 4, count=1, company=2))  # torch's batched products round by their number
@example(Case(13, (64,), 3, count=1, company=2))
@example(Case(6, (1,), 2, count=9, batch=1, company=7))
def test_a_client_is_trained_alike_alone_and_in_company(case: Case) -> None:
    jobs = case.jobs()
    assert all(stackable(job) for job in jobs)
    with _sizes(case):
        for update, job in zip(local_updates(jobs), jobs, strict=True):
            assert (update == local_update(job)).all()


def test_so_it_is_on_an_old_processor() -> None:
    """Other kernels of BLAS, numpy and torch: none of them may depend on company either."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    old = {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "SSE4_2",
    }
    name = test_a_client_is_trained_alike_alone_and_in_company.__name__
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import {name} as test; test()"],
        env=os.environ | old,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@settings(deadline=None, max_examples=40)
@given(case=_CASES)
def test_stacked_steps_are_those_of_the_autograd_loop(case: Case) -> None:
    jobs = [doubled(job) for job in case.jobs()]
    with in_float64(), _sizes(case):
        for update, job in zip(local_updates(jobs), jobs, strict=True):
            assert_same_formula(update, train_by_autograd(job))


def test_float32_is_as_exact_as_one_expects() -> None:
    """Within a thousandth of float64's update: some steps in float32 are off by 1e-6 of it."""
    [job] = Case(64, (30,), 10, count=20, batch=4, epochs=2, company=1).jobs()
    update = local_update(job)
    with in_float64():
        exact = train_by_autograd(doubled(job))
    assert np.linalg.norm(update - exact) < 1e-3 * np.linalg.norm(exact)


def test_blocks_begin_at_multiples_of_64_bytes() -> None:
    """Mutant: with blocks end to end, where a client's numbers lie depends on its place in the stack."""
    for count, shape in ((1, (3,)), (2, (5, 7)), (5, (16, 4)), (7, (1, 1))):
        stack = stacked._Stack(count, *shape)
        assert stack.each.shape == (count, *shape)
        assert np.shares_memory(stack.flat, stack.each)
        assert {part.ctypes.data % 64 for part in stack.each} == {0}


def test_a_model_that_diverges_ends_as_nan() -> None:
    job = replace(Case(hidden=(64,)).jobs()[0], training=LocalTraining(lr=1e30, epochs=9))
    assert stackable(job)
    assert np.isnan(local_update(job)).any()


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
        transport = InProcess(Population(clients(6, sizes=(4, 4, 4)), Faults()), model, layout)
        transport.equip(resolution, b"", 0, None)
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
    ctx = steps.ClientContext(resolution, model, layout, side, 0)
    start = RoundStart(0, np.zeros(layout.size, "<f4").tobytes())
    whole = steps.train_together(ctx, everyone, start)
    assert set(whole) == set(range(6))
    monkeypatch.setattr(steps, "_AT_ONCE", 2 * layout.size)
    part = steps.train_together(ctx, everyone, start)
    assert set(part) == {0, 1}
    assert all((part[client] == whole[client]).all() for client in part)
