"""What a client must refuse of the server, beyond bad frames."""

from __future__ import annotations

import struct
from dataclasses import replace

from secagg import Phase
from secagg.wire.codec import decode, encode
from secagg.wire.messages import Advertisements, ForwardedShares, Partners, Signatures, Survivors
from tests.secagg.support.lies_of_clients import BAD_KEYS, BOMB

WIRE = "WireFormatError"
UNSAFE = "UnsafeParametersError"
CAPACITY = "CapacityError"
ABORTED = "Aborted"
_NAMES = (
    "n", "d", "b", "bounded", "max_abs", "threshold", "degree", "min_survivors", "delta", "gamma", "model",
)  # fmt: skip
_PARAMS = struct.Struct("<IIBBQIIIddB")


def lies_of_server(book, phase, good):
    """Lies in a session on the complete graph, where all dealt."""
    {
        Phase.ADVERTISE_KEYS: _offer,
        Phase.SHARE_KEYS: _roster,
        Phase.CHECK_SHARES: _forwarded,
        Phase.MASKED_INPUT: _partners,
        Phase.CONSISTENCY: _survivors,
        Phase.UNMASK: _signatures,
    }[phase](book, phase, good)


def _offer(book, phase, good):
    fields = list(_PARAMS.unpack(good[40:87]))

    def offer(name, alone, **changes):
        values = [changes.get(key, value) for key, value in zip(_NAMES, fields, strict=True)]
        bad = good[:40] + _PARAMS.pack(*values) + good[87:]
        error = "RemoteProtocolError" if alone == WIRE else alone
        culprit = "server" if alone == WIRE else None
        book.add("offer", phase, f"offer: {name}", bad, alone=alone, error=error, culprit=culprit)

    nan, infinity = float("nan"), float("inf")
    offer("a threshold too low", UNSAFE, threshold=2)
    offer("a threshold too high", UNSAFE, threshold=5)
    offer("a lower degree", UNSAFE, degree=2)
    offer("a higher degree", UNSAFE, degree=5)
    offer("sums of two", UNSAFE, min_survivors=2)
    offer("no smallest sum", UNSAFE, min_survivors=0)
    offer("two clients", UNSAFE, n=2)
    offer("10,001 clients", UNSAFE, n=10_001)
    offer("2^32 − 1 clients", UNSAFE, n=2**32 - 1)
    offer("rates that leave no majority", UNSAFE, delta=0.6)
    offer("a rate that is no number", UNSAFE, delta=nan)
    offer("an infinite rate", UNSAFE, gamma=infinity)
    offer("a negative rate", UNSAFE, gamma=-0.1)
    offer("a rate of one", UNSAFE, gamma=1.0)
    offer("a rate of minus zero", WIRE, gamma=-0.0)
    offer("the local model for five", UNSAFE, model=2)
    offer("an unknown model", WIRE, model=3)
    offer("a ring too small", UNSAFE, b=23)
    offer("a ring too large", UNSAFE, b=25)
    offer("a ring of one bit", CAPACITY, b=1, bounded=0, max_abs=0)
    offer("a ring of 63 bits", CAPACITY, b=63, bounded=0, max_abs=0)
    offer("a bound that needs 67 bits", UNSAFE, b=62, max_abs=2**64 - 1)
    offer("a bound without its flag", WIRE, bounded=0)
    offer("a flag of two", WIRE, bounded=2)
    offer("no coordinates", CAPACITY, d=0)
    offer("2^28 + 1 coordinates", CAPACITY, d=2**28 + 1)
    book.frames(
        lambda phase, name, bad, **more: book.add(
            "offer", phase, name, bad, culprit="server", **more
        ),
        phase,
        good,
    )
    book.add(
        "offer",
        phase,
        "an offer of another nonce",
        good[:-1] + bytes([good[-1] ^ 1]),
        culprit="server",
    )
    other = good[:40] + good[40:44] + struct.pack("<I", 6) + good[48:]
    book.add("offer", phase, "an offer of another length", other, culprit="server")


