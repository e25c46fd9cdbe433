"""What the suite reports: accuracy, the three ε, seconds of a step, and the secure sum's share of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import fedavg
from benchmarks.kit.measure import Bar, Curve, Measure
from benchmarks.records.task import network

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench
    from benchmarks.records.task import Images

__all__ = ["add", "plan"]

_RATE_OF = 2048 / 60_000
_CLIP, _LR, _MOMENTUM, _DELTA = 0.1, 2.0, 0.9, 1e-5
_BARS = {3.0: 0.97, 1.0: 0.95}
_REACH = {3.0: 0.978, 1.0: 0.965}
_OURS = ("gradients", "score")


def plan(images: Images, epsilon: float, steps: int) -> fedavg.RecordPlan:
    """Poisson sampling of about 2,048 records a step, with noise shared by ten silos."""
    records = sum(map(len, images.silos.values()))
    privacy = fedavg.RecordPrivacy(
        unit="record",
        rate=_RATE_OF,
        clip=_CLIP,
        max_units=images.largest,
        epsilon=epsilon,
        delta=_DELTA,
    )
    return fedavg.RecordPlan(
        privacy=privacy,
        steps=steps,
        divisor=_RATE_OF * records,
        server_optimizer=fedavg.FedMomentum(lr=_LR, momentum=_MOMENTUM),
        micro_batch=64,
    )


def add(bench: Bench, images: Images, epsilon: float, steps: int) -> None:
    """Train, and add what was found."""
    federation = fedavg.RecordFederation(
        network(seed=0), images.silos, plan(images, epsilon, steps), evaluate=images.test
    )
    resolution, seconds, scores = federation.resolution, dict[str, float](), []
    sent, begun = 0, time.process_time()
    with bench.progress("steps", steps) as tick:
        for result in federation.run(score_every=max(1, steps // 8)):
            for stage, spent in result.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
            sent += result.bytes_up
            if result.evaluation is not None and result.evaluation.accuracy is not None:
                scores.append((float(result.step), result.evaluation.accuracy))
            tick()
    spent = time.process_time() - begun
    found = federation.epsilons
    accuracy = scores[-1][1]
    bar = (
        Bar(_BARS[epsilon], _REACH[epsilon], of="ours")
        if epsilon in _BARS and images.real
        else None
    )
    step = sum(value for stage, value in seconds.items() if stage != "score")
    share = 1 - seconds["gradients"] / step
    note = (
        f"one run of {steps} steps; noise multiplier {resolution.noise_multiplier:.3f} for the server with "
        f"{found.colluders} of {resolution.silos} silos, every silo padded to {resolution.most_units} records"
    )
    bench.add(
        Measure("accuracy", "accuracy on test images", "", accuracy, bar=bar, note=note),
        Measure("epsilon_release", "ε towards an observer of the models", "", found.release),
        Measure(
            "epsilon_budget", "ε towards the server with its colluders", "", found.colluding or 0.0
        ),
        Measure("step", "CPU time of a step of all silos", "s", spent / steps),
        Measure(
            "sum_share",
            "the secure sum's share of a step",
            "",
            share,
            bar=Bar(0.25, 0.1, of="ours", at_most=True) if images.real else None,
            note="wall time of all silos and the server, one after the other",
        ),
        Measure("upload", "uploaded by a silo in a step", "B", sent / steps / resolution.silos),
        Curve("accuracy_by_step", "accuracy by step", "steps", "accuracy", {"ours": scores}),
    )
