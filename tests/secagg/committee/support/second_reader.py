"""The sum by a committee, computed a second time from docs/protocol.md; shares no code with the package.

Arithmetic is Python's own; keys and hashes are those of `cryptography` and `hashlib`.  `Reader` reads the
parameters and knows every layout; `replay` computes each message of a recorded session again.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import itertools
import struct
from math import comb

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAMES = (
    "m", "c", "absent", "corrected", "t", "d", "most", "max_abs", "floor", "liars",
)  # fmt: skip


class Refused(ValueError):  # noqa: N818 - what a reader does with such bytes
    """No message of this protocol in its one canonical form."""


def require(holds, what):
    if not holds:
        raise Refused(what)


def u32(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def tagged(label, *parts):
    """D of the page."""
    joined = b"".join(struct.pack("<Q", len(part)) + part for part in parts)
    return hashlib.sha256(b"secagg v2 " + label + b"\0" + joined).digest()


def key_of(secret, label, session, info):
    """K of the page, 16 bytes: one block of HKDF."""
    first = hmac.digest(session, secret, "sha256")
    return hmac.digest(first, b"secagg v2 " + label + b"\0" + info + b"\1", "sha256")[:16]


def is_prime(n):
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))


def primes_below(bits, count):
    found, n = [], 2**bits
    while len(found) < count:
        n -= 1
        if is_prime(n):
            found.append(n)
    return found


@functools.cache
def primes_for(span):
    for count in range(1, 5):
        for bits in range(12, 22):
            primes, product = primes_below(bits, count), 1
            for p in primes:
                product *= p
            if product > span:
                return primes, bits
    raise Refused("no primes")


def interpolate(values, x, p):
    """The value at x of the polynomial of lowest degree through {point: value}."""
    total = 0
    for a, value in values.items():
        top = bottom = 1
        for b in values:
            if a != b:
                top, bottom = top * (x - b) % p, bottom * (a - b) % p
        total += value * top * pow(bottom, -1, p)
    return total % p


class Reader:
    """Parameters, and the layout of every message under them."""

    def __init__(self, data):
        self.data = data
        self.__dict__.update(zip(NAMES, struct.unpack("<IIIIIIIQII", data), strict=True))
        room = self.m - self.absent - self.c - self.corrected - self.t
        self.k = min(room, self.d)
        self.rebuild = self.t + self.k
        self.quorum = (self.m + self.c) // 2 + 1
        self.primes, self.bits = primes_for(2 * self.most * self.max_abs)
        self.blocks = -(-self.d // self.k)
        sets = sum(comb(self.m, i) for i in range(self.c + 1))
        self.checks = -(-(104 + sets.bit_length()) // (self.bits - 1))
        self.width = self.blocks + self.checks
        self.residues = -(-len(self.primes) * self.width // 8) * 8
        self.envelope = self.residues * self.bits // 8 + 16

    # Bytes ----------------------------------------------------------------------------------------------

    def pack(self, numbers):
        joined = sum(n << i * self.bits for i, n in enumerate(numbers))
        return joined.to_bytes((len(numbers) * self.bits + 7) // 8, "little")

    def unpack(self, data, count):
        require(len(data) == (count * self.bits + 7) // 8, "size")
        joined = int.from_bytes(data, "little")
        require(joined >> count * self.bits == 0, "padding bits")
        return [joined >> i * self.bits & (1 << self.bits) - 1 for i in range(count)]

    def rows(self, numbers, width):
        """Numbers by prime; each must be a residue."""
        out = [numbers[i * width : (i + 1) * width] for i in range(len(self.primes))]
        require(all(n < p for row, p in zip(out, self.primes, strict=True) for n in row), "residue")
        return out

    def share(self, data):
        """One member's share, by prime; None if it is not canonical."""
        numbers = self.unpack(data, self.residues)
        used = len(self.primes) * self.width
        try:
            require(not any(numbers[used:]), "padding residues")
            return self.rows(numbers[:used], self.width)
        except Refused:
            return None

    def read(self, data):
        """(session, kind, fields) of a message, or Refused."""
        require(data[:6] == b"SAGC\1\1" and len(data) >= 40 and data[7] == 0, "header")
        kind, session, body = data[6], data[8:40], Cursor(data[40:])
        require(kind in LAYOUTS, "kind")
        fields = LAYOUTS[kind](self, body)
        require(not body.data, "goes on")
        return session, kind, fields

    def write(self, session, kind, fields):
        head = b"SAGC\1\1" + bytes([kind, 0]) + session
        return head + b"".join(fields)


