"""One client of a federation: bytes in, bytes out.

It trains, clips, encodes, adds its share of the noise and takes part in the secure sum.  What it knows
of the plan it was given at enrolment, never by the server of the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.block_training import resolution_for
from fedavg.errors import LocalProtocolError
from fedavg.messages import (
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    round_context,
    start_digest,
)
from fedavg.personal_training import prepare_personal, score_client
from fedavg.personalization import held_out
from fedavg.update import Prepared, Workbench

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.data import Dataset
    from fedavg.personalization import Score
    from fedavg.secure_sum import ClientSession
    from secagg import Identity

__all__ = ["Client", "Probe", "Workbench"]


def _split(client_id: int, dataset: Dataset, bench: Workbench) -> tuple[Dataset, Dataset | None]:
    """What a client trains on, and what it keeps for scoring its own model."""
    personal = bench.resolution.plan.personalization
    if personal is None:
        return dataset, None
    own, held = held_out(len(dataset), personal.test_fraction, (bench.seed, client_id))
    return dataset.subset(own), dataset.subset(held) if len(held) else None


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
        self._dataset, self._held = _split(client_id, dataset, bench)
        self._identity = identity
        self._bench = bench
        self._last_round = -1
        self._prepared: Prepared | None = None
        self._start_digest = b""
        self._session: ClientSession | None = None
        self._resolution = bench.resolution

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
        resolution = resolution_for(self._bench.resolution, self.client_id, start)
        limit = resolution.max_participations
        self._resolution = resolution
        self._last_round, self._prepared, self._session = start.round, None, None
        if limit is not None and self.participations >= limit:
            return ()
        self._prepared = self._prepare(start)
        self._start_digest = start_digest(start)
        return (encode(Ready(start.round)),)

    def _prepare(self, start: RoundStart) -> Prepared:
        state = self._bench.store.load(self.client_id, start.round)
        return prepare_personal(self._bench, self.client_id, self._dataset, start, state)

    def score(self, vector: NDArray[np.float32]) -> Score | None:
        """Accuracies of the released model and of its own on examples that it never trained on.

        Args:
            vector: float32[d], the released model.

        Returns:
            What is private to this client; None without such examples.
        """
        if self._held is None:
            return None
        state = self._bench.store.load(self.client_id, self._bench.resolution.num_rounds)
        return score_client(self._bench, self.client_id, self._dataset, self._held, vector, state)

    def _open(self, message: SumOpen) -> Sequence[bytes]:
        self._check_round(message.round)
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise LocalProtocolError(f"client {self.client_id} has no update for this round")
        resolution = self._resolution
        size = message.roster_size
        if not resolution.bounds.floor <= size <= resolution.bounds.cap:
            raise LocalProtocolError(
                f"a round among {size} clients lies outside the plan's "
                f"{resolution.bounds.floor} … {resolution.bounds.cap}"
            )
        context = round_context(resolution.digest, message.round, size, self._start_digest)
        spec = resolution.spec(size, context)
        session = self._bench.side.session(spec, self.client_id, self._identity, message.opening)
        session.set_input(self._with_noise(prepared.encoded, session.roster_size))
        self._session = session
        self.participations += 1
        if prepared.state:
            self._bench.store.save(self.client_id, message.round, prepared.state)
        return tuple(encode(SumMessage(message.round, data)) for data in session.start())

    def _with_noise(self, encoded: NDArray[np.int64], roster_size: int) -> NDArray[np.int64]:
        resolution = self._resolution
        noise = resolution.plan.noise
        noised = encoded
        if noise is not None and noise.distributed:
            noised = encoded + noise.sample(resolution.share_stddev(roster_size), encoded.size)
        if self.probe is not None:
            self.probe.encoded, self.probe.noised = encoded, noised
        return noised
