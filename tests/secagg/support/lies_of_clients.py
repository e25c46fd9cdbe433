"""What the server must refuse of a client, beyond bad frames."""

from __future__ import annotations

import struct
from dataclasses import replace

from secagg import Phase
from secagg.crypto.shamir import SHARE_SIZE
from secagg.roles.server.outbox import members_of
from secagg.wire.codec import decode, encode, encode_chunk
from secagg.wire.messages import MaskedInput, Survivors
from tests.secagg.support import signing

P25519 = 2**255 - 19
WIRE = "WireFormatError"
ORDER_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
"""A point of order 8 (Bernstein, "Curve25519", the list of points of small order)."""
BAD_KEYS = {
    "zero": bytes(32),
    "of order 1": b"\1" + bytes(31),
    "of order 2": (P25519 - 1).to_bytes(32, "little"),
    "of order 8": bytes.fromhex(ORDER_8),
    "p itself": P25519.to_bytes(32, "little"),
    "p + 9, not canonical": (P25519 + 9).to_bytes(32, "little"),
    "with its top bit set": b"\t" + bytes(30) + b"\x80",
}
BOMB = b"\xff" * 4


def lies_of_clients(book, phase, good):
    """Lies in a session on the complete graph, where all dealt."""
    other = next(i for i in book.session.said[phase] if i != book.client)
    book.server(
        phase,
        f"{phase.value}: another client's message",
        book.session.said[phase][other],
    )
    {
        Phase.ADVERTISE_KEYS: _keys,
        Phase.SHARE_KEYS: _dealt,
        Phase.CHECK_SHARES: _opened,
        Phase.MASKED_INPUT: _input,
        Phase.CONSISTENCY: _signature,
        Phase.UNMASK: _shares,
    }[phase](book, phase, good)


def _keys(book, phase, good):
    session = book.session
    own = decode(good)[1]
    identity = session.identities[book.client]
    other = decode(session.said[phase][next(iter(session.inputs))])[1]

    def signed(by=identity, **changes):
        entry = replace(own, **changes)
        entry = replace(entry, signature=by.sign(entry.signed(session.session)))
        return encode(entry, session.session)

    for name, key in BAD_KEYS.items():
        book.server(phase, f"a mask key {name}", signed(mask_key=key))
    book.server(phase, "a channel key zero", signed(channel_key=bytes(32)))
    book.server(phase, "one key twice", signed(mask_key=own.channel_key))
    book.server(phase, "a key of another client", signed(mask_key=other.mask_key))
    stranger = session.identities[other.client_id]
    book.server(phase, "another's identity", signed(stranger, identity=stranger.public))
    book.server(phase, "a signature by another", signed(stranger))
    book.server(phase, "a signature with s of another", good[:-32] + bytes(32))
    book.server(
        phase, "keys exchanged after signing", good[:76] + good[108:140] + good[76:108] + good[140:]
    )


def _dealt(book, phase, good):
    session, own = book.session, decode(good)[1]
    root = session.server._tally.roster.root

    def signed(message):
        signature = session.identities[book.client].sign(message.signed(session.session, root))
        return encode(replace(message, signature=signature), session.session)

    envelopes = list(own.envelopes)
    book.server(phase, "an envelope too few", signed(replace(own, envelopes=envelopes[:-1])))
    book.server(
        phase, "an envelope too many", signed(replace(own, envelopes=envelopes + envelopes[:1]))
    )
    book.server(phase, "no envelopes", signed(replace(own, envelopes=[])))
    book.server(
        phase,
        "envelopes out of order",
        encode(replace(own, envelopes=envelopes[::-1]), session.session),
    )
    book.server(
        phase, "a share's commitment altered", good[:150] + bytes([good[150] ^ 1]) + good[151:]
    )
    book.server(
        phase, "the seed's commitment altered", good[:44] + bytes([good[44] ^ 1]) + good[45:]
    )
    book.server(
        phase, "a dealer's signature altered", good[:76] + bytes([good[76] ^ 1]) + good[77:]
    )
    book.server(phase, "2^32 − 1 envelopes", good[:140] + BOMB + good[144:], alone=WIRE)
    _chunks(book, phase, good)


