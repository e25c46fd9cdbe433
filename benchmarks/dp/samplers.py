"""Integer noise from a cryptographic generator, beside numpy's (which is none) and opendp's."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Bar, Curve, Measure
from dp import sample_discrete_gaussian, sample_rounded_gaussian, sample_skellam

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_GENERATOR = np.random.default_rng(0)


def run(bench: Bench) -> None:
    """Samples a second and core, at several widths."""
    size = bench.pick(quick=200_000, default=2_000_000, full=8_000_000)
    stddevs = bench.pick(quick=(20.0,), default=(2.0, 20.0, 200.0), full=(2.0, 20.0, 200.0, 2e4))
    few = size // 200
    opendp = _opendp(bench)
    rates: dict[str, list[tuple[float, float]]] = {}
    for stddev in stddevs:
        contestants: dict[str, Callable[[], object] | None] = {
            "discrete Gaussian": lambda s=stddev: sample_discrete_gaussian(s, size),
            "rounded Gaussian": lambda s=stddev: sample_rounded_gaussian(s, size),
            "Skellam": lambda s=stddev: sample_skellam(s * s, size),
            "numpy, rounded normal": lambda s=stddev: _normal(s, size),
            "numpy, Poisson difference": lambda s=stddev: _poisson(s, size),
            "opendp, discrete Gaussian": opendp and (lambda s=stddev: opendp(s, few)),
        }
        times = bench.contest(f"samplers, σ = {stddev:g}", contestants, rounds=3)
        for name, timing in times.items():
            count = few if name.startswith("opendp") else size
            rates.setdefault(name, []).append((stddev, count / timing.median / 1e6))
    bench.add(*_measures(rates))
    bench.add(Curve("samplers", "Samplers", "σ", "million samples a second", rates))


def _normal(stddev: float, size: int) -> object:
    return np.rint(_GENERATOR.normal(0.0, stddev, size)).astype(np.int64)


def _poisson(stddev: float, size: int) -> object:
    mean = stddev * stddev / 2
    return _GENERATOR.poisson(mean, size) - _GENERATOR.poisson(mean, size)


def _opendp(bench: Bench) -> Callable[[float, int], object] | None:
    # not among the peers that we ask people to install: measured where it happens to be there
    if importlib.util.find_spec("opendp") is None:
        return None
    module = bench.peer("opendp.prelude", package="opendp")
    if module is None:
        return None
    module.enable_features("contrib")

    def draw(stddev: float, size: int) -> object:
        space = module.vector_domain(module.atom_domain(T="i32")), module.l2_distance(T="f64")
        return module.m.make_gaussian(*space, scale=stddev)([0] * size)

    return draw


def _measures(rates: dict[str, list[tuple[float, float]]]) -> list[Measure]:
    """The slowest width counts for us, the fastest for a peer."""
    peers = {
        "discrete Gaussian": "opendp, discrete Gaussian",
        "rounded Gaussian": "numpy, rounded normal",
        "Skellam": "numpy, Poisson difference",
    }
    found: list[Measure] = []
    for name, peer in peers.items():
        ours = min(rate for _, rate in rates[name])
        theirs = max((rate for _, rate in rates.get(peer, [])), default=None)
        found.append(
            Measure(
                f"sampler_{name.lower().replace(' ', '_')}",
                f"{name} noise",
                "M samples/s",
                ours=ours,
                peer=theirs,
                ratio=None if theirs is None else ours / theirs,
                bar=Bar(10, of="ours"),
                note="our slowest σ; "
                + (f"{peer} is not here" if theirs is None else f"{peer} at its fastest")
                + ("; not a cryptographic generator" if peer.startswith("numpy") else ""),
            )
        )
    return found
