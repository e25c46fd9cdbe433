"""The server's view of one recorded round, as numbers for a report's tables and pictures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.protocol.transcript import describe, uploaded_vector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fedavg.federation.federation import Federation
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["server_view"]

_SHOWN = 4096  # number of coordinates in a picture


def server_view(federation: Federation, resolution: ResolvedPlan) -> dict[str, Any] | None:
    """Summarise the recorded round: kinds and counts of messages, and one client's upload.

    Call it right after the recorded round, while the aggregate is that round's.

    Returns:
        A JSON-ready dict, or None when nothing was recorded or the round gave no aggregate.
    """
    transcript, aggregate = federation.transcript, federation.last_update
    if transcript is None or not len(transcript) or aggregate is None:
        return None
    sums = federation.plan.secure_sum
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for entry in transcript:
        kind = (describe(entry.message, sums)[0], entry.direction)
        counts[kind] += 1
        sizes[kind] += len(entry.message)
    messages = [
        {"kind": kind, "direction": direction, "count": count, "bytes": sizes[kind, direction]}
        for (kind, direction), count in counts.items()
    ]
    return {
        "round": transcript.entries[0].round + 1,
        "backend": sums.kind,
        "hides_updates": sums.hides_updates,
        "received": sums.received(resolution.spec(resolution.bounds.cap, resolution.digest)),
        "messages": messages,
        "client": _client(federation, resolution),
        "aggregate": _shown(aggregate),
    }


def _client(federation: Federation, resolution: ResolvedPlan) -> dict[str, Any] | None:
    """The first watched survivor's update, beside the numbers that the server received of it."""
    result, sums = federation.last_sum, federation.plan.secure_sum
    for client in federation.watched:
        seen = federation.probe(client)
        # A client that dropped out has sent nothing to compare its update with.
        if seen is None or result is None or client not in result.survivors:
            continue
        masked = uploaded_vector(_sent_by(federation, client), sums)
        if masked is None:
            continue
        bits = resolution.spec(resolution.bounds.cap, b"").modulus_bits
        return {
            "update": _shown(seen[0]),
            "noised": _shown(seen[1]),
            "masked": _shown(masked),
            "modulus_bits": sums.upload_word_bits or bits,
        }
    return None


def _sent_by(federation: Federation, client: int) -> Iterator[bytes]:
    for entry in federation.transcript or ():
        if entry.party == client and entry.direction == "up":
            yield entry.message


def _shown(vector: NDArray[np.generic]) -> Sequence[float]:
    return np.asarray(vector)[:_SHOWN].tolist()