def _chunks(book, phase, good):
    name = book.session.session
    a, b = good[:300], good[300:]
    chunk = encode_chunk
    book.chunks(phase, "the second chunk first", chunk(name, 1, 2, b))
    book.chunks(phase, "a chunk twice", chunk(name, 0, 2, a), chunk(name, 0, 2, a))
    book.chunks(phase, "a chunk left out", chunk(name, 0, 3, a), chunk(name, 2, 3, b))
    book.chunks(phase, "chunks that change their count", chunk(name, 0, 2, a), chunk(name, 1, 3, b))
    book.chunks(phase, "a chunk beyond its count", chunk(name, 2, 2, a), alone=WIRE)
    book.chunks(phase, "a chunk of none", chunk(name, 0, 0, a), alone=WIRE)
    book.chunks(phase, "an empty chunk", chunk(name, 0, 2, b""), alone=WIRE)
    book.chunks(phase, "half a chunk's header", chunk(name, 0, 2, b"")[:44], alone=WIRE)
    book.chunks(phase, "a chunk of another session", chunk(bytes(32), 0, 2, a))
    book.chunks(phase, "a message for a chunk", good, alone=WIRE)
    book.chunks(
        phase, "chunks beyond any message", chunk(name, 0, 2, good), chunk(name, 1, 2, good)
    )
    book.chunks(
        phase, "chunks of half a message", chunk(name, 0, 2, a[:150]), chunk(name, 1, 2, a[150:])
    )
    book.chunks(phase, "a chunk in a chunk", chunk(name, 0, 1, chunk(name, 0, 1, a)))


def _signer(book, good):
    """Encodes an altered answer with a signature that holds."""
    session, own = book.session, decode(good)[1]
    identity = session.identities[book.client]

    def signed(**changes):
        message = signing.signed(replace(own, **changes), identity, session.server)
        return encode(message, session.session)

    return signed


def _opened(book, phase, good):
    own, flags = decode(good)[1], good[112:]
    signed = _signer(book, good)
    book.server(phase, "flags for another neighbourhood", signed(opened=own.opened[:3]))
    book.server(phase, "padding after the flags", good[:112] + bytes([flags[0] | 16]), alone=WIRE)
    book.server(
        phase, "10,001 flags", good[:108] + struct.pack("<I", 10_001) + b"\xff" * 1251, alone=WIRE
    )
    few = (True,) + (False,) * (len(own.opened) - 1)
    book.server(phase, "too few shares opened", signed(opened=few))
    fewer = encode(replace(own, opened=(False, *own.opened[1:])), book.session.session)
    book.server(phase, "a receipt altered after signing", fewer)
    book.server(phase, "a receipt's signature altered", _bit(good, 44))


def _bit(message, at):
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def _input(book, phase, good):
    own, session = decode(good)[1], book.session
    signed = _signer(book, good)

    def message(**changes):
        return encode(replace(own, **changes), session.session)

    book.server(phase, "a shorter vector", signed(length=4, packed=bytes(12)))
    book.server(phase, "another ring", signed(bits=16, packed=bytes(10)))
    book.server(phase, "a signature where none is", signed(partner_signature=bytes(64)))
    book.server(phase, "three signatures", good[:49] + b"\2" + bytes(128) + good[50:], alone=WIRE)
    book.server(phase, "half a signature", good[:80], alone=WIRE)
    book.server(phase, "no coordinates", message(length=0, packed=b""), alone=WIRE)
    book.server(phase, "2^28 + 1 coordinates", message(length=2**28 + 1), alone=WIRE)
    book.server(phase, "one bit a coordinate", message(bits=1, packed=b"\0"), alone=WIRE)
    book.server(phase, "63 bits a coordinate", message(bits=63, packed=bytes(40)), alone=WIRE)
    book.server(
        phase, "padding after the vector", message(bits=13, packed=bytes(8) + b"\2"), alone=WIRE
    )
    book.server(phase, "a vector altered after signing", _bit(good, 114))
    book.server(phase, "a vector's signature altered", _bit(good, 50))
    book.chunks(
        phase,
        "an input beyond its size, in chunks",
        *(encode_chunk(session.session, i, 9, bytes(99)) for i in range(4)),
    )