def _roster(book, phase, good):
    session = book.session
    entries = list(decode(good)[1].entries)
    place = next(at for at, entry in enumerate(entries) if entry.client_id == book.client)

    def roster(*entries):
        return encode(Advertisements(entries), session.session)

    def signed(entry, **changes):
        entry = replace(entry, **changes)
        signature = session.identities[entry.client_id].sign(entry.signed(session.session))
        return replace(entry, signature=signature)

    own, last = entries[place], entries[-1]
    book.hears(
        phase, "a roster without this client", roster(*entries[:place], *entries[place + 1 :])
    )
    altered = signed(own, channel_key=own.mask_key, mask_key=own.channel_key)
    book.hears(
        phase,
        "a roster that alters this client's keys",
        roster(*entries[:place], altered, *entries[place + 1 :]),
    )
    book.hears(phase, "a roster of two", roster(entries[place], last))
    book.hears(phase, "a roster of none", roster())
    extra = replace(entries[0], client_id=3, channel_key=b"\1" * 32, mask_key=b"\2" * 32)
    more = roster(entries[0], extra, *entries[1:])
    book.hears(phase, "a roster of more than the offer", more)
    book.hears(phase, "a roster in descending order", roster(*entries[::-1]), alone=WIRE)
    book.hears(
        phase,
        "a roster with one id twice",
        roster(*entries[:-1], replace(last, client_id=entries[-2].client_id)),
        alone=WIRE,
    )
    book.hears(phase, "2^32 − 1 entries", good[:40] + BOMB + good[44:], alone=WIRE)
    book.hears(
        phase,
        "a key twice on a roster",
        roster(*entries[:-1], signed(last, mask_key=entries[0].mask_key)),
    )
    book.hears(
        phase,
        "one key for both purposes",
        roster(*entries[:-1], signed(last, mask_key=last.channel_key)),
    )
    unknown = replace(last, client_id=last.client_id - 1)
    book.hears(phase, "a client that nobody knows", roster(*entries[:-1], unknown))
    book.hears(
        phase, "an identity exchanged", roster(*entries[:-1], replace(last, identity=bytes(32)))
    )
    book.hears(
        phase,
        "a mask key that its client did not sign",
        roster(*entries[:-1], replace(last, mask_key=bytes([9]) + bytes(31))),
    )
    for name in (
        "zero",
        "of order 1",
        "of order 2",
        "of order 8",
        "p itself",
        "p + 9, not canonical",
    ):
        bad = roster(*entries[:-1], signed(last, channel_key=BAD_KEYS[name]))
        book.hears(phase, f"a peer's channel key {name}", bad, culprit=last.client_id)


def _forwarded(book, phase, good):
    session, own = book.session, decode(good)[1]
    envelopes = list(own.envelopes)

    def forwarded(*envelopes):
        return encode(ForwardedShares(envelopes), session.session)

    def damaged(envelope):
        return envelope[:-1] + bytes([envelope[-1] ^ 1])

    book.hears(phase, "shares for a smaller neighbourhood", forwarded(*envelopes[:-1]))
    book.hears(phase, "shares for a larger neighbourhood", forwarded(*envelopes, None))
    book.hears(
        phase,
        "padding after the flags of shares",
        good[:44] + bytes([good[44] | 128]) + good[45:],
        alone=WIRE,
    )
    book.hears(phase, "an envelope that no flag counts", good[:44] + b"\7" + good[45:], alone=WIRE)
    for name, bad in {
        "no shares": [None] * 4,
        "shares too few": [*envelopes[:1], None, None, None],
        "shares whose tags do not hold": [*envelopes[:1], *map(damaged, envelopes[1:])],
        "shares with their commitments altered": [
            *envelopes[:1],
            *(bytes([e[0] ^ 1]) + e[1:] for e in envelopes[1:]),
        ],
        "shares exchanged among their dealers": envelopes[::-1],
    }.items():
        book.hears(phase, name, forwarded(*bad), error=ABORTED, culprit=None)


