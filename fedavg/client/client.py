"""One client of a federation: bytes in, bytes out.

It trains, clips, encodes, adds its share of the noise and takes part in the secure sum.  It learned the plan
at enrolment, and does not accept changes to it from the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.client.blocks import resolution_for
from fedavg.client.personal import divided, prepare_personal, score_client
from fedavg.client.update import ClientContext, Prepared, prepare_nothing
from fedavg.errors import LocalProtocolError
from fedavg.protocol.agreement import agreed_spec
from fedavg.protocol.messages import (
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
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

__all__ = ["Client", "ClientContext", "Probe"]


@dataclass(slots=True)
class Probe:
    """A simulation's view into one client, for figures in a report; a deployment never has it."""

    encoded: NDArray[np.int64] | None = None
    noised: NDArray[np.int64] | None = None


class Client:
    """A client: enrolled once, then active in one session a round.

    Args:
        client_id: id of the client in the directory.
        dataset: the client's own examples.
        identity: the client's long-term signing key.
        ctx: objects that the clients of one process share.
    """

    def __init__(
        self, client_id: int, dataset: Dataset, identity: Identity, ctx: ClientContext
    ) -> None:
        self.client_id = client_id
        self.participations = 0
        self.probe: Probe | None = None
        self._dataset, self._held = divided(ctx, client_id, dataset)
        self._identity = identity
        self._ctx = ctx
        self._last = (-1, 0)  # round and attempt
        self._left_in = -1  # the round in which it last sent an update
        self._prepared: Prepared | None = None
        self._start_digest = b""
        self._session: ClientSession | None = None
        self._resolution = ctx.resolution
        self._kept: ClientState = {}
        self._training_error: str | None = None

    def training_error(self) -> str | None:
        """Why its training failed although it takes part, once; for a simulation's log, never sent."""
        told, self._training_error = self._training_error, None
        return told

    def come_back(self, last_round: int, participations: int) -> None:
        """Go on after this client's memory was lost: answer nothing up to that round, and count on.

        Args:
            last_round: the last round in which the client may have sent anything.
            participations: number of sums that it has taken part in, or a larger number.
        """
        # No attempt at that round is answered any more: its update may be in a sum already.
        self._last, self._left_in = (last_round, self._ctx.resolution.plan.retry_limit), last_round
        self.participations = participations

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer one message of the server.

        Raises:
            WireFormatError, LocalProtocolError: the bytes are no message, or the message is not awaited;
                nothing is sent.
            NonFiniteError, CapacityError: (without DP) the update cannot be encoded.
            secagg.SecAggError, he.HeError: the secure sum refuses the message.
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
        # Rounds and attempts only go up, so no earlier message can be replayed to get a second update.
        if (start.round, start.attempt) <= self._last:
            raise LocalProtocolError(f"client {self.client_id} was in round {start.round} before")
        if not 0 <= start.attempt <= self._ctx.resolution.plan.retry_limit:
            raise LocalProtocolError(f"the plan allows no attempt {start.attempt} at a round")
        # A server may claim falsely that an attempt failed, and the difference of two sums may isolate a
        # client.
        if start.round == self._left_in:
            raise LocalProtocolError(
                f"client {self.client_id} has already sent its update of round {start.round}: an update "
                "enters at most one sum"
            )

    def _train(self, start: RoundStart) -> Sequence[bytes]:
        self._check_start(start)
        resolution = resolution_for(self._ctx.resolution, self.client_id, start)
        limit = resolution.max_participations
        self._resolution = resolution
        # The round counts as seen even if training fails, so that a server cannot ask until it succeeds.
        self._last, self._prepared, self._session = (start.round, start.attempt), None, None
        # A client at its limit stays silent, like one that dropped out.
        if limit is not None and self.participations >= limit:
            return ()
        self._prepared = self._prepare(start)
        self._training_error = self._prepared.training_error
        self._start_digest = start_digest(start)
        return (encode(Ready(*self._last)),)

    def _prepare(self, start: RoundStart) -> Prepared:
        # States of this round's earlier attempts are not read: all attempts start from the same state.
        before = self._ctx.resolution.plan.sequence(start.round, 0)
        state = self._ctx.store.load(self.client_id, before, start.voided)
        given = (self._ctx, self.client_id, self._dataset, start, state)
        try:
            return prepare_personal(*given)
        except Exception as error:  # noqa: BLE001 - a user's module and data may raise anything
            return prepare_nothing(*given, error)

    def score(self, vector: NDArray[np.float32]) -> tuple[Score, ...]:
        """Score the released model and the client's own model on examples that it never trained on.

        Args:
            vector: float32[d], the released model.

        Returns:
            Scores that are private to this client; () without such examples.
        """
        if self._held is None:
            return ()
        resolution = self._ctx.resolution
        # The number of a round after the end is above that of every state, so the last one is found.
        end = resolution.plan.sequence(resolution.num_rounds, 0)
        state = self._ctx.store.load(self.client_id, end)
        return score_client(self._ctx, self.client_id, self._dataset, self._held, vector, state)

    def _open(self, message: SumOpen) -> Sequence[bytes]:
        self._check_round(message.round, message.attempt)
        # The update is taken away here, so that it enters at most one session.
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise LocalProtocolError(f"client {self.client_id} has no update for this round")
        resolution = self._resolution
        # The client checks the bounds itself; the context holds the digest of the model that it trained from.
        spec = agreed_spec(resolution, message.round, message.roster_size, self._start_digest)
        session = self._ctx.side.session(spec, self.client_id, self._identity, message.opening)
        # The share of noise follows from the size that is bound into the session, and not from the message.
        session.set_input(self._with_noise(prepared.encoded, session.roster_size))
        self._session = session
        self._kept = prepared.state
        # A participation counts when the session begins, so one that fails later is spent too.
        self.participations += 1
        return self._sent(session, session.start())

    def _sent(self, session: ClientSession, replies: Sequence[bytes]) -> Sequence[bytes]:
        """Wrap the messages of the session; commit the client's state once they carry the update."""
        index, attempt = self._last
        # The state is kept only once its update was sent; otherwise it would not match the server's sums.
        if session.left and self._left_in != index:
            self._left_in = index
            if self._kept:
                number = self._ctx.resolution.plan.sequence(index, attempt)
                self._ctx.store.save(self.client_id, number, self._kept)
        return tuple(encode(SumMessage(index, reply, attempt)) for reply in replies)

    def _with_noise(self, encoded: NDArray[np.int64], roster_size: int) -> NDArray[np.int64]:
        resolution = self._resolution
        noise = resolution.plan.noise
        noised = encoded
        # Every coordinate gets a share, the bit of adaptive clipping included.
        if noise is not None and noise.distributed:
            noised = encoded + noise.sample(resolution.share_stddev(roster_size), encoded.size)
        if self.probe is not None:
            self.probe.encoded, self.probe.noised = encoded, noised
        return noised