def _signature(book, phase, good):
    session = book.session
    roster, root = session.server._tally.roster, session.server._tally.partner_root
    others = Survivors(members_of(roster, range(len(roster.entries))))
    forged = session.identities[book.client].sign(others.signed(session.session, root))
    book.server(phase, "a signature on other survivors", good[:44] + forged)
    book.server(phase, "a consistency signature altered", good[:-1] + bytes([good[-1] ^ 1]))


def _shares(book, phase, good):
    session, shares = book.session, list(decode(good)[1].shares)
    signed = _signer(book, good)

    def message(*shares):
        return signed(shares=shares)

    both = session.client_shares(book.client)
    gone = next(place for place in both if place not in session.server._tally.alive)
    at = 1 + list(both).index(gone)
    book.server(
        phase,
        "b of a drop-out, for s",
        message(*shares[:at], both[gone][:SHARE_SIZE], *shares[at + 1 :]),
    )
    book.server(phase, "both shares of a drop-out", message(*shares, both[gone][:SHARE_SIZE]))
    alive = next(place for place in both if place in session.server._tally.alive)
    at = 1 + list(both).index(alive)
    book.server(
        phase,
        "s of a survivor, for b",
        message(*shares[:at], both[alive][SHARE_SIZE:], *shares[at + 1 :]),
    )
    book.server(phase, "a share too few", message(*shares[:-1]))
    book.server(phase, "no shares", message())
    book.server(phase, "shares in another order", message(shares[0], *shares[:0:-1]))
    bad = b"\1\0" + shares[0][2:32] + b"\1\0"
    book.server(phase, "an own share that is none", message(bad, *shares[1:]))
    book.server(phase, "a share that is none", message(shares[0], bad, *shares[2:]))
    book.server(phase, "a share off by one", message(shares[0], _next(shares[1]), *shares[2:]))
    book.server(phase, "2^32 − 1 shares", good[:108] + BOMB + good[112:], alone=WIRE)
    book.server(phase, "an own share altered after signing", _bit(good, 112))
    book.server(phase, "another's share altered after signing", _bit(good, 112 + SHARE_SIZE))
    book.server(phase, "the signature of an answer altered", _bit(good, 44))


def _next(share):
    return bytes([share[0] ^ 1]) + share[1:]


def lies_after_silence(book, phase, good):
    """A session in which one client dealt nothing, another never said what it opened."""
    session, gone = book.session, {i for ids in session_drops(book) for i in ids}
    if phase is Phase.CHECK_SHARES:
        everyone = (True,) * len(decode(good)[1].opened)
        every = _signer(book, good)(opened=everyone)
        book.server(phase, "shares opened of who dealt none", every)
    if phase is Phase.MASKED_INPUT:
        dropped = session.case["drop"]["check_shares"][0]
        book.server(phase, "a message of who left before", good, client=dropped, culprit=dropped)
    if phase is Phase.CONSISTENCY:
        stranger = max(set(range(99)) - gone)
        book.server(phase, "a message of a stranger", good, client=stranger, culprit=stranger)


def session_drops(book):
    return book.session.case["drop"].values()


def lies_of_local_clients(book, phase, good):
    """Inputs are signed where quorums are of neighbours."""
    if phase is not Phase.MASKED_INPUT:
        return
    session = book.session
    signed = _signer(book, good)

    def message(signature):
        return signed(partner_signature=signature)

    identity = session.identities[book.client]
    other = MaskedInput.partners_signed(session.session, bytes(32), book.client)
    book.server(phase, "partners that are not signed", message(b""))
    book.server(phase, "an input signed for other partners", message(identity.sign(other)))
    book.server(phase, "partners whose signature is noise", message(bytes(range(64))))
