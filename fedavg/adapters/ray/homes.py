"""The actors that clients live on: how they begin, how they are lost, and how others take their place.

All of an actor's clients live in one process.  If that is lost, a new actor makes the same clients from the
data that the program sends again, and from the keys and states that the clients keep in a folder.
"""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fedavg.adapters.ray.host import Host, Return
from fedavg.adapters.ray.interface import LostError
from fedavg.adapters.ray.place import Place
from fedavg.errors import LocalProtocolError
from fedavg.simulation.messages import ClientData, Enrol, Publics, encode
from fedavg.simulation.shared_memory import SharedBuffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from fedavg.adapters.ray.interface import Actor, Engine, Ticket
    from fedavg.simulation.interface import Enrolled

__all__ = ["Home", "Homes", "Register"]

_ENROLMENT = 600.0  # seconds for the first answer of an actor
_ATTEMPTS = 3  # new actors that one round waits for in the same place


@dataclass(slots=True, eq=False)
class Home:
    """An actor and its clients.

    Args:
        clients: ids of the clients.
        actor: the process that holds them, or will hold them.
        coming: first answer of the actor, if it has not been read yet.
        trouble: why the clients are not there; "" if they are.
        waited: whether a round has waited for a new actor.
    """

    clients: tuple[int, ...]
    actor: Actor
    coming: Ticket | None = None
    trouble: str = ""
    waited: bool = False


class Register:
    """What a client that comes back must not forget, counted from outside and never too low.

    Example:
        >>> register = Register()
        >>> register.session = (4, 0)
        >>> register.told([7]), register.told([7]), register.told([7])  # start, sum, and what follows
        (None, None, None)
        >>> register.participations([7, 9])
        {7: 1, 9: 0}
    """

    def __init__(self) -> None:
        self.session: tuple[int, int] = (-1, 0)
        """The round and the attempt."""
        self._last: dict[
            int, tuple[tuple[int, int], bool]
        ] = {}  # attempt, and whether it is counted
        self._participations: dict[int, int] = {}

    def told(self, clients: Iterable[int]) -> None:
        """Note that messages of this attempt were sent to clients; the second of an attempt opens its sum."""
        for client in clients:
            session, counted = self._last.get(client, ((-1, 0), False))
            if session != self.session:
                self._last[client] = self.session, False
            elif not counted:
                self._last[client] = session, True
                self._participations[client] = self._participations.get(client, 0) + 1

    def participations(self, clients: Iterable[int]) -> dict[int, int]:
        """Number of sums that each client has taken part in, or a larger number."""
        return {client: self._participations.get(client, 0) for client in clients}


