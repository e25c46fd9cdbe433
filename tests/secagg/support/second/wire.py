"""The wire format of docs/protocol.md, read a second time; shares no code with the package.

`read` gives (session, kind, fields) of any message, or raises `Refused`; `write` is its inverse.
"""

from __future__ import annotations

import struct

HEADER = b"SAGG\2\1"
MOST_CLIENTS = 10_000
MOST_COORDINATES = 2**28
PARAMS = struct.Struct("<IIBBQIIIddB")
PARAM_NAMES = (
    "n", "d", "b", "bounded", "max_abs", "threshold", "degree", "min_survivors", "delta", "gamma", "model",
)  # fmt: skip


class Refused(ValueError):  # noqa: N818 - what a reader does with such bytes
    """No message of this protocol in its one canonical form."""


def require(holds, what):
    if not holds:
        raise Refused(what)


class Cursor:
    """Bytes that are taken from the front."""

    def __init__(self, data):
        self.data = data

    def take(self, size):
        require(len(self.data) >= size, "ends early")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def count(self):
        """How long a list is: no session has more clients."""
        count = self.u32()
        require(count <= MOST_CLIENTS, "a list longer than any session's")
        return count

    def flags(self, count):
        packed = int.from_bytes(self.take((count + 7) // 8), "little")
        require(packed >> count == 0, "padding bits")
        return [packed >> i & 1 for i in range(count)]

    def end(self):
        require(not self.data, "goes on")


def _offer(c):
    params = dict(zip(PARAM_NAMES, PARAMS.unpack(c.take(PARAMS.size)), strict=True))
    require(params["bounded"] <= 1 and params["model"] <= 2, "flag or model")
    require(params["bounded"] or not params["max_abs"], "a bound without its flag")
    rates = (struct.pack("<d", params[name]) for name in ("delta", "gamma"))
    require(struct.pack("<d", -0.0) not in rates, "a rate of minus zero")
    return {"params": params, "nonce": c.take(32)}


def _advertise_keys(c):
    sizes = {"identity": 32, "channel": 32, "mask": 32, "signature": 64}
    return {"id": c.u32()} | {name: c.take(size) for name, size in sizes.items()}


def _roster(c):
    entries = [_advertise_keys(c) for _ in range(c.count())]
    ids = [entry["id"] for entry in entries]
    require(ids == sorted(set(ids)), "ids ascend")
    return {"entries": entries}


def _share_keys(c):
    head = {"id": c.u32(), "seed_commitment": c.take(32), "signature": c.take(64)}
    return head | {"envelopes": [c.take(116) for _ in range(c.count())]}


def _forwarded_shares(c):
    flags = c.flags(c.count())
    return {"envelopes": [c.take(116) if flag else None for flag in flags]}


def _shares_opened(c):
    return {"id": c.u32(), "signature": c.take(64), "opened": c.flags(c.count())}


def _partners(c):
    return {"members": c.flags(c.count())}


def _masked_input(c):
    out = {"id": c.u32()}
    d, b, s = c.u32(), c.u8(), c.u8()
    require(1 <= d <= MOST_COORDINATES and 2 <= b <= 62 and s <= 1, "shape of a vector")
    out |= {"partner_signature": c.take(64 * s), "signature": c.take(64)}
    string = int.from_bytes(c.take((d * b + 7) // 8), "little")
    require(string >> (d * b) == 0, "padding bits")
    out["vector"] = [string >> (b * i) & (2**b - 1) for i in range(d)]
    return out | {"bits": b}


def _survivors(c):
    members = c.flags(c.count())
    return {"members": members, "signatures": [c.take(64) for _ in range(c.count())]}


def _signature(c):
    return {"id": c.u32(), "signature": c.take(64)}


def _signatures(c):
    pairs = [(c.u32(), c.take(64)) for _ in range(c.count())]
    places = [place for place, _ in pairs]
    require(places == sorted(set(places)), "positions ascend")
    return {"pairs": pairs}


def _unmask_shares(c):
    return {
        "id": c.u32(),
        "signature": c.take(64),
        "shares": [c.take(34) for _ in range(c.count())],
    }


def _chunk(c):
    index, count = c.u32(), c.u32()
    require(index < count and c.data, "a chunk of its count, not empty")
    return {"index": index, "count": count, "part": c.take(len(c.data))}


READERS = (
    _offer, _advertise_keys, _roster, _share_keys, _forwarded_shares, _shares_opened, _partners,
    _masked_input, _survivors, _signature, _signatures, _unmask_shares, _chunk,
)  # fmt: skip
KINDS = {reader.__name__[1:]: kind for kind, reader in enumerate(READERS)}


def read(data):
    """(session, name of the kind, fields) of a message."""
    c = Cursor(data)
    require(c.take(6) == HEADER, "magic, version or suite")
    kind, reserved, session = c.u8(), c.u8(), c.take(32)
    require(reserved == 0 and kind < len(READERS), "kind")
    fields = READERS[kind](c)
    c.end()
    return session, READERS[kind].__name__[1:], fields


# The other way -------------------------------------------------------------------------------------------


def u32(value):
    return struct.pack("<I", value)


def flags(values):
    string = sum(value << i for i, value in enumerate(values))
    return u32(len(values)) + string.to_bytes((len(values) + 7) // 8, "little")


def entry(fields):
    return u32(fields["id"]) + b"".join(
        fields[x] for x in ("identity", "channel", "mask", "signature")
    )


def counted(items):
    return u32(len(items)) + b"".join(items)


def vector(fields):
    d, b = len(fields["vector"]), fields["bits"]
    head = u32(fields["id"]) + u32(d) + bytes([b, len(fields["partner_signature"]) // 64])
    return head + fields["partner_signature"] + fields["signature"] + words(fields)


def words(fields):
    """The vector as one bit string."""
    d, b = len(fields["vector"]), fields["bits"]
    string = sum(value << (b * i) for i, value in enumerate(fields["vector"]))
    return string.to_bytes((d * b + 7) // 8, "little")


WRITERS = {
    "offer": lambda f: PARAMS.pack(*(f["params"][x] for x in PARAM_NAMES)) + f["nonce"],
    "advertise_keys": entry,
    "roster": lambda f: counted([entry(e) for e in f["entries"]]),
    "share_keys": lambda f: (
        u32(f["id"]) + f["seed_commitment"] + f["signature"] + counted(f["envelopes"])
    ),
    "forwarded_shares": lambda f: (
        flags([int(e is not None) for e in f["envelopes"]])
        + b"".join(e for e in f["envelopes"] if e)
    ),
    "shares_opened": lambda f: u32(f["id"]) + f["signature"] + flags(f["opened"]),
    "partners": lambda f: flags(f["members"]),
    "masked_input": vector,
    "survivors": lambda f: flags(f["members"]) + counted(f["signatures"]),
    "signature": lambda f: u32(f["id"]) + f["signature"],
    "signatures": lambda f: counted([u32(place) + signature for place, signature in f["pairs"]]),
    "unmask_shares": lambda f: u32(f["id"]) + f["signature"] + counted(f["shares"]),
    "chunk": lambda f: u32(f["index"]) + u32(f["count"]) + f["part"],
}


def write(session, kind, fields):
    """The bytes of a message."""
    return HEADER + bytes([KINDS[kind], 0]) + session + WRITERS[kind](fields)
