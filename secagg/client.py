"""The client: gives its input to one session, masked, and helps to remove the masks of the sum.

Every message of the server is taken as a lie until checked.  A check that fails ends the session for
this client and drops its secrets; a wrong call by the program changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secagg import ring
from secagg.cohort import Cohort, pair_seed, self_seed
from secagg.consistency import check_quorum, check_survivors
from secagg.envelopes import open_envelope, seal_envelope
from secagg.ephemeral import Ephemeral, present
from secagg.errors import (
    Aborted,
    AbortReason,
    CapacityError,
    LocalProtocolError,
    RemoteProtocolError,
    SecAggError,
    WireFormatError,
)
from secagg.keys import Secret, check_client_id
from secagg.masks import add_masks
from secagg.messages import (
    AdvertiseKeys,
    ConsistencySignature,
    ForwardedShares,
    MaskedInput,
    Offer,
    Roster,
    ShareKeys,
    Signatures,
    Survivors,
    UnmaskShares,
    seed_commitment,
)
from secagg.policy import Policy
from secagg.sealed import route_keys
from secagg.shamir import SHARE_SIZE, deal
from secagg.state import CLIENT_AWAITS, Phase, next_phase
from secagg.wire import decode, encode, encode_chunk, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from secagg.keys import AgreementKey, Directory, Identity
    from secagg.params import Params

__all__ = ["Client"]

CHUNK_SIZE = 256 << 10
_ACCEPT_DEFAULTS = Policy()


class Client(Secret):
    """One client in one session; make it with `from_offer`.

    The calls in order: `start`, `receive` four times, and `set_input` at any time before the second
    `receive`. Each returns the bytes to send, until `receive` has answered the request to unmask.

    Example:
        >>> from secagg import Directory, Identity, Params, Server
        >>> server = Server(Params.for_cohort(3, 2, max_abs=9), context=b"round 1")
        >>> me = Identity.generate()
        >>> known = Directory({5: me.public})
        >>> client = Client.from_offer(server.offer(), 5, me, known, context=b"round 1")
        >>> server.receive(5, client.start())
        >>> client
        Client(<redacted>)
    """

    __slots__ = (
        "_client_id",
        "_cohort",
        "_directory",
        "_masked_with",
        "_neighbours",
        "_own",
        "_params",
        "_phase",
        "_secrets",
        "_session",
        "_signature",
        "_survivors",
    )

    def __init__(
        self,
        params: Params,
        session: bytes,
        client_id: int,
        identity: Identity,
        directory: Directory,
    ) -> None:
        self._params = params
        self._session = session
        self._client_id = client_id
        self._directory = directory
        self._secrets: Ephemeral | None = Ephemeral(identity)
        self._phase = Phase.ADVERTISE_KEYS
        self._own: AdvertiseKeys | None = None
        self._cohort: Cohort | None = None
        self._neighbours: tuple[int, ...] = ()
        self._masked_with: frozenset[int] = frozenset()
        self._survivors: Survivors | None = None
        self._signature = b""

    @classmethod
    def from_offer(
        cls,
        offer: bytes,
        client_id: int,
        identity: Identity,
        directory: Directory,
        *,
        context: bytes,
        policy: Policy = _ACCEPT_DEFAULTS,
    ) -> Client:
        """Join the session of an offer.

        Args:
            offer: message 0.
            client_id: this client's id, 0 … 2^32 − 1.
            identity: its signing key.
            directory: the identities it knows beforehand.
            context: what the input belongs to, such as a digest of plan, round and model; the server
                must have been given the same.
            policy: its own floors.

        Raises:
            UnsafeParametersError, CapacityError: the offer is unsafe; no key was made.
            RemoteProtocolError: no offer, another context, or a session joined before.
            LocalProtocolError: the directory does not hold this identity under this id.
        """
        check_client_id(client_id)
        try:
            session, message = decode(offer)
        except WireFormatError as error:
            raise RemoteProtocolError(f"sent a malformed offer: {error}", "server") from error
        if not isinstance(message, Offer):
            raise RemoteProtocolError("sent another message than an offer", "server")
        policy.check(message.params, directory)
        if session != message.session(context):
            raise RemoteProtocolError(
                "offers a session for another context than this client's", "server"
            )
        try:
            directory.check(client_id, identity.public)
        except RemoteProtocolError as error:
            raise LocalProtocolError(
                f"the directory does not hold this identity for client {client_id}"
            ) from error
        identity.join(session, client_id)
        return cls(message.params, session, client_id, identity, directory)

    @property
    def params(self) -> Params:
        """The parameters of the session, checked."""
        return self._params

    @property
    def phase(self) -> Phase:
        """The phase whose message this client sends next."""
        return self._phase

    def start(self) -> bytes:
        """Message 1: the two ephemeral keys, signed.

        Raises:
            LocalProtocolError: called before.
        """
        if self._phase is not Phase.ADVERTISE_KEYS:
            raise LocalProtocolError("start() is the first call, once")
        secrets = self._living()
        channel, mask = present(secrets.channel), present(secrets.mask)
        keys = (secrets.identity.public, channel.public, mask.public)
        unsigned = AdvertiseKeys(self._client_id, *keys, signature=b"")
        signature = secrets.identity.sign(unsigned.signed(self._session))
        self._own = AdvertiseKeys(self._client_id, *keys, signature=signature)
        self._phase = Phase.SHARE_KEYS
        return encode(self._own, self._session)

    def set_input(self, vector: NDArray[np.int64]) -> None:
        """Give the input, once.

        Args:
            vector: int64[vector_length]; within ±max_abs if the session has such a bound, else any.

        Raises:
            CapacityError: another shape or type, or a coordinate out of range.
            LocalProtocolError: given before, or the masked input has left already.
        """
        secrets = self._living()
        if secrets.input is not None or self._phase in (Phase.CONSISTENCY, Phase.UNMASK):
            raise LocalProtocolError("one input a session, before the forwarded shares arrive")
        expected = (self._params.vector_length,)
        if vector.dtype != np.int64 or vector.shape != expected:
            raise CapacityError(
                f"expected int64{list(expected)}, not {vector.dtype}{list(vector.shape)}"
            )
        bound = self._params.max_abs
        if bound is not None and bool(((vector > bound) | (vector < -bound)).any()):
            raise CapacityError(f"a coordinate lies beyond max_abs={bound}")
        secrets.input = vector.copy()

    def receive(self, message: bytes) -> bytes | None:
        """Answer one message of the server.

        Raises:
            RemoteProtocolError: it is not the awaited message, or a check failed. Final.
            Aborted: the session cannot go on, by nobody's proven fault. Final.
            LocalProtocolError: start() or set_input() is due first, or this client has aborted.
        """
        if self._phase is Phase.DONE:
            raise RemoteProtocolError("sent a message after the session", "server")
        if self._phase is Phase.ADVERTISE_KEYS:
            raise LocalProtocolError("call start() before receive()")
        secrets = self._living()
        if self._phase is Phase.MASKED_INPUT and secrets.input is None:
            raise LocalProtocolError("call set_input() before the forwarded shares are received")
        try:
            reply = encode(self._answer(message, secrets), self._session)
        except WireFormatError as error:
            self._abort()
            raise RemoteProtocolError(f"sent a malformed message: {error}", "server") from error
        except SecAggError:
            self._abort()
            raise
        self._phase = next_phase(self._phase)
        if self._phase is Phase.DONE:
            self._secrets = None
        return reply

    def chunks(self, reply: bytes) -> Iterator[bytes]:
        """Cut a reply into parts of 256 KiB for `Server.receive_chunk`."""
        count = -(-len(reply) // CHUNK_SIZE)
        for index in range(count):
            part = reply[index * CHUNK_SIZE : (index + 1) * CHUNK_SIZE]
            yield encode_chunk(self._session, index, count, part)

    def _answer(
        self, data: bytes, secrets: Ephemeral
    ) -> ShareKeys | MaskedInput | ConsistencySignature | UnmaskShares:
        kind, session = read_header(data)
        if session != self._session:
            raise RemoteProtocolError("sent a message of another session", "server")
        if kind is not CLIENT_AWAITS[self._phase]:
            raise RemoteProtocolError(f"sent {kind.name} in phase {self._phase.name}", "server")
        _, message = decode(data)
        match message:
            case Roster():
                return self._share_keys(message, secrets)
            case ForwardedShares():
                return self._masked_input(message, secrets)
            case Survivors():
                return self._sign(message, secrets)
            case Signatures():
                return self._unmask(message, secrets)
            case _:  # the table above lets no other kind through
                raise RemoteProtocolError(f"sent {kind.name}", "server")

    def _share_keys(self, roster: Roster, secrets: Ephemeral) -> ShareKeys:
        """Message 3: check who takes part, and deal shares to the neighbours."""
        cohort = Cohort.of(roster, self._params, self._session)
        position = cohort.positions.get(self._client_id)
        if position is None or roster.entries[position] != self._own:
            raise RemoteProtocolError("left out or altered this client's own keys", "server")
        for entry in roster.entries:
            self._directory.check(entry.client_id, entry.identity)
        neighbours = cohort.neighbours(position)
        for entry in (roster.entries[place] for place in neighbours):
            if not self._directory.verify(
                entry.identity, entry.signature, entry.signed(self._session)
            ):
                raise RemoteProtocolError(f"forged the keys of client {entry.client_id}", "server")
        seed, mask, channel = (
            present(secrets.seed),
            present(secrets.mask),
            present(secrets.channel),
        )
        # own share first; a point is a position + 1, the same for every dealer
        points = [place + 1 for place in (position, *neighbours)]
        table = deal((seed, mask.private_bytes()), points, self._params.threshold)
        secrets.own_share = table[0, 0].tobytes()
        envelopes: list[bytes] = []
        for place, shares in zip(neighbours, table[1:], strict=True):
            sending, secrets.routes[place] = self._routes(cohort, channel, place)
            holder = cohort.client_id(place)
            envelope = seal_envelope(cohort, sending, shares.tobytes(), self._client_id, holder)
            envelopes.append(envelope)
        secrets.channel = None
        self._cohort, self._neighbours = cohort, neighbours
        commitment = seed_commitment(self._session, self._client_id, seed)
        return ShareKeys(self._client_id, commitment, tuple(envelopes))

    def _routes(self, cohort: Cohort, channel: AgreementKey, place: int) -> tuple[bytes, bytes]:
        """Keys to and from a neighbour."""
        other = cohort.client_id(place)
        try:
            agreed = channel.agree(cohort.entries[place].channel_key)
        except ValueError as error:
            raise RemoteProtocolError("advertised a channel key of low order", other) from error
        bound = {"session": self._session, "root": cohort.root}
        return route_keys(agreed, own=self._client_id, other=other, **bound)

    def _masked_input(self, forwarded: ForwardedShares, secrets: Ephemeral) -> MaskedInput:
        """Message 5: open the shares; mask with exactly those neighbours whose shares opened."""
        cohort = present(self._cohort)
        if len(forwarded.envelopes) != len(self._neighbours):
            raise RemoteProtocolError("forwarded shares for another neighbourhood", "server")
        for place, envelope in zip(self._neighbours, forwarded.envelopes, strict=True):
            if envelope is None:
                continue
            dealer, key = cohort.client_id(place), secrets.routes[place]
            shares = open_envelope(cohort, key, envelope, dealer, self._client_id)
            if shares is not None:
                secrets.held[place] = shares
        secrets.routes = {}
        if len(secrets.held) + 1 < self._params.threshold:
            raise Aborted(
                AbortReason.TOO_FEW_SHARES,
                f"{len(secrets.held)} neighbours' shares opened, {self._params.threshold - 1} needed",
            )
        vector = present(secrets.input)
        bits = self._params.ring_bits
        masked = ring.to_ring(vector, bits)
        position = cohort.positions[self._client_id]
        plus, minus = [self_seed(cohort, present(secrets.seed), position)], []
        mask = present(secrets.mask)
        for place in secrets.held:
            try:
                seed = pair_seed(cohort, mask, position, place)
            except ValueError as error:
                culprit = cohort.client_id(place)
                raise RemoteProtocolError("advertised a mask key of low order", culprit) from error
            (plus if position < place else minus).append(seed)
        add_masks(masked, plus, minus)
        secrets.input = secrets.mask = secrets.seed = None
        self._masked_with = frozenset(secrets.held)
        flags = tuple(place in self._masked_with for place in self._neighbours)
        packed = ring.pack(masked, bits)
        return MaskedInput(self._client_id, flags, self._params.vector_length, bits, packed)

    def _sign(self, survivors: Survivors, secrets: Ephemeral) -> ConsistencySignature:
        """Message 7: check the survivor set and sign it."""
        cohort = present(self._cohort)
        check_survivors(survivors, cohort, cohort.positions[self._client_id], self._masked_with)
        self._survivors = survivors
        self._signature = secrets.identity.sign(survivors.signed(self._session, cohort.root))
        return ConsistencySignature(self._client_id, self._signature)

    def _unmask(self, request: Signatures, secrets: Ephemeral) -> UnmaskShares:
        """Message 9: once a quorum has signed the same set, one share of each neighbour's secrets."""
        cohort, survivors = present(self._cohort), present(self._survivors)
        own = (cohort.positions[self._client_id], self._signature)
        check_quorum(request, survivors, cohort, self._directory, own)
        flags = tuple(place in secrets.held for place in self._neighbours)
        shares = [secrets.own_share]
        for place in self._neighbours:
            if place in secrets.held:
                both = secrets.held[place]
                # a survivor's self-mask, or a drop-out's mask key: never both
                alive = survivors.members[place]
                shares.append(both[:SHARE_SIZE] if alive else both[SHARE_SIZE:])
        return UnmaskShares(self._client_id, flags, tuple(shares))

    def _living(self) -> Ephemeral:
        if self._secrets is None:
            raise LocalProtocolError(
                f"this client is {self._phase.name}; join the next session anew"
            )
        return self._secrets

    def _abort(self) -> None:
        self._phase = Phase.ABORTED
        self._secrets = None
