"""The clients' side of masked sums; a client may be put away between two messages, and resumed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import secagg

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import SumSpec

__all__ = ["SecAggClientSession", "SecAggClientSide"]

_MASKED = (secagg.Phase.CONSISTENCY, secagg.Phase.UNMASK, secagg.Phase.DONE)


class _Assumptions(Protocol):
    """What a client needs of a plan's `SecAgg`."""

    @property
    def threat_model(self) -> str: ...

    def params(self, spec: SumSpec) -> secagg.Params: ...


@dataclass(frozen=True, slots=True)
class SecAggClientSide:
    """The clients' side: the plan's assumptions and the pinned directory."""

    config: _Assumptions
    directory: secagg.Directory

    @property
    def _policy(self) -> secagg.Policy:
        # The plan assumes a share of each cohort, and the client checks the size of the cohort. The floors
        # of secagg that are relative to the directory would require more than the plan promises.
        return secagg.Policy(
            directory_corrupt_rate=0.0,
            min_directory_share=0.0,
            allow_semi_honest=self.config.threat_model == "semi-honest",
            allow_local=self.config.threat_model == "malicious-local",
        )

    def session(
        self,
        spec: SumSpec,
        client_id: int,
        identity: secagg.Identity,
        opening: bytes,
        journal: secagg.Journal | None = None,
    ) -> SecAggClientSession:
        """Join the session that the server offers, if its parameters are those that the plan derives.

        Args:
            spec: the public facts of the sum.
            client_id: id of the client.
            identity: its signing key.
            opening: the server's offer.
            journal: the client's journal, if its session may be suspended.

        Raises:
            secagg.SecAggError: the parameters differ, or the offer is invalid.
        """
        client = secagg.Client.from_offer(
            opening,
            client_id,
            identity,
            self.directory,
            context=spec.context,
            policy=self._policy,
            journal=journal,
        )
        # The server chooses what it offers, so the client compares it with what its own plan derives.
        if client.params != self.config.params(spec):
            raise secagg.UnsafeParametersError(
                "the server offered other parameters than the plan derives for this cohort size"
            )
        return SecAggClientSession(client)

    def resume(
        self,
        context: bytes,
        client_id: int,
        identity: secagg.Identity,
        state: bytes,
        journal: secagg.Journal,
    ) -> SecAggClientSession:
        """Go on from a suspended session, in any process.

        Its parameters were compared with those of the plan before it was suspended, and the state is sealed
        under the client's identity.

        Args:
            context: context of the sum.
            client_id: id of the client.
            identity: its signing key.
            state: what `SecAggClientSession.suspend` returned.
            journal: the journal that `session` was given, as it is now.

        Raises:
            secagg.SecAggError: these bytes are no state of this client and sum, or were altered.
        """
        client = secagg.Client.resume(
            state,
            client_id,
            identity,
            self.directory,
            context=context,
            journal=journal,
            policy=self._policy,
        )
        return SecAggClientSession(client)


class SecAggClientSession:
    """A client's part of one masked sum; see `secagg.Client`.

    Args:
        client: the client, which joined the session.

    Example:
        >>> from secagg import Directory, Identity, Params, Server
        >>> me = Identity.generate()
        >>> known = Directory({5: me.public, 6: Identity.generate().public})
        >>> params = Params.for_cohort(3, 2, max_abs=9)
        >>> server = Server(params, context=b"round 1", directory=known)
        >>> session = SecAggClientSession(
        ...     secagg.Client.from_offer(server.offer(), 5, me, known, context=b"round 1")
        ... )
        >>> session.roster_size, session.left, session.over
        (3, False, False)
    """

    def __init__(self, client: secagg.Client) -> None:
        self._client = client
        self._left = client.phase in _MASKED

    @property
    def roster_size(self) -> int:
        """Number of clients in the sum."""
        return self._client.params.n_clients

    @property
    def left(self) -> bool:
        """Whether the vector was sent under its masks."""
        return self._left

    @property
    def over(self) -> bool:
        """Whether the client has answered its last message."""
        return self._client.phase is secagg.Phase.DONE

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give the vector, once, before the third message."""
        self._client.set_input(vector)

    def start(self) -> Sequence[bytes]:
        """The client's keys."""
        return (self._client.start(),)

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Answer one message of the server."""
        reply = self._client.receive(message)
        if reply is None:
            return ()
        # From the masked vector on, the client's update may be in a sum.
        self._left = self._left or secagg.message_kind(reply) == "masked_input"
        return (reply,)

    def suspend(self) -> bytes:
        """Put the client away; only `SecAggClientSide.resume` goes on. See `secagg.Client.suspend`."""
        return self._client.suspend()
