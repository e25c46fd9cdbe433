"""A client between two phases as bytes: sealed under a key of its identity, in one strict form.

docs/protocol.md, "Suspended clients", describes the format, and what sealing gives and does not give.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secagg.crypto import ring
from secagg.crypto.ephemeral import Ephemeral, present
from secagg.crypto.keys import KEY_SIZE, SIGNATURE_SIZE, AgreementKey, derive, entropy
from secagg.crypto.sealed import open_sealed, seal
from secagg.crypto.shamir import SECRET_SIZE, SHARE_SIZE
from secagg.errors import CapacityError, SecAggError, StateError
from secagg.session.roster import Roster
from secagg.session.state import CLIENT_AWAITS, Phase
from secagg.wire.codec import decode, encode
from secagg.wire.messages import AdvertiseKeys, Advertisements, Offer, Partners, Survivors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from secagg.crypto.keys import Identity
    from secagg.params.params import Params
    from secagg.wire.messages import Message

    Buffer = bytes | memoryview

__all__ = ["Held", "check_size", "open_state", "seal_state"]

_MAGIC, _VERSION, _SUITE = b"SAGS", 1, 1
_SALT_SIZE, _ROUTE_SIZE = 32, 16
_HEADER = struct.Struct(f"<4sBBBBI32s{_SALT_SIZE}s")
_U32 = struct.Struct("<I")
_ROOM = 1 << 22
_LARGEST_INPUT = (1 << 31) - _ROOM
"""Bytes of input in a state: AES-GCM takes 2^31 − 1 bytes at once, and all else takes less than 4 MiB."""


@dataclass(slots=True, repr=False)
class Held:
    """All that a client holds between two phases.

    Args:
        phase: the phase whose message it sends next.
        offer: the session's offer.
        session: name of the session.
        client_id: id of the client.
        secrets: its secrets.
        own: its own advertisement, until it has seen the roster.
        roster: the roster, from then on.
        partners: the partners that it masked with.
        survivors: the survivors that it signed.
        signature: its signature on them.
    """

    phase: Phase
    offer: Offer
    session: bytes
    client_id: int
    secrets: Ephemeral
    own: AdvertiseKeys | None = None
    roster: Roster | None = None
    partners: Partners | None = None
    survivors: Survivors | None = None
    signature: bytes = b""

    def __repr__(self) -> str:
        return "Held(<redacted>)"


def check_size(phase: Phase, params: Params) -> None:
    """Refuse a session whose states may be too large to seal, before anything else is done.

    An input that was not given yet counts, so that the first state is refused and not a later one.

    Raises:
        CapacityError: the input takes more than 2 GiB less 4 MiB, and is not masked in this phase.
    """
    words = np.dtype(ring.ring_dtype(params.ring_bits)).itemsize
    size = params.vector_length * words
    if "input" in _CARRIED[phase] and size > _LARGEST_INPUT:
        raise CapacityError(
            f"a state holds the input, which takes {size} bytes: {params.vector_length} coordinates of "
            f"{words} bytes each, and at most {_LARGEST_INPUT // words} coordinates can be suspended. Keep "
            "the client in memory until its masked input is sent, or cut the vector into several sessions"
        )


def seal_state(held: Held) -> bytes:
    """The one form of a client that is put away; its key is new with each state."""
    identity = present(held.secrets.identity)
    kind, salt = CLIENT_AWAITS[held.phase], entropy(_SALT_SIZE)
    header = _HEADER.pack(_MAGIC, _VERSION, _SUITE, kind, 0, held.client_id, held.session, salt)
    return header + seal(_key(identity, held.session, salt), _plain(held), header)


def open_state(state: bytes, client_id: int, identity: Identity, context: bytes) -> Held:
    """Read `seal_state`.

    Raises:
        StateError: these bytes are no state of this client, identity and context, or they were altered.
    """
    if len(state) < _HEADER.size:
        raise StateError(f"a suspended state has at least {_HEADER.size} bytes, not {len(state)}")
    header = state[: _HEADER.size]
    magic, version, suite, kind, zero, owner, session, salt = _HEADER.unpack(header)
    if magic != _MAGIC or version != _VERSION or suite != _SUITE or zero:
        raise StateError("not a suspended state of this version and cipher suite")
    phases = [phase for phase, awaited in CLIENT_AWAITS.items() if awaited == kind]
    if not phases:
        raise StateError(f"a suspended state of the unknown phase {kind}")
    if owner != client_id:
        raise StateError(f"this is the state of client {owner}, not of client {client_id}")
    sealed = memoryview(state)[_HEADER.size :]  # no copy: it may be as long as the input
    plain = open_sealed(_key(identity, session, salt), sealed, header)
    if plain is None:
        raise StateError("this state was sealed under another identity, or was altered")
    try:
        return _read(
            memoryview(plain), phases[0], session, client_id, Ephemeral.emptied(identity), context
        )
    except StateError:
        raise
    # Only a holder of the identity can make such bytes; what they hold stays out of the message.
    except (SecAggError, ValueError, KeyError, struct.error):
        raise StateError("the sealed state holds other data than its phase needs") from None


def _read(
    plain: memoryview,
    phase: Phase,
    session: bytes,
    client_id: int,
    secrets: Ephemeral,
    context: bytes,
) -> Held:
    offered, *fields = _split(plain)
    names = _CARRIED[phase]
    _require(len(fields) == len(names))
    named, offer = decode(bytes(offered))
    if not isinstance(offer, Offer) or named != session:
        raise ValueError
    if offer.session(context) != session:
        raise StateError("this is the state of a session for another context than this client's")
    held = Held(phase, offer, session, client_id, secrets)
    for name, data in zip(names, fields, strict=True):
        _FIELDS[name][1](held, data)
    if held.roster is not None:
        _require(client_id in held.roster.positions)
    return held


def _plain(held: Held) -> bytes:
    """All fields of the phase, each after its length."""
    fields = [encode(held.offer, held.session)]
    fields += [_FIELDS[name][0](held) for name in _CARRIED[held.phase]]
    return b"".join(part for data in fields for part in (_U32.pack(len(data)), data))


def _split(plain: memoryview) -> list[memoryview]:
    """Length-prefixed fields, of which the last ends with the bytes."""
    fields: list[memoryview] = []
    at = 0
    while at < len(plain):
        (size,) = _U32.unpack_from(plain, at)
        at += _U32.size
        _require(at + size <= len(plain))
        fields.append(plain[at : at + size])
        at += size
    _require(bool(fields))
    return fields


def _key(identity: Identity, session: bytes, salt: bytes) -> bytes:
    """A key for one state: a salt of its own makes the fixed nonce of `seal` safe."""
    secret = identity.private_bytes()
    return derive(secret, b"suspended client", session=session, info=salt, length=32)


def _require(holds: bool) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise ValueError


def _message(data: memoryview, held: Held, kind: type[Any]) -> Any:  # noqa: ANN401 - of that kind
    session, message = decode(bytes(data))
    _require(session == held.session and type(message) is kind)
    return message


# Fields: how each is written, and how it is read back -----------------------------------------------


def _of_message(name: str, kind: type[Message]) -> _Field:
    def read(held: Held, data: memoryview) -> None:
        setattr(held, name, _message(data, held, kind))

    return lambda held: encode(getattr(held, name), held.session), read


def _of_bytes(name: str, size: int) -> _Field:
    def read(held: Held, data: memoryview) -> None:
        _require(len(data) == size)
        setattr(held.secrets, name, bytes(data))

    return lambda held: present(getattr(held.secrets, name)), read


def _of_key(name: str) -> _Field:
    def read(held: Held, data: memoryview) -> None:
        _require(len(data) == KEY_SIZE)
        setattr(held.secrets, name, AgreementKey.from_private_bytes(bytes(data)))

    return lambda held: present(getattr(held.secrets, name)).private_bytes(), read


def _of_places(name: str, size: int) -> _Field:
    """Secrets of neighbours, by ascending positions."""

    def write(held: Held) -> bytes:
        found: Mapping[int, bytes] = getattr(held.secrets, name)
        return b"".join(_U32.pack(place) + found[place] for place in sorted(found))

    def read(held: Held, data: memoryview) -> None:
        step = _U32.size + size
        _require(len(data) % step == 0)
        parts = [bytes(data[at : at + step]) for at in range(0, len(data), step)]
        places = [_U32.unpack_from(part)[0] for part in parts]
        roster = present(held.roster)
        around = set(roster.neighbours(roster.positions[held.client_id]))
        _require(places == sorted(set(places)) and around.issuperset(places))
        secrets = (part[_U32.size :] for part in parts)
        setattr(held.secrets, name, dict(zip(places, secrets, strict=True)))

    return write, read


def _write_roster(held: Held) -> bytes:
    return encode(Advertisements(present(held.roster).entries), held.session)


def _read_roster(held: Held, data: memoryview) -> None:
    held.roster = Roster.of(bytes(data), held.offer.params, held.session)
    _message(data, held, Advertisements)  # the session in its header


def _write_survivors(held: Held) -> bytes:
    return encode(present(held.survivors), held.session)


def _read_survivors(held: Held, data: memoryview) -> None:
    found: Survivors = _message(data, held, Survivors)
    _require(not found.signatures)  # those of inputs have served when a set is signed
    held.survivors = found


def _write_signature(held: Held) -> bytes:
    return held.signature


def _read_signature(held: Held, data: memoryview) -> None:
    _require(len(data) == SIGNATURE_SIZE)
    held.signature = bytes(data)


def _write_input(held: Held) -> Buffer:
    """Words of the ring, little-endian; nothing while no input was given."""
    words = held.secrets.input
    if words is None:
        return b""
    # A view of the words themselves wherever they are little-endian: a vector may take a good part of memory.
    return words.astype(words.dtype.newbyteorder("<"), copy=False).data.cast("B")


def _read_input(held: Held, data: memoryview) -> None:
    if not data:
        return
    params = held.offer.params
    kind = np.dtype(ring.ring_dtype(params.ring_bits))
    _require(len(data) == params.vector_length * kind.itemsize)
    words = np.frombuffer(data, kind.newbyteorder("<")).astype(kind)  # a copy: masked in place
    _require(not int(words.max()) >> params.ring_bits)
    held.secrets.input = words


_Field = tuple["Callable[[Held], Buffer]", "Callable[[Held, memoryview], None]"]
_FIELDS: dict[str, _Field] = {
    "own": _of_message("own", AdvertiseKeys),
    "roster": (_write_roster, _read_roster),
    "partners": _of_message("partners", Partners),
    "survivors": (_write_survivors, _read_survivors),
    "signature": (_write_signature, _read_signature),
    "channel": _of_key("channel"),
    "mask": _of_key("mask"),
    "seed": _of_bytes("seed", SECRET_SIZE),
    "own_share": _of_bytes("own_share", SHARE_SIZE),
    "routes": _of_places("routes", _ROUTE_SIZE),
    "held": _of_places("held", 2 * SHARE_SIZE),
    "due": _of_places("due", SHARE_SIZE),
    "input": (_write_input, _read_input),
}
_CARRIED: dict[Phase, tuple[str, ...]] = {
    Phase.SHARE_KEYS: ("own", "channel", "mask", "seed", "input"),
    Phase.CHECK_SHARES: ("roster", "mask", "seed", "own_share", "routes", "input"),
    Phase.MASKED_INPUT: ("roster", "mask", "seed", "own_share", "held", "input"),
    Phase.CONSISTENCY: ("roster", "partners", "own_share", "held"),
    Phase.UNMASK: ("roster", "partners", "survivors", "signature", "own_share", "due"),
}
"""What a client still needs when it awaits the message of a phase: no input once it was masked, and of each
partner one kind of share once a set was signed."""
