"""The client's way from a broadcast model to the integers of the sum: train, clip or weigh, encode.

Run by the client.  Server and clients share the public computations; the private state stays with the client
(`fedavg.algorithms.state`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from dp import l2_clip, l2_norm
from fedavg.algorithms.chain import ClientChain
from fedavg.algorithms.state import MemoryStore
from fedavg.client.blocks import part_to_train, resolution_for
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import LocalProtocolError, NonFiniteError
from fedavg.parts.imports import blamed
from fedavg.training.compute import CPU
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update, local_updates, stackable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.state import ClientState, ClientStore
    from fedavg.data.dataset import Dataset
    from fedavg.encoding.fixed_point import Encoding
    from fedavg.models.layout import Layout
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.messages import RoundStart
    from fedavg.sums.interface import ClientSide
    from fedavg.training.compute import Compute
    from fedavg.training.evaluation import Unit

__all__ = [
    "ClientContext",
    "Prepared",
    "contribution",
    "encode_update",
    "encoding_for",
    "prepare",
    "train",
]

_LEAST_CLIP = 1e-100
_AT_ONCE = (
    1 << 24
)  # numbers (128 MB) in updates that are computed ahead of their clients' turn; others train one by one
_ROUNDING = 1  # a stream apart from the order of examples, which has the same seed and round
_LOG = logging.getLogger(__name__)  # stays at the client; never sent


@dataclass(frozen=True, slots=True, eq=False)
class ClientContext:
    """Objects that the clients of one process share.

    Args:
        resolution: the resolved plan, as agreed at enrolment.
        model: a module whose parameters are overwritten before each use.
        layout: layout of its parameters as one vector.
        side: the clients' material of the secure sum.
        seed: public seed of the order of examples.
        store: place where each client keeps its state for later rounds.
        trained: in a simulation, updates that another process has computed: client to round and Δ.
        compute: device and precision in which models are trained and scored.
        unit: of labels that were brought to unit scale, in which they are scored.
        headline: name of the run's headline, by which clients are scored as well; "" for none.
    """

    resolution: ResolvedPlan
    model: nn.Module
    layout: Layout
    side: ClientSide
    seed: int
    store: ClientStore = field(default_factory=MemoryStore)
    trained: dict[int, tuple[int, NDArray[np.float64]]] = field(
        default_factory=dict[int, "tuple[int, NDArray[np.float64]]"]
    )
    compute: Compute = CPU
    unit: Unit = ((), ())
    headline: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A client's contribution to one round, before its noise share.

    Args:
        encoded: int64[d'], within the encoding's bound.
        state: state that the client keeps once the contribution was sent; {} for none.
        training_error: why training failed, when zeros are sent in place of an update (under DP).
    """

    encoded: NDArray[np.int64]
    state: ClientState
    training_error: str | None = None


def prepare(
    ctx: ClientContext, client_id: int, dataset: Dataset, start: RoundStart, state: ClientState
) -> Prepared:
    """Train on one client's examples and encode the update.

    Args:
        ctx: objects that the clients of this process share.
        client_id: id of the client.
        dataset: the client's own examples.
        start: the server's message.
        state: state that the client kept from an earlier round.

    Raises:
        LocalProtocolError: the model, the block or the clip norm does not fit the plan.
        NonFiniteError: the update holds NaN or infinity; under DP the client sends zeros instead.
        CapacityError: (without DP) the update cannot be encoded.
    """
    resolution = resolution_for(ctx.resolution, client_id, start)
    plan = resolution.plan
    encoding = encoding_for(resolution, start.clip)
    chain = _chain(resolution, start, state, len(dataset))
    correction = chain.correction
    # An update that was computed ahead is used once, and only in its own round without a correction.
    held = ctx.trained.pop(client_id, None)
    if held is not None and held[0] == start.round and correction is None:
        update = held[1]
    else:
        update = train(ctx, client_id, dataset, start, correction)
    # Under noise `prepare_nothing` sends zeros in its place; without noise the client drops out.
    if not bool(np.isfinite(update).all()):
        raise NonFiniteError(
            f"client {client_id}'s update holds NaN or infinity; lower the learning rate"
        )
    if plan.noise is None:  # this rounding protects nothing, so a seed makes runs agree to the bit
        encoding = encoding.seeded((ctx.seed + client_id, start.round, _ROUNDING))
    return contribution(resolution, encoding, chain, update, len(dataset))


def _chain(
    resolution: ResolvedPlan, start: RoundStart, state: ClientState, examples: int
) -> ClientChain:
    """The stages of the plan, at this client and in this round."""
    facts = replace(resolution.facts(start.round), examples=examples)
    return ClientChain(resolution.plan.stages, facts, start.extras, state)


def prepare_nothing(
    ctx: ClientContext,
    client_id: int,
    dataset: Dataset,
    start: RoundStart,
    state: ClientState,
    error: Exception,
) -> Prepared:
    """Prepare zeros in place of an update that could not be computed, under DP, as NaN becomes zeros.

    A client that dropped out because of its data would reveal something about the data.  An error that the
    server caused, or that happens without noise, is raised again unchanged.

    Args:
        ctx: objects that the clients of this process share.
        client_id: id of the client.
        dataset: the client's own examples.
        start: the server's message.
        state: state that the client kept from an earlier round.
        error: error that its training raised.
    """
    resolution = resolution_for(ctx.resolution, client_id, start)
    # Without noise a failed client drops out; an error that the server caused depends on no data.
    if resolution.plan.noise is None or isinstance(error, LocalProtocolError):
        raise error
    encoding = encoding_for(resolution, start.clip)
    chain = _chain(resolution, start, state, len(dataset))
    blocks = resolution.plan.blocks
    # Stages expect an update of the whole model, and a client of blocks sends that of its block.
    zeros = np.zeros(resolution.vector_length if blocks is None else resolution.update_length)
    prepared = contribution(resolution, encoding, chain, zeros, len(dataset))
    return replace(
        prepared, training_error=f"{type(error).__name__}: {error}; zeros were sent in its place"
    )


