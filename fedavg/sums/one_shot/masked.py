"""The clients add their one-time keys by secagg: parameters, and the sessions of server and client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

import msgspec

import secagg
from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.sums.interface import Provision, SumSpec
from fedavg.sums.masked import STAGES, SecAgg, convictions_of
from fedavg.sums.sides.opening import OpenedSum
from he import Directory, onetime
from secagg import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import ClientSession, Conviction
    from fedavg.sums.masked import SecAggClientSide
    from fedavg.sums.one_shot.draw import Draw
    from fedavg.sums.one_shot.uploads import Uploads

__all__ = ["MaskedKeys"]


@dataclass(frozen=True, slots=True)
class MaskedKeys:
    """Keys are added by `SecAgg` among the clients of the round; see `KeySum`.

    Args:
        dropout_rate: see `SecAgg`.
        corrupt_rate: see `SecAgg`.
        members: unused, as there is no committee.
        epoch_rounds: unused, likewise.
        draw: None, likewise.
    """

    dropout_rate: float
    corrupt_rate: float
    members: tuple[int, int, int]
    epoch_rounds: int = 1
    draw: Draw | None = None

    @property
    def survives_processes(self) -> bool:
        """False: between its messages a client keeps its secrets for the sum of keys in memory."""
        return False

    @property
    def masks(self) -> SecAgg:
        """The inner secure sum."""
        return SecAgg(self.dropout_rate, self.corrupt_rate)

    @property
    def threat_model(self) -> str:
        """That of the inner sum."""
        return self.masks.threat_model

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Those of the inner sum."""
        # They do not depend on the sum: keys are as long as the library makes them.
        keys = SumSpec(1, 1, None, self.smallest_cohort(), b"keys")
        return self.masks.assumptions(keys)

    def shares(self, uploads: Uploads, spec: SumSpec) -> bool:
        """False: vectors of any length are encrypted."""
        del uploads, spec
        return False

    def check_rates(self) -> None:
        """The checks of the inner sum."""
        self.masks  # noqa: B018 - it checks its own rates

    def smallest_cohort(self) -> int:
        """That of the inner sum."""
        return self.masks.smallest_cohort()

    def min_survivors(self, roster_size: int) -> int:
        """That of the inner sum."""
        return self.masks.min_survivors(roster_size)

    def colluders(self, roster_size: int) -> int:
        """Those of the inner sum."""
        return self.masks.colluders(roster_size)

    def check(self, keys: SumSpec) -> None:
        """Raise the errors of secagg when no parameters exist."""
        self.masks.check(keys)

    def provision(self, directory: Mapping[int, bytes], rounds: int) -> Provision:
        """Give every role the directory of public identities, which contains no secret."""
        del rounds  # clients make their keys in each round
        packed = msgspec.msgpack.encode(dict(directory))
        return Provision(server=packed, clients=packed, key_holder=None)

    def server_side(self, uploads: Uploads, material: bytes) -> _ServerSide:
        """Load the server's side: the directory, which also checks the signatures of uploads."""
        enrolled = Directory(msgspec.msgpack.decode(material, type=dict[int, bytes]))
        return _ServerSide(uploads, self.masks.server_side(material), enrolled)

    def client_side(self, uploads: Uploads, material: bytes) -> _ClientSide:
        """Load the clients' side: the pinned directory."""
        return _ClientSide(uploads, self.masks.client_side(material))

    def opener_side(self, uploads: Uploads, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: the clients help themselves."""
        del uploads, material
        raise LocalProtocolError("keys that are added by secagg need no openers")

    def among(self, uploads: Uploads, committee: object, clients: object) -> NoReturn:
        """Raise LocalProtocolError: these keys need no committee."""
        del uploads, committee, clients
        raise LocalProtocolError("keys that are added by secagg need no committee")

    def describe(self, message: bytes) -> str:
        """The kind of a message of secagg."""
        return secagg.message_kind(message)


class _KeyServers(Protocol):
    """The server's side of the sum of keys."""

    def server(self, spec: SumSpec) -> secagg.Server: ...


@dataclass(frozen=True, slots=True)
class _ServerSide:
    uploads: Uploads
    masks: _KeyServers
    enrolled: Directory

    def session(self, spec: SumSpec, roster: Sequence[int]) -> _ServerSession:
        adding = onetime.Server(
            self.uploads.params(spec), context=spec.context, enrolled=self.enrolled
        )
        return _ServerSession(self.masks.server(self.uploads.keys(spec)), adding, spec, roster)


class _ServerSession:
    """The server of secagg, which adds a client's ciphertexts once it has the client's masked key.

    A client that has sent both is in both sums, and any other client in none: the sum of ciphertexts opens
    with the sum of exactly these keys.
    """

    def __init__(
        self, masks: secagg.Server, adding: onetime.Server, spec: SumSpec, roster: Sequence[int]
    ) -> None:
        self._masks = masks
        self._adding = adding
        self._spec = spec
        self._roster = frozenset(roster)
        self._partners: frozenset[int] = frozenset()
        self._opened: OpenedSum | None = None

    @property
    def stage(self) -> str:
        return STAGES.get(self._masks.phase, "done")

    @property
    def collecting(self) -> bool:
        return self._masks.phase is Phase.MASKED_INPUT

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        return convictions_of(self._masks, self._spec.context)

    def open(self) -> dict[int, Sequence[bytes]]:
        return dict.fromkeys(self._roster, (self._masks.offer(),))

    def receive(self, sender: int, message: bytes) -> None:
        # The sender is checked first, so that nobody outside the roster reaches either sum.
        if sender not in self._roster:
            raise LocalProtocolError(f"client {sender} is not on this round's roster")
        if not self.collecting:
            self._masks.receive(sender, message)
        elif sender not in self._partners:
            raise LocalProtocolError(f"client {sender} is no longer part of the session")
        elif onetime.is_upload(message):
            self._adding.receive(sender, message)
        # A key without its ciphertexts would leave the sum of all others closed.
        elif sender not in self._adding.complete:
            raise LocalProtocolError(f"client {sender} sent its key before all of its ciphertexts")
        else:
            self._masks.receive(sender, message)
            self._adding.add(sender)

    def advance(self) -> dict[int, Sequence[bytes]]:
        if self.collecting:
            for client in self._adding.complete:  # whose masked key did not arrive
                self._adding.drop(client)
        messages = self._masks.advance()
        # The recipients of the partners' message are those who may give an input.
        if self.collecting:
            self._partners = frozenset(messages)
        if not messages:
            self._open()
        return {client: (message,) for client, message in messages.items()}

    def _open(self) -> None:
        keys = self._masks.result()
        if tuple(keys.survivors) != self._adding.contributors:
            raise RoundAbortedError("the sum of keys is of other clients than the ciphertexts")
        opened = self._adding.open_with_key_sum(keys.total)
        # All secure sums reduce in the same way, so that their results are equal to the bit.
        self._opened = OpenedSum(self._spec.reduce(opened.total), opened.survivors)

    def result(self) -> OpenedSum:
        if self._opened is None:
            raise LocalProtocolError("the sum is not finished")
        return self._opened


@dataclass(frozen=True, slots=True)
class _ClientSide:
    uploads: Uploads
    masks: SecAggClientSide

    def session(
        self, spec: SumSpec, client_id: int, identity: secagg.Identity, opening: bytes
    ) -> _ClientSession:
        inner = self.masks.session(self.uploads.keys(spec), client_id, identity, opening)
        encryptor = onetime.Encryptor(
            self.uploads.params(spec), client_id, context=spec.context, signing_key=identity
        )
        return _ClientSession(inner, encryptor, spec)


class _ClientSession:
    """The client of secagg, whose input is its key; the ciphertexts go with the masked key."""

    def __init__(self, keys: ClientSession, encryptor: onetime.Encryptor, spec: SumSpec) -> None:
        self._keys = keys
        self._encryptor = encryptor
        self._spec = spec
        self._chunks: tuple[bytes, ...] = ()

    @property
    def roster_size(self) -> int:
        return self._keys.roster_size

    @property
    def left(self) -> bool:
        return self._keys.left

    def set_input(self, vector: NDArray[np.int64]) -> None:
        # Encrypted at once: from here on the session keeps ciphertexts in place of the vector.
        chunks = self._encryptor.encrypt(self._spec.admit(vector), copy=False)
        self._chunks = tuple(chunks)
        self._keys.set_input(self._encryptor.take_key())

    def start(self) -> Sequence[bytes]:
        return self._keys.start()

    def receive(self, message: bytes) -> Sequence[bytes]:
        replies = self._keys.receive(message)
        if not self._keys.left or not self._chunks:
            return replies
        # Ciphertexts go first: the server takes no key of a client whose ciphertexts it lacks.
        chunks, self._chunks = self._chunks, ()
        return (*chunks, *replies)
