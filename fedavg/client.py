"""One client of a federation: bytes in, bytes out.

It trains, clips, encodes, adds its share of the noise and takes part in the secure sum.  What it knows
of the plan it was given at enrolment, never by the server of the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dp import l2_clip, l2_norm
from fedavg.errors import LocalProtocolError, NonFiniteError
from fedavg.local import local_update
from fedavg.messages import (
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    model_digest,
    round_context,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data import Dataset
    from fedavg.encoding import FixedPoint
    from fedavg.resolution import Resolution
    from fedavg.secure_sum import ClientSession, ClientSide
    from fedavg.tensors import Layout
    from secagg import Identity

__all__ = ["Client", "Probe", "Workbench"]

_LEAST_CLIP = 1e-100


@dataclass(frozen=True, slots=True, eq=False)
class Workbench:
    """What the clients of one process share: plan, model to train with, secure sum.

    Args:
        resolution: the plan as agreed at enrolment.
        model: a module whose parameters are overwritten before each use.
        layout: its parameters as one vector.
        side: the clients' material of the secure sum.
        seed: public seed of the order of examples.
    """

    resolution: Resolution
    model: nn.Module
    layout: Layout
    side: ClientSide
    seed: int


@dataclass(slots=True)
class Probe:
    """A simulation's look inside one client, for a report's pictures; never part of a deployment."""

    encoded: NDArray[np.int64] | None = None
    noised: NDArray[np.int64] | None = None


class Client:
    """A client: enrolled once, then one session a round.

    Args:
        client_id: its id in the directory.
        dataset: its own examples.
        identity: its long-term signing key.
        bench: what it shares with others of its process.
    """

    def __init__(
        self, client_id: int, dataset: Dataset, identity: Identity, bench: Workbench
    ) -> None:
        self.client_id = client_id
        self.participations = 0
        self.probe: Probe | None = None
        self._dataset = dataset
        self._identity = identity
        self._bench = bench
        self._last_round = -1
        self._encoded: NDArray[np.int64] | None = None
        self._model_digest = b""
        self._session: ClientSession | None = None

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer one message of the server.

        Raises:
            WireFormatError, LocalProtocolError: no message, or one that is not awaited; nothing is sent.
            NonFiniteError, CapacityError: (without DP) an update that cannot be encoded.
            secagg.SecAggError, he.HeError: the secure sum refuses.
        """
        decoded = decode(message)
        if isinstance(decoded, RoundStart):
            return self._train(decoded)
        if isinstance(decoded, SumOpen):
            return self._open(decoded)
        if isinstance(decoded, SumMessage) and self._session is not None:
            self._check_round(decoded.round)
            replies = self._session.receive(decoded.payload)
            return tuple(encode(SumMessage(decoded.round, reply)) for reply in replies)
        raise LocalProtocolError(f"client {self.client_id} awaits no such message now")

    def _check_round(self, round_index: int) -> None:
        if round_index != self._last_round:
            raise LocalProtocolError(
                f"client {self.client_id} is in round {self._last_round}, not {round_index}"
            )

    def _train(self, start: RoundStart) -> Sequence[bytes]:
        if start.round <= self._last_round:
            raise LocalProtocolError(f"client {self.client_id} was in round {start.round} before")
        resolution = self._bench.resolution
        limit = resolution.max_participations
        self._last_round, self._encoded, self._session = start.round, None, None
        if limit is not None and self.participations >= limit:
            return ()
        encoding = self._encoding(start.clip)
        self._encoded = self._encode(self._update(start), encoding)
        self._model_digest = model_digest(start.model, start.clip)
        return (encode(Ready(start.round)),)

    def _update(self, start: RoundStart) -> NDArray[np.float64]:
        bench = self._bench
        vector = np.frombuffer(start.model, dtype="<f4").astype(np.float64)
        if vector.size != bench.resolution.vector_length:
            raise LocalProtocolError(
                f"the server sent {vector.size} parameters, the model has "
                f"{bench.resolution.vector_length}"
            )
        return local_update(
            bench.model,
            bench.layout,
            vector,
            self._dataset,
            bench.resolution.plan.local_training,
            round_index=start.round,
            num_rounds=bench.resolution.num_rounds,
            seed=bench.seed + self.client_id,
        )

    def _encoding(self, clip: float | None) -> FixedPoint:
        """The round's encoding; noise and sensitivity are in grid units, so any clip norm is safe."""
        resolution = self._bench.resolution
        if (clip is None) != (resolution.plan.clipping is None):
            raise LocalProtocolError("the server and this client's plan disagree about clipping")
        if clip is not None and not _LEAST_CLIP <= clip <= 1 / _LEAST_CLIP:
            raise LocalProtocolError(f"the server sent the clip norm {clip!r}")
        return resolution.encoding_at(clip)

    def _encode(self, update: NDArray[np.float64], encoding: FixedPoint) -> NDArray[np.int64]:
        """Clip (under DP) or weigh (without), then encode."""
        resolution = self._bench.resolution
        plan, bit = resolution.plan, resolution.bit_units
        if plan.noise is not None:
            encoded = encoding.encode(l2_clip(update, encoding.clip))
            if not bit:
                return encoded
            within = l2_norm(update) <= encoding.clip
            return np.append(encoded, np.int64(bit if within else -bit))
        if not bool(np.isfinite(update).all()):
            raise NonFiniteError(
                f"client {self.client_id}'s update holds NaN or infinity; lower the learning rate"
            )
        encoded = encoding.encode(update)
        if not plan.weighted:
            return encoded
        weight = len(self._dataset)
        return np.append(encoded * np.int64(weight), np.int64(weight))

    def _open(self, message: SumOpen) -> Sequence[bytes]:
        self._check_round(message.round)
        encoded, self._encoded = self._encoded, None
        if encoded is None:
            raise LocalProtocolError(f"client {self.client_id} has no update for this round")
        resolution = self._bench.resolution
        size = message.roster_size
        if not resolution.bounds.floor <= size <= resolution.bounds.cap:
            raise LocalProtocolError(
                f"a round among {size} clients lies outside the plan's "
                f"{resolution.bounds.floor} … {resolution.bounds.cap}"
            )
        context = round_context(resolution.digest, message.round, size, self._model_digest)
        spec = resolution.spec(size, context)
        session = self._bench.side.session(spec, self.client_id, self._identity, message.opening)
        session.set_input(self._with_noise(encoded, session.roster_size))
        self._session = session
        self.participations += 1
        return tuple(encode(SumMessage(message.round, data)) for data in session.start())

    def _with_noise(self, encoded: NDArray[np.int64], roster_size: int) -> NDArray[np.int64]:
        resolution = self._bench.resolution
        noise = resolution.plan.noise
        noised = encoded
        if noise is not None and noise.distributed:
            noised = encoded + noise.sample(resolution.share_stddev(roster_size), encoded.size)
        if self.probe is not None:
            self.probe.encoded, self.probe.noised = encoded, noised
        return noised