class Homes:
    """All actors of a federation.

    Args:
        enrolled: the clients and how their model is built.
        engine: the cluster.
        actors: largest number of actors.
        processors: processors that each actor reserves.
        patience: seconds that a round waits, once, for an actor that takes a lost one's place.
    """

    def __init__(
        self,
        enrolled: Enrolled,
        engine: Engine,
        *,
        actors: int,
        processors: float,
        patience: float,
    ) -> None:
        self.register = Register()
        self._enrolled, self._engine, self._patience = enrolled, engine, patience
        self._place = bytes(Place.here())
        self._publics: dict[int, bytes] = {}
        self._equip = b""
        self._keys: Path | None = None
        ids = sorted(enrolled.datasets)
        # Clients are spread by their order, so that any ids fill all actors equally.
        self._all = [
            Home(tuple(ids[i::actors]), engine.start(Host, processors))
            for i in range(min(actors, len(ids)))
        ]
        self._of = {client: home for home in self._all for client in home.clients}
        for home in self._all:
            home.coming = engine.call(home.actor, "enrol", (self._place, self._enrol(home)))

    def __iter__(self) -> Iterator[Home]:
        return iter(self._all)

    def __getitem__(self, client: int) -> Home:
        return self._of[client]

    def _enrol(self, home: Home) -> bytes:
        given, inline = self._enrolled, SharedBuffers((), 0)
        holdings = [
            ClientData.of(client, given.datasets[client], inline, 0) for client in home.clients
        ]
        faults, compute = given.faults, given.compute
        how = (faults.rate, faults.seed, compute.device, compute.precision)
        return encode(Enrol(holdings, *how, given.unit, given.headline))

    def publics(self) -> dict[int, bytes]:
        """Public identities of all clients, generated on their actors.

        Raises:
            LocalProtocolError: an actor does not start, is lost, or is on a node that differs.
        """
        for home in self._all:
            ticket, home.coming = home.coming, None
            if not self._engine.ready([ticket], _ENROLMENT):
                raise LocalProtocolError(
                    f"no actor started in {_ENROLMENT:.0f} s: the cluster has no free processors, or fewer "
                    "than it says"
                )
            answer = self._first(ticket)
            self._publics |= msgspec.msgpack.decode(answer, type=Publics).publics
        return dict(self._publics)

    def _first(self, ticket: Ticket) -> bytes:
        """An answer of the enrolment, during which no actor may be lost."""
        try:
            return self._engine.answer(ticket)
        except LostError as error:
            raise LocalProtocolError(
                f"an actor was lost while the clients were enrolled: {error}; run it again"
            ) from None

    def equip(self, request: bytes, store: Path) -> None:
        """Give all clients the plan and the sum's material, and let them keep their keys.

        Args:
            request: bytes of an `Equip`.
            store: absolute path of a folder that all nodes share.

        Raises:
            LocalProtocolError: the folder cannot be used, or a node does not see it.
        """
        folder = store / f"keys-{secrets.token_hex(16)}"
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise LocalProtocolError(f"cannot make {folder}: {error.strerror}") from None
        self._keys, self._equip = folder, request
        given = (self._engine.store(request), str(folder))
        tickets = [self._engine.call(home.actor, "equip", given) for home in self._all]
        for ticket in tickets:
            self._first(ticket)

    def lose(self, home: Home, reason: str) -> None:
        """Give an actor up, and start another in its place."""
        # Of two processes with the same clients, one must never answer again.
        self._engine.end(home.actor)
        home.trouble = f"its actor was lost ({reason}); it comes back in a later round"
        home.waited = False
        # It reserves no processor, so that it starts although the lost node's processors are gone.
        home.actor = self._engine.start(Host, 0.0)
        counts = self.register.participations(home.clients)
        back = msgspec.msgpack.encode(Return(str(self._keys), self.register.session[0], counts))
        given = (self._place, self._enrol(home), self._equip, back)
        home.coming = self._engine.call(home.actor, "come_back", given)

    def bring_back(self) -> None:
        """Let the clients of new actors take part again; wait for each new actor once."""
        deadline = time.monotonic() + self._patience
        for home in [home for home in self._all if home.coming is not None]:
            # Ray may start an actor on a node whose loss it has not noticed yet, and lose that as well.
            for _ in range(_ATTEMPTS):
                if not self._lost_again(home, deadline):
                    break

    def _lost_again(self, home: Home, deadline: float) -> bool:
        """Wait for a new actor, and return True if it was lost before it answered."""
        timeout = 0.0 if home.waited else max(0.0, deadline - time.monotonic())
        home.waited = True
        if not self._engine.ready([home.coming], timeout):
            return False
        ticket, home.coming = home.coming, None
        try:
            answer = self._engine.answer(ticket)
            self._check_keys(msgspec.msgpack.decode(answer, type=Publics).publics)
        except (LostError, LocalProtocolError) as error:
            self.lose(home, str(error))
            return time.monotonic() < deadline
        home.trouble = ""
        return False

    def _check_keys(self, publics: Mapping[int, bytes]) -> None:
        # Another key would be another client under the same number.
        if any(self._publics[client] != public for client, public in publics.items()):
            raise LocalProtocolError(
                f"the keys in {self._keys} are not those that were enrolled: another program wrote there"
            )

    def close(self) -> None:
        """End the actors, and delete the clients' keys."""
        for home in self._all:
            self._engine.end(home.actor)
        if self._keys is not None:
            shutil.rmtree(self._keys, ignore_errors=True)
