"""What the suite reports: accuracies at ε, and where the time of a protected step goes."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import fedavg
from benchmarks.kit.measure import Bar, Curve, Measure, Table
from benchmarks.records.settings import TASKS, plan
from fedavg.records.prepared import featured

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench
    from benchmarks.records.settings import Setting
    from benchmarks.records.task import Images

__all__ = ["accuracies", "ready", "steps"]


def ready(images: Images, setting: Setting) -> Images:
    """The images with the task's features, computed once for all runs of the suite."""
    part = TASKS[setting.task].features
    silos = {silo: featured(data, part) for silo, data in images.silos.items()}
    return replace(images, silos=silos, test=featured(images.test, part))


def accuracies(bench: Bench, images: Images, setting: Setting, runs: int) -> list[float]:
    """Train several times in the clear, without padding, and add the mean accuracy.

    Args:
        bench: where results go.
        images: as of `ready`.
        setting: the training.
        runs: number of runs, each with coins and noise of its own, and with initial weights of its own seed.

    Returns:
        The accuracy of each run.
    """
    found, curve = list[float](), list[tuple[float, float]]()
    used = replace(plan(images, setting, protected=False), features=None)
    multiplier = overhead = 0.0
    with bench.progress(setting.title, runs * setting.steps) as tick:
        for seed in range(runs):
            model = TASKS[setting.task].model(seed)
            run = fedavg.RecordFederation(model, images.silos, used, evaluate=images.test)
            last = 0.0
            multiplier, overhead = run.resolution.noise_multiplier, run.resolution.noise_overhead
            for result in run.run(score_every=max(1, setting.steps // 8)):
                if result.evaluation is not None and result.evaluation.accuracy is not None:
                    point = float(result.step), result.evaluation.accuracy
                    curve += [point] if not seed else []
                    last = result.evaluation.accuracy
                tick()
            found.append(last)
    bar = Bar(setting.bar, setting.reach, of="ours") if images.real else None
    spread = f" ({min(found):.4f}–{max(found):.4f})" if runs > 1 else ""
    note = (
        f"mean of {runs} runs{spread}, q = {setting.batch}/60,000, lr {setting.lr:g}; noise multiplier "
        f"{multiplier:.3f} for the server with one silo, {overhead:.2f} times as much noise in the sum; sums "
        "in the clear, of the same integers"
    )
    bench.add(
        Measure(setting.key, setting.title, "", statistics.fmean(found), bar=bar, note=note),
        Curve(f"by_step_{setting.key}", setting.title, "steps", "accuracy", {"ours": curve}),
    )
    return found


def steps(bench: Bench, images: Images, setting: Setting, count: int) -> None:
    """Take some protected and padded steps, and add their cost and the secure sum's share of it.

    Args:
        bench: where results go.
        images: as of `ready`.
        setting: the training, of which the first steps are taken.
        count: number of steps, at least 2; the first one is a warm-up.
    """
    used = replace(plan(images, setting, protected=True), features=None)
    run = fedavg.RecordFederation(TASKS[setting.task].model(0), images.silos, used)
    walls, sent, begun, taken = Counter[str](), 0, 0.0, 0
    stepping = run.run()
    for _ in range(count):
        result = next(stepping)
        if not begun:
            begun = time.process_time()
            continue
        walls.update(result.seconds)
        sent, taken = sent + result.bytes_up, taken + 1
    spent = (time.process_time() - begun) / taken
    stepping.close()
    planned = run.planned_epsilons()
    resolution, wall = run.resolution, walls.total()
    name = TASKS[setting.task].name
    judged = images.real and setting.task == "cnn"
    bar = bench.bar(0.25, 0.1, of="ours", at_most=True) if judged else None
    bench.add(
        Measure(
            f"sum_share_{setting.task}",
            f"the secure sum's share of a step, {name}",
            "",
            1 - walls["gradients"] / wall,
            bar=bar,
            note=f"wall time of {resolution.silos} silos and the server, one after the other; d = "
            f"{resolution.vector_length:,}, {taken} steps, every silo padded to {resolution.most_units} "
            f"records where {setting.batch // resolution.silos} are drawn on average",
        ),
        Table(
            f"protected_step_{setting.task}",
            f"a protected step of ten silos, {name}",
            ("figure", "value"),
            [
                ("CPU time of all silos and the server, s", spent),
                ("uploaded by a silo, B", sent / taken / resolution.silos),
                ("ε towards an observer of the models", planned.release),
                ("ε towards the server with one silo", planned.colluding or 0.0),
            ],
        ),
    )