def _partners(book, phase, good):
    _members(book, phase, Partners, "partners")
    flags = good[44]
    book.hears(phase, "padding after the partners", good[:44] + bytes([flags | 128]), alone=WIRE)
    book.hears(
        phase, "10,001 partners", good[:40] + struct.pack("<I", 10_001) + b"\xff" * 1251, alone=WIRE
    )


def _members(book, phase, kind, name):
    session = book.session
    ids = [entry.client_id for entry in session.server._tally.roster.entries]
    place = ids.index(book.client)

    def members(*flags):
        return encode(kind(bytes(flags)), session.session)

    others = [int(at != place) for at in range(len(ids))]
    few = [int(at in (place, len(ids) - 1)) for at in range(len(ids))]
    book.hears(phase, f"{name} of a shorter roster", members(1, 1, 1, 1))
    book.hears(phase, f"{name} of a longer roster", members(1, 1, 1, 1, 1, 0))
    book.hears(phase, f"two {name}", members(*few))
    book.hears(phase, f"no {name}", members(0, 0, 0, 0, 0))
    book.hears(phase, f"{name} without this client", members(*others))


def _survivors(book, phase, good):
    session = book.session
    _members(book, phase, Survivors, "survivors")
    survivors = decode(good)[1]
    book.hears(
        phase,
        "padding after the survivors",
        good[:44] + bytes([good[44] | 32]) + good[45:],
        alone=WIRE,
    )
    book.hears(
        phase,
        "inputs' signatures where none are",
        encode(replace(survivors, signatures=[bytes(64)]), session.session),
    )
    book.hears(phase, "2^32 − 1 signatures of inputs", good[:45] + BOMB, alone=WIRE)


def _signatures(book, phase, good):
    session = book.session
    pairs = list(decode(good)[1].signatures)
    roster, root = session.server._tally.roster, session.server._tally.partner_root
    gone = next(at for at in range(len(roster.entries)) if at not in session.server._tally.alive)

    def request(*pairs):
        return encode(Signatures(pairs), session.session)

    def sign(place, what):
        identity = session.identities[roster.client_id(place)]
        return place, identity.sign(what.signed(session.session, root))

    def placed(*pairs):
        return request(*sorted(pairs))

    told = session.server._tally.survivors
    everyone = Survivors(bytes([1] * len(roster.entries)))
    own = roster.positions[book.client]
    others = [pair for pair in pairs if pair[0] != own]
    book.hears(phase, "a signature too few", request(*pairs[:-1]))
    book.hears(phase, "no signatures", request())
    book.hears(phase, "a signature twice", request(pairs[0], pairs[0], *pairs[1:]), alone=WIRE)
    book.hears(phase, "signatures in descending order", request(*pairs[::-1]), alone=WIRE)
    book.hears(phase, "a signature of who is no survivor", placed(*pairs[1:], sign(gone, told)))
    book.hears(
        phase,
        "a signature beyond the roster",
        request(*pairs[1:], (len(roster.entries), bytes(64))),
    )
    book.hears(
        phase,
        "a signature on other survivors",
        placed(*[p for p in pairs if p != others[0]], sign(others[0][0], everyone)),
    )
    book.hears(
        phase,
        "a signature under another's position",
        request((pairs[0][0], pairs[1][1]), *pairs[1:]),
    )
    book.hears(phase, "this client's signature altered", placed(*others, (own, bytes(64))))
    book.hears(
        phase,
        "a signature altered",
        placed(*[p for p in pairs if p != others[0]], (others[0][0], others[0][1][:-1] + b"\x7f")),
    )
    book.hears(phase, "2^32 − 1 signatures", good[:40] + BOMB + good[44:], alone=WIRE)


