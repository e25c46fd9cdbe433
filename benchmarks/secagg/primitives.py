"""The two primitives that a session spends its time on: masks, beside the bare cipher; and secret sharing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Stopwatch, Timing
from benchmarks.secagg import flower
from secagg.crypto.masks import SEED_SIZE, add_masks
from secagg.crypto.shamir import deal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.kit.bench import Bench

__all__ = ["bare_cipher", "run"]

_MASKS = 32
_BUFFERS = (64 << 10, 256 << 10, 1 << 20)
"""Sizes at which the bare cipher is tried; its best one counts."""


def run(bench: Bench, *, peer: bool) -> None:
    """Measure both."""
    _masks(bench, peer=peer)
    _sharing(bench, peer=peer)


def _masks(bench: Bench, *, peer: bool) -> None:
    length = bench.pick(quick=100_000, default=1_000_000, full=1_000_000)
    seeds = [bytes([index]) * SEED_SIZE for index in range(_MASKS)]
    total = np.zeros(length, dtype=np.uint32)
    times = bench.contest(
        "masks",
        {
            "ours": lambda: add_masks(total, seeds),
            **_ciphers(_MASKS * total.nbytes),
            "Flower": flower.mask_and_add(length) if peer else None,
        },
        rounds=bench.pick(quick=5, default=15, full=25),
        min_seconds=0.05,
    )
    ours = _scaled(times["ours"], 1 / _MASKS)
    bare = _best(times)
    rate = total.nbytes / ours.median / 1e9
    bench.add(
        Measure(
            "mask_share",
            f"mask + add, d={length:,}: share of raw AES-128-CTR",
            "s a mask",
            ours=ours,
            peer=_scaled(bare, 1 / _MASKS),
            bar=bench.bar(0.75, 0.85),
            note=f"{rate:.2f} GB/s; {_MASKS} masks into one vector; the cipher at its best buffer size",
        )
    )
    if "Flower" in times:
        bench.add(
            Measure(
                "mask", f"mask + add, d={length:,}", "s a mask", ours=ours, peer=times["Flower"]
            )
        )


def bare_cipher(bench: Bench, size: int) -> float:
    """CPU seconds of AES-128-CTR alone for so many bytes, at its best buffer size."""
    sample = min(size, 1 << 27)  # the cost of a byte is the same beyond
    times = bench.contest("the bare cipher", _ciphers(sample), rounds=9, min_seconds=0.05)
    return _best(times).median * size / sample


def _ciphers(size: int) -> dict[str, Callable[[], None]]:
    return {f"AES {buffer >> 10} KiB": _keystream(size, buffer) for buffer in _BUFFERS}


def _best(times: Mapping[str, Timing]) -> Timing:
    return min(
        (timing for name, timing in times.items() if name.startswith("AES ")),
        key=lambda timing: timing.median,
    )


def _keystream(size: int, buffer: int) -> Callable[[], None]:
    """The cipher alone: `size` bytes, a buffer at a time."""
    zeros, out = bytes(buffer), memoryview(bytearray(buffer + 16))

    def run() -> None:
        stream = Cipher(algorithms.AES128(bytes(16)), modes.CTR(bytes(16))).encryptor()
        for start in range(0, size, buffer):
            stream.update_into(zeros[: size - start], out)

    return run


def _scaled(timing: Timing, factor: float) -> Timing:
    scaled = (timing.median * factor, timing.low * factor, timing.high * factor)
    return Timing(*scaled, timing.samples)


def _sharing(bench: Bench, *, peer: bool) -> None:
    n, threshold = bench.pick(quick=(100, 51), default=(1000, 501), full=(1000, 501))
    secret, points = bytes(range(32)), range(1, n + 1)
    first = Stopwatch()
    with first:
        deal([secret], points, threshold)
    ours = bench.contest(
        "sharing", {"ours": lambda: deal([secret], points, threshold)}, rounds=9, min_seconds=0.05
    )["ours"]
    theirs = None
    if peer:  # once, without a warm-up: half a minute at the true size
        once = {"Flower": flower.shamir(n, threshold)}
        theirs = bench.contest("Flower's sharing", once, rounds=1, warm_up=False)["Flower"]
    bench.add(
        Measure(
            "shamir",
            f"shares of 32 bytes, n={n:,} t={threshold}",
            "s",
            ours=ours,
            peer=theirs,
            bar=bench.bar(5_000, 10_000),
            note=f"the first call of a process, which makes the powers of the points: {first.seconds:.3g} s",
        )
    )
