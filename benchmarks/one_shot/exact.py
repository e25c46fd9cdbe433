"""Sums against plain ones: three to 1,500 clients, 2 to 32 bits, one coordinate to 10^7."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Measure, Table
from fedavg import OneShot, sum_once
from he import onetime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.kit.bench import Bench

__all__ = ["run"]

_CORNERS = (
    (3, 2, 1),
    (3, 32, 1),
    (1500, 2, 1),
    (1500, 32, 7),
    (1500, 16, 1000),
    (3, 16, 1_000_000),
    (3, 32, 100_000),
)
_LARGEST = (3, 16, 10_000_000)
_WHOLE = ((3, 32, 5000), (30, 16, 5000), (10, 16, 1000), (10, 2, 1))
"""Sums by the whole of `OneShot`, committee included; the last two are shared without ciphertexts."""
_WORK = 3_000_000  # coordinates of all clients together, of a random case


def run(bench: Bench) -> None:
    """Corners, random cases between them, and the whole of `OneShot`."""
    rng = np.random.default_rng(11)
    count = bench.pick(quick=3, default=12, full=100)
    cases = [*_CORNERS, *(_drawn(rng) for _ in range(count))]
    cases += bench.pick(quick=[], default=[_LARGEST], full=[_LARGEST])
    whole = _WHOLE if bench.size != "quick" else _WHOLE[:1]
    wrong = 0
    rows: list[tuple[object, ...]] = []
    with bench.progress("exactness", len(cases) + len(whole)) as tick:
        for n, bits, length in cases:
            found = _lattice(n, bits, length, rng)
            wrong += found
            rows.append((n, bits, length, "ciphertexts and key sum", found))
            tick()
        for n, bits, length in whole:
            found = _whole(n, bits, length, rng)
            wrong += found
            rows.append((n, bits, length, "with a committee of 20", found))
            tick()
    bench.add(
        Measure(
            "exact",
            f"coordinates that differ from the plain sum, {len(rows)} sums",
            "coordinates",
            float(wrong),
            bar=bench.bar(0, of="ours", at_most=True),
            note="each with its largest and smallest values among the inputs",
        ),
        Table("exactness", "exactness", ("n", "bits", "d", "by", "wrong"), rows),
    )


def _drawn(rng: np.random.Generator) -> tuple[int, int, int]:
    """Numbers between the corners, uniform in their logarithms."""
    n = int(np.exp(rng.uniform(np.log(3), np.log(1500))))
    length = int(np.exp(rng.uniform(0, np.log(_WORK / n))))
    return n, int(rng.integers(2, 33)), max(1, length)


def _inputs(
    n: int, bits: int, length: int, rng: np.random.Generator
) -> tuple[int, NDArray[np.int64]]:
    """A bound, and vectors within it, two of which are all at the bound."""
    bound = (1 << bits - 1) - 1
    vectors = rng.integers(-bound, bound, (n, length), endpoint=True)
    vectors[0], vectors[1] = bound, bound
    return bound, vectors


def _lattice(n: int, bits: int, length: int, rng: np.random.Generator) -> int:
    bound, vectors = _inputs(n, bits, length, rng)
    params = onetime.Params(n, bound, length)
    server = onetime.Server(params, context=b"exact")
    keys = np.zeros(params.degree, np.int64)
    for client, one in enumerate(vectors):
        encryptor = onetime.Encryptor(params, client, context=b"exact")
        for chunk in encryptor.encrypt(one, copy=False):
            server.receive(client, chunk)
        server.add(client)
        keys += encryptor.take_key()
    return int((server.open_with_key_sum(keys).total != vectors.sum(axis=0)).sum())


def _whole(n: int, bits: int, length: int, rng: np.random.Generator) -> int:
    bound, vectors = _inputs(n, bits, length, rng)
    # A cohort of three cannot lose one.
    found = sum_once(
        OneShot(dropout_rate=0.0), dict(enumerate(vectors)), max_abs=bound, context=b"exact, whole"
    )
    return int((found.total != vectors.sum(axis=0)).sum())
