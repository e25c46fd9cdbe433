"""A client's part in one session, from its offer on: its phase, its secrets, and how they are put away.

What the client answers to each message is in `secagg.roles.client.client`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn, Self

from secagg.crypto.ephemeral import Ephemeral, present
from secagg.crypto.keys import Directory, Identity, Secret, check_client_id
from secagg.errors import LocalProtocolError, RemoteProtocolError, WireFormatError
from secagg.guards.calls import Turn, leaving_nothing
from secagg.guards.checks import context_of, executor_of, instance, journal_of, octets
from secagg.roles.client.joining import allow_answers, check_known, claim_answer
from secagg.roles.client.policy import Policy
from secagg.roles.client.suspended import Held, check_size, open_state, seal_state
from secagg.session.state import Phase, next_phase
from secagg.wire.codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from secagg.guards.journal import Journal
    from secagg.params.params import Params
    from secagg.session.roster import Roster
    from secagg.wire.messages import AdvertiseKeys, Message, Offer, Partners, Survivors

__all__ = ["ACCEPT_DEFAULTS", "Participation"]

ACCEPT_DEFAULTS = Policy()


class Participation(Secret):
    """A client in one session, without its answers; `Client` has them.

    Args:
        offer: the session's offer, checked.
        session: name of the session.
        client_id: id of the client.
        secrets: its secrets.
        directory: identities that it knows beforehand.
        executor: executor of threads, or None.
        journal: durable record of facts, or None.
    """

    __slots__ = (
        "_client_id",
        "_directory",
        "_executor",
        "_journal",
        "_neighbours",
        "_offer",
        "_own",
        "_params",
        "_partner_root",
        "_partners",
        "_phase",
        "_process",
        "_resumed",
        "_roster",
        "_secrets",
        "_session",
        "_signature",
        "_survivors",
        "_turn",
    )

    def __init__(
        self,
        offer: Offer,
        session: bytes,
        client_id: int,
        secrets: Ephemeral,
        directory: Directory,
        executor: Executor | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._turn = Turn("this client")
        self._process = os.getpid()  # a fork would copy the secrets: see `_living`
        self._executor = executor
        self._journal = journal
        self._resumed = False
        self._offer = offer
        self._params = offer.params
        self._session = session
        self._client_id = client_id
        self._directory = directory
        self._secrets: Ephemeral | None = secrets
        self._phase = Phase.ADVERTISE_KEYS
        self._own: AdvertiseKeys | None = None
        self._roster: Roster | None = None
        self._neighbours: tuple[int, ...] = ()
        self._partners: Partners | None = None
        self._partner_root = b""
        self._survivors: Survivors | None = None
        self._signature = b""

    @property
    def params(self) -> Params:
        """The parameters of the session, checked."""
        return self._params

    @property
    def phase(self) -> Phase:
        """The phase whose message this client sends next."""
        return self._phase

    @leaving_nothing
    def suspend(self) -> bytes:
        """Put the client away between two phases; only its state goes on, with `resume`.

        The state is encrypted and authenticated under a key that is derived from the client's identity. It
        still is a secret: see docs/protocol.md, "Suspended clients". Replace the state of the phase before,
        send this phase's answer only when the new state is stored, and delete it when the session is over.

        Returns:
            The state. Input that was given and not yet masked is in it.

        Raises:
            CapacityError: the input and the rest of the state may take 2 GiB or more. The first call says
                so, before the client has sent anything. The client stays as it is.
            LocalProtocolError: the client was made without a journal, start() is due first, the session is
                over, another call is at work, or the journal failed. The client stays as it is.
        """
        with self._turn:
            secrets = self._living()
            if self._journal is None:
                raise LocalProtocolError(
                    "suspending needs a journal, so that no state is answered from twice: give from_offer one"
                )
            if self._phase is Phase.ADVERTISE_KEYS:
                raise LocalProtocolError("call start() before suspend()")
            check_size(self._phase, self._params)
            held = Held(self._phase, self._offer, self._session, self._client_id, secrets)
            held.own, held.roster, held.partners = self._own, self._roster, self._partners
            held.survivors, held.signature = self._survivors, self._signature
            state = seal_state(held)
            if not self._resumed:
                allow_answers(self._journal, self._who(secrets))
            self._check_process()
            # From here on there is one client again, and it is the state.
            self._secrets = None
            secrets.forget()
            return state

    @classmethod
    @leaving_nothing
    def resume(
        cls,
        state: bytes,
        client_id: int,
        identity: Identity,
        directory: Directory,
        *,
        context: bytes,
        journal: Journal,
        policy: Policy = ACCEPT_DEFAULTS,
        executor: Executor | None = None,
    ) -> Self:
        """Go on from a suspended state, in any process.

        A resumed client records in the journal that it answers a phase before it makes the answer. Of all
        clients that were resumed from a state and its copies, at any time and in any process, one answers.

        Args:
            state: what `suspend` returned.
            client_id: id of this client.
            identity: its signing key.
            directory: identities that it knows beforehand.
            context: context of the session, as `from_offer` was given it.
            journal: the journal that `from_offer` was given, as it is now; an older copy of it protects
                from nothing.
            policy: the client's own requirements, checked once more.
            executor: executor of threads, to mask long vectors on several cores.

        Raises:
            StateError: these bytes are no state of this client, identity and context, or they were altered.
            UnsafeParametersError: the session is below the policy.
            LocalProtocolError: the directory does not hold this identity under this id, or an argument has
                another type, such as None for the journal.
        """
        data, client_id = octets("state", state), check_client_id(client_id)
        identity = instance("identity", identity, Identity)
        directory = instance("directory", directory, Directory)
        policy, context = instance("policy", policy, Policy), context_of(context)
        kept, executor = journal_of(journal), executor_of(executor)
        if kept is None:
            raise LocalProtocolError("resuming needs the journal that from_offer was given")
        held = open_state(data, client_id, identity, context)
        policy.check(held.offer.params, directory)
        check_known(directory, client_id, identity)
        client = cls(held.offer, held.session, client_id, held.secrets, directory, executor, kept)
        client._put_back(held)
        identity.rejoin(held.session, client_id)
        return client

    def _put_back(self, held: Held) -> None:
        self._resumed, self._phase = True, held.phase
        self._own, self._roster, self._partners = held.own, held.roster, held.partners
        self._survivors, self._signature = held.survivors, held.signature
        if self._roster is not None:
            self._neighbours = self._roster.neighbours(self._roster.positions[self._client_id])
            if self._partners is not None:
                self._partner_root = self._partners.root(self._session, self._roster.root)

    def _acting(self, step: Callable[[Ephemeral], Message], secrets: Ephemeral) -> bytes:
        """Take the step to the next phase.

        The step removes the secrets from the state, and puts them back only with the next phase. If anything
        interrupts an answer, a second answer is therefore impossible.
        """
        self._secrets = None
        try:
            if self._resumed:  # first of all: other processes may hold copies of the state
                claim_answer(present(self._journal), self._who(secrets), self._phase)
            reply = encode(step(secrets), self._session)
            # A journal or a signal handler may have forked meanwhile, and the copy must not answer too.
            self._check_process()
        except BaseException as error:
            self._phase = Phase.ABORTED
            secrets.forget()
            if isinstance(error, WireFormatError):
                raise RemoteProtocolError(f"sent a malformed message: {error}", "server") from error
            raise
        self._phase = next_phase(self._phase)
        if self._phase is Phase.DONE:
            secrets.forget()
        else:
            self._secrets = secrets
        return reply

    def _who(self, secrets: Ephemeral) -> tuple[Identity, int, bytes]:
        return present(secrets.identity), self._client_id, self._session

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise LocalProtocolError(
                "this client was made before a fork; only the process that made it may go on"
            )

    def _living(self) -> Ephemeral:
        self._check_process()
        if self._secrets is None:
            if self._phase not in (Phase.DONE, Phase.ABORTED):
                raise LocalProtocolError("this client was suspended; resume its state")
            raise LocalProtocolError(
                f"this client is {self._phase.name}; join the next session anew"
            )
        return self._secrets

    def __reduce__(self) -> NoReturn:
        raise LocalProtocolError(
            "a client cannot be copied or pickled: two of them could each use its masks; join anew"
        )