def train(
    ctx: ClientContext,
    client_id: int,
    dataset: Dataset,
    start: RoundStart,
    correction: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute Δ, float64[d], from one client's examples, as a function of these arguments alone.

    Raises:
        LocalProtocolError: the model or the block does not fit the plan.
        DataError, PlanError: see `local_update`.
    """
    resolution = resolution_for(ctx.resolution, client_id, start)
    plan = resolution.plan
    # Clients of blocks may have been sent only the parameters of their block.
    sent = ctx.layout if plan.blocks is None else plan.blocks.sent_layout(ctx.layout)
    vector = ModelCodec(plan.broadcast, sent).decode(start.model)
    with part_to_train(resolution, ctx.model, ctx.layout, vector) as part:
        job = TrainingJob(
            part.model,
            part.layout,
            part.vector,
            dataset,
            plan.local_training,
            round_index=start.round,
            num_rounds=resolution.num_rounds,
            # All clients share the run's seed, so each adds its id to get an order of its own.
            seed=ctx.seed + client_id,
            correction=correction,
            compute=ctx.compute,
        )
        return part.in_model(local_update(job))


def train_together(
    ctx: ClientContext, clients: Mapping[int, Dataset], start: RoundStart
) -> dict[int, NDArray[np.float64]]:
    """Compute Δ for all clients whose models can be stacked; the results are those of `train`.

    Args:
        ctx: objects that the clients of this process share.
        clients: clients that are sent this message, with their examples.
        start: the server's message.
    """
    resolution, plan = ctx.resolution, ctx.resolution.plan
    # Clients with corrections, blocks or own models take steps of their own, which cannot be stacked.
    corrected = any(stage.corrects for stage in plan.stages)
    if corrected or plan.blocks is not None or plan.personalization is not None:
        return {}
    most = max(1, _AT_ONCE // ctx.layout.size)
    vector: NDArray[np.float64] | None = None
    alike: dict[int, dict[int, TrainingJob]] = {}  # by number of examples
    for client, data in islice(clients.items(), most):
        if vector is None:
            vector = ModelCodec(plan.broadcast, ctx.layout).decode(start.model)
        job = TrainingJob(
            ctx.model,
            ctx.layout,
            vector,
            data,
            plan.local_training,
            round_index=start.round,
            num_rounds=resolution.num_rounds,
            seed=ctx.seed + client,
            compute=ctx.compute,
        )
        if stackable(job):
            alike.setdefault(len(data), {})[client] = job
    found: dict[int, NDArray[np.float64]] = {}
    for jobs in alike.values():
        found.update(zip(jobs, local_updates(list(jobs.values())), strict=True))
    return found


def contribution(
    resolution: ResolvedPlan,
    encoding: Encoding,
    chain: ClientChain,
    update: NDArray[np.float64],
    examples: int,
) -> Prepared:
    """Apply the plan's stages, encode the result, and determine the state that the client keeps.

    Args:
        resolution: the resolved plan.
        encoding: encoding of this round.
        chain: the stages at this client in this round.
        update: float64[d], the client's update.
        examples: the client's private weight.
    """
    plan = resolution.plan
    sent = chain.sent(update)
    # Counting takes a pass over the update, so it is done only if somebody reads the log.
    if plan.noise is None and _LOG.isEnabledFor(logging.INFO):
        outside = encoding.clamped(sent)
        index = chain.facts.round_index
        _LOG.info("round %d: %d of %d coordinates clamped", index, outside, sent.size)
    with blamed(lambda: f"the encoding {type(encoding).__name__}"):
        encoded = encode_update(resolution, encoding, sent, examples)
    if not chain.remembers:
        return Prepared(encoded, {})
    # The weight or the bit at the end is no part of the update.
    own = encoded[: encoding.encoded_length(sent.size)]
    if plan.weighted:
        # The integers were multiplied by the number of examples, so this division is exact.
        own = own // examples
    return Prepared(encoded, chain.keep(encoding.decode(own, sent.size)))


def encoding_for(resolution: ResolvedPlan, clip: float | None) -> Encoding:
    """The encoding of a round; any clip norm is safe, since noise and sensitivity are in grid units."""
    # An encoding at another clip norm than the server's would decode to other numbers.
    if (clip is None) != (resolution.plan.clipping is None):
        raise LocalProtocolError("the server and this client's plan disagree about clipping")
    # A clip norm near the ends of the float range could make the scale zero or infinite.
    if clip is not None and not _LEAST_CLIP <= clip <= 1 / _LEAST_CLIP:
        raise LocalProtocolError(f"the server sent the clip norm {clip!r}")
    return resolution.encoding_at(clip)


def encode_update(
    resolution: ResolvedPlan, encoding: Encoding, update: NDArray[np.float64], examples: int
) -> NDArray[np.int64]:
    """Clip (under DP) or weigh (without), and encode.

    Args:
        resolution: the resolved plan.
        encoding: encoding of this round.
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
        # The bit is about the update before clipping; afterwards every update is within the norm.
        within = l2_norm(update) <= encoding.clip
        return np.append(encoded, np.int64(bit if within else -bit))
    encoded = encoding.encode(update)
    if not plan.weighted:
        return encoded
    weighed = np.empty(encoded.size + 1, np.int64)
    # The client multiplies, so that the server learns the sum of the weights and no single one.
    np.multiply(encoded, np.int64(examples), out=weighed[:-1])
    weighed[-1] = examples
    return weighed
