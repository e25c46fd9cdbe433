"""A whole session in one process, beside the bare cipher for the bytes of all its masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Measure
from benchmarks.secagg.primitives import bare_cipher
from benchmarks.secagg.session import like_for_like, vector
from secagg import simulate
from secagg.crypto.ring import ring_dtype

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Thirty clients with long vectors on a sparse graph, nobody silent; all parties' work counts."""
    n, length = bench.pick(quick=(10, 50_000), default=(30, 1_000_000), full=(30, 1_000_000))
    degree = bench.pick(quick=6, default=12, full=12)
    params = like_for_like(n, length, degree, dropout=0.1)
    inputs = dict.fromkeys(range(n), vector(length))
    seconds = bench.contest(
        "a whole session", {"ours": lambda: simulate(inputs, params)}, rounds=9
    )["ours"]
    masks = n * (degree + 1) + n  # each client's, and the self-masks, which the server removes
    cipher = bare_cipher(bench, masks * length * np.dtype(ring_dtype(params.ring_bits)).itemsize)
    bench.add(
        Measure(
            "session",
            f"whole session, n={n}, d={length:,}, {degree} neighbours ÷ raw AES-128-CTR for its masks",
            "CPU s",
            ours=seconds,
            peer=cipher,
            ratio=seconds.median / cipher,
            bar=bench.bar(3.5, 2.5, at_most=True),
            note=f"the clients and the server in one process, {params.ring_bits} bits, {masks} masks",
        )
    )
