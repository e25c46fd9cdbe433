"""A recorded session, read by a second implementation that shares no code with the package.

The reader follows docs/protocol.md with whole numbers and one coordinate at a time.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secagg import Params, Phase, simulate
from secagg.testing import deterministic_entropy

PATH = Path(__file__).parents[1] / "vectors" / "secagg-v1.json"
PHASES = (
    "advertise_keys",
    "share_keys",
    "check_shares",
    "masked_input",
    "consistency",
    "unmask",
)


def record(case):
    """Play a case of the vector file again, from its injected entropy."""
    inputs = {int(i): np.array(x, dtype=np.int64) for i, x in case["inputs"].items()}
    params = Params.for_cohort(len(inputs), case["length"], **case["parameters"])
    drop = {Phase(p): set(ids) for p, ids in case["drop"].items()}
    transcript = []
    with deterministic_entropy(case["entropy"].encode()):
        result = simulate(inputs, params, drop=drop, transcript=transcript)
    return result, transcript


def cases():
    return json.loads(PATH.read_text())["cases"]


@pytest.mark.parametrize("case", cases(), ids=lambda c: c["name"])
def test_the_package_reproduces_the_recorded_bytes(case):
    result, transcript = record(case)
    got = [[phase, client, message.hex()] for phase, client, message in transcript]
    assert got == case["received"]
    assert result.total.tolist() == case["total"]
    assert list(result.survivors) == case["survivors"]


# The second reader -----------------------------------------------------------------------------------


def d(label, *parts):
    data = b"secagg v1 " + label + b"\0"
    return hashlib.sha256(data + b"".join(struct.pack("<Q", len(p)) + p for p in parts)).digest()


def k(secret, label, session, info):
    info = b"secagg v1 " + label + b"\0" + info
    return HKDF(hashes.SHA256(), 16, session, info).derive(secret)


def u32(value):
    return struct.pack("<I", value)


def flags(data, count):
    return [data[i // 8] >> (i % 8) & 1 for i in range(count)]


def mask(seed, length, bits):
    word = 2 if bits <= 16 else 4 if bits <= 32 else 8
    stream = (
        Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(word * length))
    )
    return [int.from_bytes(stream[word * i : word * (i + 1)], "little") for i in range(length)]


def lagrange(points, share):
    """The 32 bytes at zero."""
    p, out = 65537, b""
    for limb in range(16):
        value = 0
        for x in points:
            top = share[x][32 + limb // 8] >> (limb % 8) & 1
            y = int.from_bytes(share[x][2 * limb : 2 * limb + 2], "little") + 65536 * top
            for z in points:
                if z != x:
                    y = y * z * pow(z - x, -1, p) % p
            value = (value + y) % p
        out += value.to_bytes(2, "little")
    return out


class Reader:
    """The server's view of a session on a complete or sparse graph."""

    def __init__(self, case):
        params = case["offered"]
        self.bits, self.length, self.degree = params["ring_bits"], case["length"], params["degree"]
        self.threshold = params["threshold"]
        self.by_phase = {p: {} for p in PHASES}
        for phase, client, message in case["received"]:
            self.by_phase[phase][client] = bytes.fromhex(message)
        adverts = self.by_phase["advertise_keys"]
        self.ids = sorted(adverts)
        self.session = adverts[self.ids[0]][8:40]
        header = b"SAGG" + bytes([1, 1, 2, 0]) + self.session
        bodies = [adverts[i][40:] for i in self.ids]
        self.root = d(b"roster", header + u32(len(bodies)) + b"".join(bodies))
        self.mask_key = {i: adverts[i][108:140] for i in self.ids}

    def neighbours(self, client):
        m = len(self.ids)
        order = sorted(
            self.ids, key=lambda i: hashlib.sha256(self.session + self.root + u32(i)).digest()
        )
        place, reach = order.index(client), self.degree // 2
        if self.degree >= m - 1:
            return [i for i in self.ids if i != client]
        steps = [s for s in range(-reach, reach + 1) if s]
        return sorted(order[(place + s) % m] for s in steps)

    def members(self, phase):
        """One byte, 0 or 1, for each place of the roster."""
        return bytes(int(i in self.by_phase[phase]) for i in self.ids)

    def partners(self, client):
        """The neighbours that a client masked with: those whose shares had been opened."""
        return [n for n in self.neighbours(client) if n in self.by_phase["check_shares"]]

    @property
    def partner_root(self):
        # no dispute in these sessions: whoever said which shares it opened is a partner
        return d(b"partners", self.session, self.root, self.members("check_shares"))

    def inputs(self):
        """client → (neighbours masked with, vector)."""
        out = {}
        for client, message in self.by_phase["masked_input"].items():
            body = message[40:]
            _, length, bits, signed = struct.unpack("<IIBB", body[:10])
            assert (length, bits, signed) == (self.length, self.bits, 0)
            whole = int.from_bytes(body[10:], "little")
            vector = [whole >> (bits * i) & (2**bits - 1) for i in range(length)]
            out[client] = (self.partners(client), vector)
        return out

    def shares(self):
        """dealer → point → share."""
        out = {i: {} for i in self.ids}
        for client, message in self.by_phase["unmask"].items():
            _, count = struct.unpack("<II", message[40:48])
            dealers = [client, *self.partners(client)]
            assert count == len(dealers)
            for at, dealer in enumerate(dealers):
                share = message[48 + 34 * at : 48 + 34 * (at + 1)]
                out[dealer][self.ids.index(client) + 1] = share
        return out

    def check_receipts(self):
        """Every envelope of a client that dealt was opened."""
        for client, message in self.by_phase["check_shares"].items():
            _, count = struct.unpack("<II", message[40:48])
            around = self.neighbours(client)
            assert flags(message[48:], count) == [
                int(n in self.by_phase["share_keys"]) for n in around
            ]

    def check_signatures(self):
        def verify(client, signature, signed):
            identity = self.by_phase["advertise_keys"][client][44:76]
            Ed25519PublicKey.from_public_bytes(identity).verify(signature, signed)

        signed = d(b"survivors", self.session, self.partner_root, self.members("masked_input"))
        for client, message in self.by_phase["consistency"].items():
            verify(client, message[44:108], signed)
        for client, message in self.by_phase["advertise_keys"].items():
            keys = (message[a : a + 32] for a in (44, 76, 108))
            signed = d(b"advertise", self.session, u32(client), *keys)
            verify(client, message[140:204], signed)
        for client, message in self.by_phase["share_keys"].items():
            heads = [message[a : a + 32] for a in range(144, len(message), 116)]
            parts = (self.root, u32(client), message[44:76], b"".join(heads))
            verify(client, message[76:140], d(b"dealt", self.session, *parts))

    def total(self):
        inputs, shares = self.inputs(), self.shares()
        total = [sum(column) for column in zip(*(v for _, v in inputs.values()), strict=True)]

        def rebuilt(dealer):
            points = sorted(shares[dealer])[: self.threshold]
            return lagrange(points, shares[dealer])

        def subtract(seed, sign):
            for i, word in enumerate(mask(seed, self.length, self.bits)):
                total[i] -= sign * word

        for client, (peers, _) in inputs.items():
            b = rebuilt(client)
            dealt = self.by_phase["share_keys"][client]
            assert d(b"self-mask seed", self.session, u32(client), b) == dealt[44:76]
            subtract(k(b, b"self mask", self.session, self.partner_root + u32(client)), 1)
            for other in peers:
                if other in inputs:
                    continue
                secret = X25519PrivateKey.from_private_bytes(rebuilt(other))
                assert secret.public_key().public_bytes_raw() == self.mask_key[other]
                agreed = secret.exchange(X25519PublicKey.from_public_bytes(self.mask_key[client]))
                pair = u32(min(client, other)) + u32(max(client, other))
                seed = k(agreed, b"pairwise mask", self.session, self.partner_root + pair)
                subtract(seed, 1 if client < other else -1)
        half = 2 ** (self.bits - 1)
        return [(x + half) % (2 * half) - half for x in total]


@pytest.mark.parametrize("case", cases(), ids=lambda c: c["name"])
def test_a_second_reader_finds_the_same_sum(case):
    reader = Reader(case)
    reader.check_signatures()
    reader.check_receipts()
    assert reader.total() == case["total"]


@pytest.mark.parametrize("case", cases(), ids=lambda c: c["name"])
def test_the_sum_is_the_inputs(case):
    half = 2 ** (case["offered"]["ring_bits"] - 1)
    plain = [
        sum(case["inputs"][str(i)][j] for i in case["survivors"]) for j in range(case["length"])
    ]
    assert [(x + half) % (2 * half) - half for x in plain] == case["total"]
