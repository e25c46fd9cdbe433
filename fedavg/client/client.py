"""One client of a federation: bytes in, bytes out.

It trains, clips, encodes, adds its share of the noise and takes part in the secure sum.  What it knows
of the plan it was given at enrolment, never by the server of the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.client.blocks import resolution_for
from fedavg.client.personal import divided, prepare_personal, score_client
from fedavg.client.update import Prepared, Workbench, prepare_nothing
from fedavg.errors import LocalProtocolError
from fedavg.protocol.messages import (
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    round_context,
    start_digest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.algorithms.personal.scores import Score
    from fedavg.algorithms.state import ClientState
    from fedavg.data.dataset import Dataset
    from fedavg.sums.interface import ClientSession
    from secagg import Identity

__all__ = ["Client", "Probe", "Workbench"]


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
        self._dataset, self._held = divided(bench, client_id, dataset)
        self._identity = identity
        self._bench = bench
        self._last = (-1, 0)  # round and attempt
        self._left_in = -1  # the round in which its last update left
        self._prepared: Prepared | None = None
        self._start_digest = b""
        self._session: ClientSession | None = None
        self._resolution = bench.resolution
        self._kept: ClientState = {}
        self._complaint: str | None = None

    def complaint(self) -> str | None:
        """Why its training failed although it takes part, once: for a simulation's log, never sent."""
        told, self._complaint = self._complaint, None
        return told

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
            self._check_round(decoded.round, decoded.attempt)
            return self._sent(self._session, self._session.receive(decoded.payload))
        raise LocalProtocolError(f"client {self.client_id} awaits no such message now")

    def _check_round(self, round_index: int, attempt: int) -> None:
        if (round_index, attempt) != self._last:
            raise LocalProtocolError(
                f"client {self.client_id} is in round {self._last[0]} (attempt {self._last[1]}), "
                f"not {round_index} ({attempt})"
            )

    def _check_start(self, start: RoundStart) -> None:
        if (start.round, start.attempt) <= self._last:
            raise LocalProtocolError(f"client {self.client_id} was in round {start.round} before")
        if not 0 <= start.attempt <= self._bench.resolution.plan.retry_limit:
            raise LocalProtocolError(f"the plan has no attempt {start.attempt} at a round")
        if start.round == self._left_in:
            raise LocalProtocolError(
                f"client {self.client_id}'s update of round {start.round} has left before: it enters "
                "one sum at most"
            )

    def _train(self, start: RoundStart) -> Sequence[bytes]:
        self._check_start(start)
        resolution = resolution_for(self._bench.resolution, self.client_id, start)
        limit = resolution.max_participations
        self._resolution = resolution
        self._last, self._prepared, self._session = (start.round, start.attempt), None, None
        if limit is not None and self.participations >= limit:
            return ()
        self._prepared = self._prepare(start)
        self._complaint = self._prepared.complaint
        self._start_digest = start_digest(start)
        return (encode(Ready(*self._last)),)

    def _prepare(self, start: RoundStart) -> Prepared:
        before = self._bench.resolution.plan.sequence(start.round, 0)
        state = self._bench.store.load(self.client_id, before, start.voided)
        given = (self._bench, self.client_id, self._dataset, start, state)
        try:
            return prepare_personal(*given)
        except Exception as error:  # noqa: BLE001 - a user's module and data may raise anything
            return prepare_nothing(*given, error)

    def score(self, vector: NDArray[np.float32]) -> Score | None:
        """Accuracies of the released model and of its own on examples that it never trained on.

        Args:
            vector: float32[d], the released model.

        Returns:
            What is private to this client; None without such examples.
        """
        if self._held is None:
            return None
        resolution = self._bench.resolution
        end = resolution.plan.sequence(resolution.num_rounds, 0)
        state = self._bench.store.load(self.client_id, end)
        return score_client(self._bench, self.client_id, self._dataset, self._held, vector, state)

    def _open(self, message: SumOpen) -> Sequence[bytes]:
        self._check_round(message.round, message.attempt)
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
        self._kept = prepared.state
        self.participations += 1
        return self._sent(session, session.start())

    def _sent(self, session: ClientSession, replies: Sequence[bytes]) -> Sequence[bytes]:
        """Wrap what the session sends; once the update is in it, the client's state is committed."""
        index, attempt = self._last
        if session.left and self._left_in != index:
            self._left_in = index
            if self._kept:
                number = self._bench.resolution.plan.sequence(index, attempt)
                self._bench.store.save(self.client_id, number, self._kept)
        return tuple(encode(SumMessage(index, reply, attempt)) for reply in replies)

    def _with_noise(self, encoded: NDArray[np.int64], roster_size: int) -> NDArray[np.int64]:
        resolution = self._resolution
        noise = resolution.plan.noise
        noised = encoded
        if noise is not None and noise.distributed:
            noised = encoded + noise.sample(resolution.share_stddev(roster_size), encoded.size)
        if self.probe is not None:
            self.probe.encoded, self.probe.noised = encoded, noised
        return noised
