"""The he suite: encrypted sums beside NVFlare's HE, TenSEAL's tutorial and floats in the clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.kit.bench import Bench

__all__ = ["run"]


def run(bench: Bench) -> None:
    """Measure everything; without NVFlare, the rest."""
    from benchmarks.he import against, cores, onetime, sizes, widths  # noqa: PLC0415 - the command sets the environment

    peer = bench.peer("nvflare") is not None
    played = against.run(bench, peer=peer)
    widths.run(bench)
    onetime.run(bench)
    sizes.run(bench, played, peer=peer)
    cores.run(bench)
