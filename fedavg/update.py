"""From a broadcast model to the integers that a client adds to the sum: train, clip or weigh, encode.

Run by the client.  Server and clients share every step that is public; what is private stays in the
client's own state (`fedavg.client_state`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dp import l2_clip, l2_norm
from fedavg.client_state import MemoryStore
from fedavg.errors import LocalProtocolError, NonFiniteError
from fedavg.local import local_update
from fedavg.scaffold import variates

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.client_state import ClientState, ClientStore
    from fedavg.data import Dataset
    from fedavg.encoding import FixedPoint
    from fedavg.messages import RoundStart
    from fedavg.resolution import Resolution
    from fedavg.secure_sum import ClientSide
    from fedavg.tensors import Layout

__all__ = ["Prepared", "Workbench", "encode_update", "encoding_for", "prepare"]

_LEAST_CLIP = 1e-100


@dataclass(frozen=True, slots=True, eq=False)
class Workbench:
    """What the clients of one process share: plan, model to train with, secure sum, where states are kept.

    Args:
        resolution: the plan as agreed at enrolment.
        model: a module whose parameters are overwritten before each use.
        layout: its parameters as one vector.
        side: the clients' material of the secure sum.
        seed: public seed of the order of examples.
        store: where each client keeps what it needs in later rounds.
    """

    resolution: Resolution
    model: nn.Module
    layout: Layout
    side: ClientSide
    seed: int
    store: ClientStore = field(default_factory=MemoryStore)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A client's contribution to one round, before its noise share.

    Args:
        encoded: int64[d'], within the encoding's bound.
        state: what the client keeps once the contribution has left; {} for nothing.
    """

    encoded: NDArray[np.int64]
    state: ClientState


def prepare(
    bench: Workbench, client_id: int, dataset: Dataset, start: RoundStart, state: ClientState
) -> Prepared:
    """Train on one client's examples and encode what came of it.

    Args:
        bench: what the clients of this process share.
        client_id: whose examples they are.
        dataset: its own examples.
        start: the server's message.
        state: what the client kept from an earlier round.

    Raises:
        LocalProtocolError: a model, or a clip norm, that does not fit the plan.
        NonFiniteError, CapacityError: (without DP) an update that cannot be encoded.
    """
    encoding = encoding_for(bench.resolution, start.clip)
    vector = np.frombuffer(start.model, dtype="<f4").astype(np.float64)
    if vector.size != bench.resolution.vector_length:
        raise LocalProtocolError(
            f"the server sent {vector.size} parameters, the model has "
            f"{bench.resolution.vector_length}"
        )
    controls = variates(bench.resolution, start, state, len(dataset))
    update = local_update(
        bench.model,
        bench.layout,
        vector,
        dataset,
        bench.resolution.plan.local_training,
        round_index=start.round,
        num_rounds=bench.resolution.num_rounds,
        seed=bench.seed + client_id,
        correction=None if controls is None else controls.correction,
    )
    if bench.resolution.plan.noise is None and not bool(np.isfinite(update).all()):
        raise NonFiniteError(
            f"client {client_id}'s update holds NaN or infinity; lower the learning rate"
        )
    if controls is None:
        return Prepared(encode_update(bench.resolution, encoding, update, len(dataset)), {})
    joined = controls.joined(update)
    encoded = encode_update(bench.resolution, encoding, joined, len(dataset))
    grid = encoded[: encoding.encoded_length(joined.size)]
    return Prepared(encoded, controls.kept(encoding.decode(grid, joined.size)))


def encoding_for(resolution: Resolution, clip: float | None) -> FixedPoint:
    """The round's encoding; noise and sensitivity are in grid units, so any clip norm is safe."""
    if (clip is None) != (resolution.plan.clipping is None):
        raise LocalProtocolError("the server and this client's plan disagree about clipping")
    if clip is not None and not _LEAST_CLIP <= clip <= 1 / _LEAST_CLIP:
        raise LocalProtocolError(f"the server sent the clip norm {clip!r}")
    return resolution.encoding_at(clip)


def encode_update(
    resolution: Resolution, encoding: FixedPoint, update: NDArray[np.float64], examples: int
) -> NDArray[np.int64]:
    """Clip (under DP) or weigh (without), and encode.

    Args:
        resolution: the plan.
        encoding: of this round.
        update: float64[m], m = `resolution.update_length`.
        examples: the client's private weight.

    Returns:
        int64[d'], d' = `resolution.encoded_length`.
    """
    plan, bit = resolution.plan, resolution.bit_units
    if plan.noise is not None:
        encoded = encoding.encode(l2_clip(update, encoding.clip))
        if not bit:
            return encoded
        within = l2_norm(update) <= encoding.clip
        return np.append(encoded, np.int64(bit if within else -bit))
    encoded = encoding.encode(update)
    if not plan.weighted:
        return encoded
    return np.append(encoded * np.int64(examples), np.int64(examples))