def lies_about_silence(book, phase, good):
    """A session in which one client dealt nothing, another never said what it opened."""
    session = book.session
    if phase not in (Phase.MASKED_INPUT, Phase.CONSISTENCY):
        return
    members = bytearray(decode(good)[1].members)
    left = "share_keys" if phase is Phase.MASKED_INPUT else "check_shares"
    silent = session.case["drop"][left][0]
    members[session.server._tally.roster.positions[silent]] = 1
    kind = Partners if phase is Phase.MASKED_INPUT else Survivors
    name = (
        "a partner whose shares never came"
        if kind is Partners
        else "a survivor that was no partner"
    )
    book.hears(phase, name, encode(kind(bytes(members)), session.session))


def lies_of_local_server(book, phase, good):
    """Quorums of neighbours: their inputs are shown, and only their signatures count."""
    session = book.session
    if phase is Phase.SHARE_KEYS:
        _local_roster(book, phase, good)
    if phase is Phase.MASKED_INPUT:
        _local_partners(book, phase)
    if phase is Phase.CONSISTENCY:
        survivors = decode(good)[1]
        signatures = list(survivors.signatures)
        for name, bad in {
            "an input's signature left out": signatures[:-1],
            "an input's signature too many": [*signatures, signatures[0]],
            "no inputs' signatures": [],
            "inputs' signatures in another order": signatures[::-1],
            "an input's signature altered": [bytes(64), *signatures[1:]],
        }.items():
            book.hears(phase, name, encode(replace(survivors, signatures=bad), session.session))
        _local_survivors(book, phase)
    if phase is Phase.UNMASK:
        _local_quorum(book, phase, good)


def _local_roster(book, phase, good):
    session = book.session
    entries = list(decode(good)[1].entries)
    bad = [replace(e, signature=bytes(64)) if e.client_id != book.client else e for e in entries]
    book.hears(phase, "a roster of forgeries", encode(Advertisements(bad), session.session))
    few = [e for e in entries if e.client_id == book.client or e.client_id > entries[3].client_id]
    book.hears(
        phase, "a roster too small for its quorums", encode(Advertisements(few), session.session)
    )


def _around(book):
    roster = book.session.server._tally.roster
    own = roster.positions[book.client]
    return roster, own, list(roster.neighbours(own))


def _local_partners(book, phase):
    roster, _, around = _around(book)
    members = bytes(int(at not in around[:4]) for at in range(len(roster.entries)))
    book.hears(
        phase,
        "too few neighbours among the partners",
        encode(Partners(members), book.session.session),
        error=ABORTED,
        culprit=None,
    )


def _local_survivors(book, phase):
    session = book.session
    roster, _, around = _around(book)
    gone = [at for at in around if at in session.server._tally.inputs][:4]
    alive = set(session.server._tally.inputs) - set(gone)
    members = bytes(int(at in alive) for at in range(len(roster.entries)))
    shown = [session.server._tally.inputs[at] for at in around if at in alive]
    message = encode(Survivors(members, shown), session.session)
    book.hears(
        phase, "too few neighbours among the survivors", message, error=ABORTED, culprit=None
    )


def _local_quorum(book, phase, good):
    session = book.session
    roster, own, around = _around(book)
    pairs = list(decode(good)[1].signatures)
    told, root = session.server._tally.survivors, session.server._tally.partner_root
    far = next(at for at in session.server._tally.alive if at not in around and at != own)
    signature = session.identities[roster.client_id(far)].sign(told.signed(session.session, root))

    def request(*pairs):
        return encode(Signatures(tuple(sorted(pairs))), session.session)

    mine = (own, session.identities[book.client].sign(told.signed(session.session, root)))
    book.hears(phase, "a signature of who is no neighbour", request(*pairs[1:], (far, signature)))
    book.hears(phase, "a client's own signature among its neighbours'", request(*pairs[1:], mine))
    book.hears(phase, "a neighbour's signature too few", request(*pairs[:-1]))
    book.hears(
        phase, "a neighbour's signature altered", request((pairs[0][0], bytes(64)), *pairs[1:])
    )