class Cursor:
    def __init__(self, data):
        self.data = data

    def take(self, size):
        require(len(self.data) >= size, "ends early")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def count(self, most):
        count = self.u32()
        require(count <= most, "a longer list than there can be")
        return count

    def flags(self, count):
        packed = int.from_bytes(self.take((count + 7) // 8), "little")
        require(packed >> count == 0, "padding bits")
        return [packed >> i & 1 for i in range(count)]


def ascending(ids):
    require(all(a < b for a, b in itertools.pairwise(ids)), "ascending")


def _contribution(reader, c):
    head = {"id": c.u32(), "digest": c.take(32), "public": c.take(32), "signature": c.take(64)}
    return head | {"envelopes": [c.take(reader.envelope) for _ in range(reader.m)]}


def _head(c):
    return {"id": c.u32(), "digest": c.take(32), "public": c.take(32), "root": c.take(32)}


def _delivery(reader, c):
    out = [
        _head(c) | {"signature": c.take(64), "envelope": c.take(reader.envelope)}
        for _ in range(c.count(reader.most))
    ]
    ascending([one["id"] for one in out])
    return out


def _report(reader, c):
    out = {"member": c.u32(), "signature": c.take(64)}
    out["opened"] = c.flags(c.count(reader.most))
    out["values"], c.data = c.data, b""
    count, size = sum(out["opened"]), len(reader.primes) * reader.checks
    numbers = reader.unpack(out["values"], count * size)
    for i in range(count):
        reader.rows(numbers[i * size : (i + 1) * size], reader.checks)
    return out


def _proposal(reader, c):
    count = c.count(reader.most)
    names = [(c.u32(), c.take(32)) for _ in range(count)]
    ascending([client for client, _ in names])
    flags = {"included": c.flags(count), "opened": c.flags(count)}
    return {"names": names} | flags | {"values": c.take(32), "signature": c.take(64)}


def _endorsement(reader, c):
    out = {"member": c.u32(), "needs": c.take(1)[0], "signature": c.take(64)}
    require(out["needs"] <= 1, "flag")
    return out


def _request(reader, c):
    signatures = [(c.u32(), c.take(64)) for _ in range(c.count(reader.m))]
    ascending([place for place, _ in signatures])
    entries = [
        _head(c) | {"envelope": c.take(reader.envelope)} for _ in range(c.count(reader.most))
    ]
    ascending([one["id"] for one in entries])
    return {"signatures": signatures, "entries": entries}


def _answer(reader, c):
    out = {"member": c.u32(), "signature": c.take(64), "sums": c.data}
    c.data = b""
    numbers = reader.unpack(out["sums"], len(reader.primes) * reader.blocks)
    reader.rows(numbers, reader.blocks)
    return out


LAYOUTS = {
    1: _contribution, 2: _delivery, 3: _report, 4: _proposal, 5: _endorsement, 6: _request, 7: _answer,
}  # fmt: skip


# A session computed again -------------------------------------------------------------------------------


def packed_flags(flags):
    number = sum(flag << i for i, flag in enumerate(flags))
    return number.to_bytes((len(flags) + 7) // 8, "little")


def public_of(private):
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sign(private, message):
    return Ed25519PrivateKey.from_private_bytes(private).sign(message)


def verify(public, signature, message):
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def committee_of(case):
    """The committee's hash from its cards, each of which is checked."""
    entries = b""
    for member in sorted(case["members"], key=lambda one: one["id"]):
        card, number = member["card"], member["id"]
        assert card[:8] == b"SAGC\1\1\0\0"
        assert card[8:16] == u32(number, case["epoch"])
        sealing = X25519PrivateKey.from_private_bytes(member["sealing"]).public_key()
        assert card[16:48] == sealing.public_bytes_raw()
        identity = public_of(member["identity"])
        verify(identity, card[48:], tagged(b"sealing key", card[8:16], card[16:48]))
        entries += u32(number) + identity + card[16:48]
    return tagged(b"committee", u32(case["epoch"]), entries)


def open_envelope(reader, case, session, member, place, head, envelope):
    key = X25519PrivateKey.from_private_bytes(member["sealing"])
    agreed = key.exchange(X25519PublicKey.from_public_bytes(head["public"]))
    info = head["public"] + u32(head["id"], place)
    key = key_of(agreed, b"committee share", session, info)
    about = session + u32(head["id"], place) + head["digest"]
    try:
        return reader.share(AESGCM(key).decrypt(bytes(12), envelope, about))
    except InvalidTag:
        return None


def name_of(session, head):
    parts = (u32(head["id"]), head["digest"], head["public"], head["root"])
    return tagged(b"committee contribution", session, *parts)


def check_values(reader, name, share):
    size = len(reader.primes) * reader.checks * reader.blocks
    stream = hashlib.shake_128(b"secagg v2 committee challenge\0" + name).digest(4 * size)
    words, out = struct.unpack(f"<{size}I", stream), []
    for index, (p, row) in enumerate(zip(reader.primes, share, strict=True)):
        for check in range(reader.checks):
            first = (index * reader.checks + check) * reader.blocks
            weights = words[first : first + reader.blocks]
            value = sum(w * x for w, x in zip(weights, row, strict=False))
            out.append((value + row[reader.blocks + check]) % p)
    return out


def replay(case):
    """Compute every message of a session again, from the private keys and the clients' messages.

    Args:
        case: the recorded session; bytes are bytes.

    Returns:
        (sender or receiver, kind) → bytes for all messages but the clients', and the total.
    """
    reader, out = Reader(case["params"]), {}
    session = tagged(b"committee session", case["params"], committee_of(case), case["context"])
    heads, envelopes, signatures = contributions(reader, case, session)
    names = [(head["id"], name_of(session, head)) for head in heads]
    listed = b"".join(u32(client) + name for client, name in names)
    shares = opened_by(reader, case, session, heads, envelopes)
    for place, member in enumerate(case["members"]):
        delivery = [u32(len(heads))]
        for i, head in enumerate(heads):
            fields = u32(head["id"]) + head["digest"] + head["public"] + head["root"]
            delivery.append(fields + signatures[i] + envelopes[i][place])
        out[member["id"], 2] = reader.write(session, 2, delivery)
    reports = {
        place: report_of(reader, case["members"][place], session, names, listed, mine)
        for place, mine in enumerate(shares)
    }
    chosen = [pair for pair in names if pair[0] in case["set"]]
    statement = tagged(b"committee set", session, b"".join(u32(i) + name for i, name in chosen))
    signed = {}
    for place, member in enumerate(case["members"]):
        out[member["id"], 3], flags, hashed, signature = reports[place]
        if place not in case["asked"]["sign"]:
            continue
        included = packed_flags([int(client in case["set"]) for client, _ in names])
        body = [u32(len(names)), listed, included, packed_flags(flags), hashed, signature]
        out[member["id"], 4] = reader.write(session, 4, body)
        if place in case["spoke"]["sign"]:
            signed[place] = sign(member["identity"], statement)
            needs = bytes([int(place in case["renewed"])])
            out[member["id"], 5] = reader.write(
                session, 5, [u32(member["id"]), needs, signed[place]]
            )
    sums = answers(reader, case, session, (heads, envelopes, shares), signed, statement, out)
    return reader, out, total(reader, case, sums)


def contributions(reader, case, session):
    heads, envelopes, signatures = [], [], []
    for client in sorted(case["clients"], key=lambda one: one["id"]):
        named, kind, fields = reader.read(client["message"])
        assert (named, kind, fields["id"]) == (session, 1, client["id"])
        root = hashlib.sha256(b"".join(fields["envelopes"])).digest()
        heads.append({k: fields[k] for k in ("id", "digest", "public")} | {"root": root})
        verify(public_of(client["identity"]), fields["signature"], name_of(session, heads[-1]))
        envelopes.append(fields["envelopes"])
        signatures.append(fields["signature"])
    return heads, envelopes, signatures


def opened_by(reader, case, session, heads, envelopes):
    """By place of a member: its share of each contribution, None where it does not open."""
    return [
        [
            open_envelope(reader, case, session, member, place, head, envelopes[i][place])
            for i, head in enumerate(heads)
        ]
        for place, member in enumerate(case["members"])
    ]


def report_of(reader, member, session, names, listed, shares):
    flags = [int(share is not None) for share in shares]
    numbers = []
    for (_, name), share in zip(names, shares, strict=True):
        if share is not None:
            numbers += check_values(reader, name, share)
    packed = reader.pack(numbers)
    hashed = hashlib.sha256(packed).digest()
    statement = tagged(
        b"committee report", session, u32(member["id"]), listed, bytes(flags), hashed
    )
    signature = sign(member["identity"], statement)
    body = [u32(member["id"]), signature, u32(len(flags)), packed_flags(flags), packed]
    return reader.write(session, 3, body), flags, hashed, signature


def answers(reader, case, session, material, signed, statement, out):
    heads, envelopes, shares = material
    quorum = sorted(signed.items())[: reader.quorum]
    shown = u32(len(quorum)) + b"".join(u32(place) + signature for place, signature in quorum)
    inside = [i for i, head in enumerate(heads) if head["id"] in case["set"]]
    sums = {}
    for place in signed:
        member = case["members"][place]
        entries = [u32(0)]
        if place in case["renewed"]:
            entries = [u32(len(inside))]
            for i in inside:
                head = heads[i]
                fields = u32(head["id"]) + head["digest"] + head["public"] + head["root"]
                entries.append(fields + envelopes[i][place])
        out[member["id"], 6] = reader.write(session, 6, [shown, *entries])
        if place not in case["spoke"]["answer"]:
            continue
        sums[place] = [
            [sum(shares[place][i][prime][b] for i in inside) % p for b in range(reader.blocks)]
            for prime, p in enumerate(reader.primes)
        ]
        packed = reader.pack([number for row in sums[place] for number in row])
        about = tagged(b"committee answer", session, statement, u32(member["id"]), packed)
        body = [u32(member["id"]), sign(member["identity"], about), packed]
        out[member["id"], 7] = reader.write(session, 7, body)
    return sums


def total(reader, case, sums):
    """The sum, from all answers: they must lie on polynomials of degree below R."""
    places = sorted(sums)
    product = 1
    for p in reader.primes:
        product *= p
    out = [0] * (reader.blocks * reader.k)
    for prime, p in enumerate(reader.primes):
        unit = product // p * pow(product // p, -1, p)
        for block in range(reader.blocks):
            values = {place + 1: sums[place][prime][block] for place in places}
            known = dict(list(values.items())[: reader.rebuild])
            assert all(interpolate(known, x, p) == value for x, value in values.items())
            for slot in range(reader.k):
                out[block * reader.k + slot] += unit * interpolate(known, -1 - slot, p)
    residues = [x % product for x in out[: reader.d]]
    return [x - product if x > product // 2 else x for x in residues]
