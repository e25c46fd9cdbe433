"""Flower's own SecAgg+ workflow and client mod, unmodified, driven in this process.

The grid below delivers each message straight to the mod and takes the CPU time of every call, so that all
of Flower's computing is measured and nothing of a network.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["FlowerRound", "mask_and_add", "play", "quantisation", "shamir"]

_CLIP, _RANGE, _MODULUS = 8.0, 1 << 22, 1 << 32  # the workflow's defaults
_STAGES = ("setup", "share_keys", "collect_masked_vectors", "unmask")
_CONFIGS = "secaggplus_configs"


@dataclass(frozen=True, slots=True)
class FlowerRound:
    """What one round cost.

    Args:
        client_seconds: CPU seconds of each client that stayed, the local training not counted.
        server_seconds: of everything between the client calls.
        up: bytes a client sent, the median; numbers count eight.
        down: bytes it received, the model not counted.
        error: largest difference between the aggregate and the true mean.
    """

    client_seconds: tuple[float, ...]
    server_seconds: float
    up: float
    down: float
    error: float


class _Grid:
    """Delivers to clients in this process; the first `silent` of them stop before their vectors."""

    def __init__(self, update: np.ndarray, silent: Iterable[int], tick: Callable[[], None]) -> None:
        from flwr.client.mod import secaggplus_mod  # noqa: PLC0415 - a peer, loaded when it is there

        self._mod = secaggplus_mod
        self._update = update
        self._silent = frozenset(silent)
        self._tick = tick
        self._stage = 0
        self._contexts: dict[int, Any] = {}
        self.client_seconds: dict[int, float] = defaultdict(float)
        self.up: dict[int, int] = defaultdict(int)
        self.down: dict[int, int] = defaultdict(int)
        self.server_seconds = 0.0
        self.since = 0.0

    def send_and_receive(self, messages: Iterable[Any], **_: object) -> list[Any]:
        """One stage: every live client answers."""
        self.server_seconds += time.process_time() - self.since
        vectors = _STAGES[self._stage] == "collect_masked_vectors"
        self._stage += 1
        replies: list[Any] = []
        for message in messages:
            node = message.metadata.dst_node_id
            if node in self._silent and self._stage > _STAGES.index("collect_masked_vectors"):
                continue
            replies.append(self._deliver(message, node))
            if vectors:
                self._tick()
        self.since = time.process_time()
        return replies

    def _deliver(self, message: Any, node: int) -> Any:  # noqa: ANN401 - Flower's message
        from flwr.app import ConfigRecord, Context, Message, RecordDict  # noqa: PLC0415 - a peer

        content = RecordDict(dict(message.content.items()))
        # each client gets its own copy, as from a wire: the mod takes keys out of it
        content[_CONFIGS] = ConfigRecord(dict(message.content.config_records[_CONFIGS]))
        self.down[node] += _payload(content[_CONFIGS])
        delivered = Message(
            content=content,
            dst_node_id=node,
            message_type=message.metadata.message_type,
            group_id=message.metadata.group_id,
        )
        context = self._contexts.setdefault(node, Context(1, node, {}, RecordDict(), {}))
        training = [0.0]

        def train(request: Any, _: Any) -> Any:  # noqa: ANN401 - Flower's messages
            start = time.process_time()
            reply = _fit_reply(request, self._update)
            training[0] += time.process_time() - start
            return reply

        start = time.process_time()
        reply = self._mod(delivered, context, train)
        self.client_seconds[node] += time.process_time() - start - training[0]
        self.up[node] += _payload(reply.content.config_records[_CONFIGS])
        reply.metadata.__dict__["_src_node_id"] = node
        return reply


def _fit_reply(request: Any, update: np.ndarray) -> Any:  # noqa: ANN401 - Flower's messages
    from flwr.app import Message  # noqa: PLC0415 - a peer
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters  # noqa: PLC0415 - a peer
    from flwr.compat.common import recorddict_compat as compat  # noqa: PLC0415 - a peer

    result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([update]), 100, {})
    return Message(compat.fitres_to_recorddict(result, keep_input=True), reply_to=request)


def _payload(record: Any) -> int:  # noqa: ANN401 - a ConfigRecord
    def size(value: object) -> int:
        return len(value) if isinstance(value, (bytes, str)) else 8

    return sum(
        sum(map(size, value)) if isinstance(value, (list, tuple)) else size(value)
        for value in record.values()
    )


class _Proxy:
    def __init__(self, node: int) -> None:
        self.node_id, self.cid = node, str(node)


class _Strategy:
    """Asks everyone, and keeps the aggregate."""

    def __init__(self, nodes: Sequence[int], parameters: Any) -> None:  # noqa: ANN401 - Parameters
        self._nodes, self._parameters, self.aggregate = nodes, parameters, None

    def configure_fit(self, *_: object) -> list[tuple[_Proxy, Any]]:
        from flwr.common import FitIns  # noqa: PLC0415 - a peer

        return [(_Proxy(node), FitIns(self._parameters, {})) for node in self._nodes]

    def aggregate_fit(
        self, _: int, results: list[Any], failures: list[Any]
    ) -> tuple[Any, dict[str, Any]]:
        if failures or not results:
            raise RuntimeError(f"Flower's round failed: {failures[:1]}")
        self.aggregate = results[0][1].parameters
        return self.aggregate, {}


def play(
    n_clients: int,
    length: int,
    *,
    shares: int,
    threshold: int,
    silent: int,
    tick: Callable[[], None] = lambda: None,
) -> FlowerRound:
    """One round of SecAgg+.

    Args:
        n_clients: how many take part.
        length: parameters of the update.
        shares: of each secret, its owner's included; n_clients for the complete graph.
        threshold: shares that rebuild a secret.
        silent: clients that stop before they send their masked vectors.
        tick: called when a client has sent its masked vector.

    Raises:
        RuntimeError: the round failed, or its aggregate is wrong.
    """
    from flwr.common import parameters_to_ndarrays  # noqa: PLC0415 - a peer
    from flwr.server.workflow import SecAggPlusWorkflow  # noqa: PLC0415 - a peer

    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    rng = np.random.default_rng(7)
    update = (0.1 * rng.standard_normal(length)).astype(np.float32)
    nodes = [int(node) for node in rng.choice(1 << 40, n_clients, replace=False) + 1]
    grid = _Grid(update, nodes[:silent], tick)
    context, strategy = _legacy_context(nodes)
    complete = shares == n_clients
    workflow = SecAggPlusWorkflow(
        1.0 if complete else shares,
        threshold / n_clients if complete else threshold,
        clipping_range=_CLIP,
        quantization_range=_RANGE,
        modulus_range=_MODULUS,
    )
    grid.since = time.process_time()
    workflow(grid, context)
    grid.server_seconds += time.process_time() - grid.since
    if strategy.aggregate is None:
        raise RuntimeError("Flower's round ended without an aggregate")
    (mean,) = parameters_to_ndarrays(strategy.aggregate)
    error = float(np.abs(mean - update).max())
    if error > 1e-3:
        raise RuntimeError(f"Flower's aggregate is off by {error}")
    stayed = nodes[silent:]
    return FlowerRound(
        tuple(grid.client_seconds[node] for node in stayed),
        grid.server_seconds,
        statistics.median(grid.up[node] for node in stayed),
        statistics.median(grid.down[node] for node in stayed),
        error,
    )


def _legacy_context(nodes: Sequence[int]) -> tuple[Any, _Strategy]:
    from flwr.app import ConfigRecord, Context, RecordDict  # noqa: PLC0415 - a peer
    from flwr.common import ndarrays_to_parameters  # noqa: PLC0415 - a peer
    from flwr.compat.common import recorddict_compat as compat  # noqa: PLC0415 - a peer
    from flwr.server.client_manager import SimpleClientManager  # noqa: PLC0415 - a peer
    from flwr.server.compat.legacy_context import LegacyContext  # noqa: PLC0415 - a peer
    from flwr.server.workflow import constant  # noqa: PLC0415 - a peer
    from flwr.supercore.task_identity import TaskIdentity  # noqa: PLC0415 - a peer

    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    model = ndarrays_to_parameters([np.zeros(1, dtype=np.float32)])
    strategy = _Strategy(nodes, model)
    base = Context(1, 0, {}, RecordDict(), {})
    context = LegacyContext(base, None, strategy, SimpleClientManager())
    round_one = ConfigRecord({constant.Key.CURRENT_ROUND: 1})
    context.state.config_records[constant.MAIN_CONFIGS_RECORD] = round_one
    record = compat.parameters_to_arrayrecord(model, keep_input=True)
    context.state.array_records[constant.MAIN_PARAMS_RECORD] = record
    return context, strategy


def mask_and_add(length: int) -> Callable[[], object]:
    """One mask made and added, as Flower's client does it for each peer."""
    from flwr.common.secure_aggregation import ndarrays_arithmetic  # noqa: PLC0415 - a peer
    from flwr.common.secure_aggregation.secaggplus_utils import (  # noqa: PLC0415 - a peer
        pseudo_rand_gen,
    )

    seed, vector = bytes(range(32)), [np.zeros(length, dtype=np.int64)]
    add = ndarrays_arithmetic.parameters_addition
    return lambda: add(vector, pseudo_rand_gen(seed, _MODULUS, [(length,)]))


def quantisation(length: int) -> Callable[[], object]:
    """What Flower's client does to its floats before it masks; ours is given integers."""
    from flwr.common.secure_aggregation import ndarrays_arithmetic  # noqa: PLC0415 - a peer
    from flwr.common.secure_aggregation.quantization import quantize  # noqa: PLC0415 - a peer

    rng = np.random.default_rng(7)
    update = [(0.1 * rng.standard_normal(length)).astype(np.float32)]

    def encode() -> object:
        weighted = ndarrays_arithmetic.parameters_multiply(update, 0.1)
        return ndarrays_arithmetic.factor_combine(100, quantize(weighted, _CLIP, _RANGE))

    return encode


def shamir(n_clients: int, threshold: int) -> Callable[[], object]:
    """Shares of one secret of 32 bytes."""
    from flwr.common.secure_aggregation.crypto.shamir import create_shares  # noqa: PLC0415 - a peer

    secret = bytes(range(32))
    return lambda: create_shares(secret, threshold, n_clients)
