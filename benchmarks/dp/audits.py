"""Audits on the Gaussian mechanism, whose ε is known: how much they attain, and what they cost."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Bar, Measure, Table
from benchmarks.kit.timing import Timing
from dp import audit, gaussian_epsilon

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_DELTA = 1e-5
_GENERATOR = np.random.default_rng(0)  # the simulated mechanism's noise; canaries come from dp


def run(bench: Bench) -> None:
    """One run and one shot at several noise multipliers."""
    canaries, dimension = bench.pick(quick=(500, 2000), default=(4000, 10_000), full=(4000, 10_000))
    repeats = bench.pick(quick=2, default=5, full=10)
    rows: list[tuple[object, ...]] = []
    bounds: dict[str, list[float]] = {"any": [], "gaussian": []}
    estimates: list[float] = []
    costs: dict[str, list[float]] = {"run": [], "shot": []}
    noises = (0.5, 1.0, 2.0)
    with bench.progress("audits", len(noises) * repeats) as tick:
        for noise in noises:
            truth = gaussian_epsilon(noise, _DELTA)
            found: dict[str, list[float]] = {"any": [], "gaussian": [], "shot": []}
            for _ in range(repeats):
                for family, ratio in _one_run(canaries, dimension, noise, costs["run"]).items():
                    found[family].append(ratio / truth)
                found["shot"].append(_one_shot(canaries, dimension, noise, costs["shot"]) / truth)
                tick()
            for family, ratios in bounds.items():
                ratios.append(statistics.median(found[family]))
            estimates += found["shot"]
            rows.append((noise, truth, *(statistics.median(found[key]) for key in found)))
    bar = Bar(0.5, of="ours") if canaries == 4000 else None
    bench.add(
        _bound("any", bounds["any"], canaries, None),
        _bound("gaussian", bounds["gaussian"], canaries, bar),
        Measure(
            "one_shot_error",
            "one shot: mean error of the estimate",
            "of ε",
            ours=statistics.mean(abs(ratio - 1) for ratio in estimates),
            bar=Bar(0.1, of="ours", at_most=True),
            note=f"{canaries:,} canaries in {dimension:,} dimensions; an estimate, no bound",
        ),
        Measure(
            "audit_cpu",
            "one audit in one run, CPU",
            "s",
            ours=Timing.of(costs["run"]),
            bar=Bar(5.0, of="ours", at_most=True),
            note="canaries, scores, planned guesses and both bounds",
        ),
        Measure(
            "one_shot_cpu",
            "one audit in one shot, CPU",
            "s",
            ours=Timing.of(costs["shot"]),
            bar=Bar(5.0, of="ours", at_most=True),
        ),
        Table(
            "audits",
            "Audits of one Gaussian release: figure ÷ true ε, median",
            ("σ", "true ε", "one run, any", "one run, Gaussian", "one shot"),
            rows,
        ),
    )


def _bound(family: str, ratios: list[float], canaries: int, bar: Bar | None) -> Measure:
    names = {"any": "nothing assumed", "gaussian": "Gaussian privacy assumed"}
    return Measure(
        f"one_run_{family}",
        f"one run: 95 % lower bound ÷ true ε, {names[family]}",
        "",
        ours=min(ratios),
        bar=bar,
        note=f"{canaries:,} canaries; the worst of σ = 0.5, 1, 2, medians",
    )


def _mechanism(sent: NDArray[np.floating], noise: float) -> NDArray[np.float64]:
    return sent + noise * _GENERATOR.standard_normal(sent.size)


def _one_run(
    canaries: int, dimension: int, noise: float, costs: list[float]
) -> dict[audit.Family, float]:
    start = time.process_time()
    rows, coins = audit.unit_canaries(canaries, dimension), audit.fair_coins(canaries)
    before = time.process_time() - start
    released = _mechanism(coins.astype(np.float32) @ rows, noise)
    start = time.process_time()
    scores = audit.canary_scores(released, rows, stddev=noise)
    found: dict[audit.Family, float] = {}
    families: tuple[audit.Family, ...] = ("any", "gaussian")
    for family in families:
        guesses = audit.plan_guesses(canaries, 1 / noise, delta=_DELTA, family=family)
        bound = audit.one_run(scores, coins, delta=_DELTA, guesses=guesses, family=family)
        found[family] = bound.epsilon_low
    costs.append(before + time.process_time() - start)
    return found


def _one_shot(canaries: int, dimension: int, noise: float, costs: list[float]) -> float:
    start = time.process_time()
    rows = audit.unit_canaries(canaries, dimension)
    before = time.process_time() - start
    released = _mechanism(rows.sum(axis=0, dtype=np.float64), noise)
    start = time.process_time()
    found = audit.one_shot(released, rows, delta=_DELTA).epsilon_estimate
    costs.append(before + time.process_time() - start)
    if not math.isfinite(found):
        raise AssertionError("one shot gave no finite estimate")
    return found
