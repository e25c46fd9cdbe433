"""Opacus on the pooled records: the same model, q, noise and steps; nobody is protected from its owner."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import fedavg
from benchmarks.kit.measure import Bar, Measure
from benchmarks.kit.timing import Stopwatch
from benchmarks.records.settings import CLIP, TASKS, plan
from benchmarks.records.task import RECORDS
from fedavg.records.resolution import resolve_records

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from torch import nn

    from benchmarks.kit.bench import Bench
    from benchmarks.records.settings import Setting
    from benchmarks.records.task import Images

__all__ = ["accuracy", "speed"]

_AT_ONCE = (
    256  # records whose gradients Opacus holds together: its fastest of 64, 256 and 1,024 here
)


@dataclass(frozen=True, slots=True)
class _Pooled:
    """All records in one place, and DP-SGD on them by Opacus."""

    features: torch.Tensor
    labels: torch.Tensor
    rate: float
    model: Any
    optimizer: Any

    @classmethod
    def of(cls, opacus: ModuleType, images: Images, setting: Setting, multiplier: float) -> _Pooled:
        model: nn.Module = copy.deepcopy(TASKS[setting.task].model(0))
        wrapped = opacus.GradSampleModule(model, loss_reduction="sum")
        usual = torch.optim.SGD(
            wrapped.parameters(), lr=setting.lr / setting.batch, momentum=setting.momentum
        )
        optimizer = opacus.optimizers.DPOptimizer(
            usual,
            noise_multiplier=multiplier,
            max_grad_norm=CLIP,
            expected_batch_size=setting.batch,
            loss_reduction="sum",
        )
        silos = images.silos.values()
        return cls(
            torch.from_numpy(np.concatenate([data.features for data in silos])),
            torch.from_numpy(np.concatenate([data.labels for data in silos])),
            setting.batch / RECORDS,
            wrapped,
            optimizer,
        )

    def step(self) -> None:
        """One step on a Poisson sample, whose gradients are accumulated in parts."""
        drawn = torch.nonzero(torch.rand(len(self.labels)) < self.rate).flatten()
        parts = drawn.split(_AT_ONCE)
        for place, part in enumerate(parts):
            self.optimizer.signal_skip_step(do_skip=place + 1 < len(parts))
            found = self.model(self.features[part])
            torch.nn.functional.cross_entropy(found, self.labels[part], reduction="sum").backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    @torch.no_grad()
    def scored(self, test: fedavg.Dataset) -> float:
        """The accuracy on test images."""
        found = self.model(torch.from_numpy(test.features)).argmax(1).numpy()
        return float((found == test.labels).mean())


def _multiplier(images: Images, setting: Setting) -> float:
    """Our noise multiplier: Opacus's noise is that of one trusted party at the same ε."""
    used = plan(images, setting, protected=False)
    return resolve_records(used, silos=len(images.silos), vector_length=1).noise_multiplier


def accuracy(bench: Bench, images: Images, setting: Setting, ours: list[float]) -> None:
    """Train as often by Opacus, and add the difference of the means, in points."""
    opacus = bench.peer("opacus")
    if opacus is None:
        return
    multiplier, theirs = _multiplier(images, setting), list[float]()
    with bench.progress(f"Opacus, {setting.title}", len(ours) * setting.steps) as tick:
        for _ in ours:
            pooled = _Pooled.of(opacus, images, setting, multiplier)
            for _ in range(setting.steps):
                pooled.step()
                tick()
            theirs.append(pooled.scored(images.test))
    one, other = float(np.mean(ours)), float(np.mean(theirs))
    bench.add(
        Measure(
            f"against_opacus_{setting.key}",
            f"{setting.title}, beside Opacus on the pooled records",
            "",
            one,
            other,
            ratio=100 * (other - one),
            bar=Bar(0.3, 0.0, at_most=True) if images.real else None,
            note=f"the ratio is Opacus's lead in points; its noise is {multiplier:.3f}, that of one trusted "
            "party at the same ε",
        )
    )


def speed(bench: Bench, images: Images, setting: Setting, rounds: int) -> None:
    """Steps of both in turns, in the clear and of equally many records, and the seconds of one.

    Args:
        bench: where results go.
        images: the records, behind fixed features if the task has some.
        setting: the training, of which the first steps are taken.
        rounds: number of steps of each.
    """
    opacus = bench.peer("opacus")
    used = replace(plan(images, setting, protected=False), features=None)
    run = fedavg.RecordFederation(TASKS[setting.task].model(0), images.silos, used)
    stepping = run.run()
    calls: dict[str, Callable[[], object]] = {"ours": lambda: next(stepping)}
    if opacus is not None:
        pooled = _Pooled.of(opacus, images, setting, run.resolution.noise_multiplier)
        calls["opacus"] = pooled.step
    walls = {name: Stopwatch(wall=True) for name in calls}
    title = f"a step, {TASKS[setting.task].name}"
    spent = bench.contest(
        title,
        {name: partial(_timed, call, walls[name]) for name, call in calls.items()},
        rounds=rounds,
    )
    stepping.close()
    wall = {name: watch.seconds / (rounds + 1) for name, watch in walls.items()}
    least, hoped = (1.5, 3.0) if setting.task == "cnn" else (3.0, 6.0)
    bench.add(
        Measure(
            f"step_{setting.task}",
            f"CPU time of {title}",
            "s",
            spent["ours"],
            spent.get("opacus"),
            bar=bench.bar(least, hoped),
            note=f"batch {setting.batch:,}, in the clear and without padding, ten silos against the pooled "
            f"records; one thread; Opacus holds {_AT_ONCE} records at once",
        ),
        Measure(
            f"step_wall_{setting.task}",
            f"wall time of {title}",
            "s",
            wall["ours"],
            wall.get("opacus"),
            note="means of the same steps and of the warm-up",
        ),
    )


def _timed(call: Callable[[], object], watch: Stopwatch) -> None:
    with watch:
        call()
