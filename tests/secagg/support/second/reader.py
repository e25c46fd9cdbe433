"""A session read a second time, from docs/protocol.md alone: whole numbers, one coordinate at a time.

It knows the clients' secrets, so it checks both what clients made and what a server makes of it.  The
wire format is in wire.py and the parameters in params.py beside it.
"""

from __future__ import annotations

import hashlib

from blake3 import blake3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.secagg.support.second.wire import PARAM_NAMES, PARAMS, read, require, u32, words, write

P = 65_537
PHASES = (
    "advertise_keys", "share_keys", "check_shares", "masked_input", "consistency", "unmask",
)  # fmt: skip


def d(label, *parts):
    data = b"secagg v2 " + label + b"\0"
    return hashlib.sha256(data + b"".join(len(p).to_bytes(8, "little") + p for p in parts)).digest()


def k(secret, label, session, info, size=16):
    info = b"secagg v2 " + label + b"\0" + info
    return HKDF(hashes.SHA256(), size, session, info).derive(secret)


def x25519(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(public)
    )


def public_x25519(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def keystream(seed, length, bits):
    word = 2 if bits <= 16 else 4 if bits <= 32 else 8
    zeros = bytes(word * length)
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(zeros)
    return [int.from_bytes(stream[word * i : word * (i + 1)], "little") for i in range(length)]


def limbs(share):
    """Sixteen residues of a share: a flagged limb is 65,536."""
    flags = int.from_bytes(share[32:], "little")
    words = [int.from_bytes(share[2 * i : 2 * i + 2], "little") for i in range(16)]
    require(
        all(not (flags >> i & 1 and word) for i, word in enumerate(words)), "a flagged word is 0"
    )
    return [word + (flags >> i & 1) * 65_536 for i, word in enumerate(words)]


def lagrange(shares, at=0):
    """Values at a point of the sixteen polynomials through point → share."""
    out = [0] * 16
    for x, share in shares.items():
        weight = 1
        for z in shares:
            if z != x:
                weight = weight * (at - z) * pow(x - z, -1, P) % P
        out = [(value + weight * y) % P for value, y in zip(out, limbs(share), strict=True)]
    return out


def secret(values):
    return b"".join(value.to_bytes(2, "little") for value in values)


class Reader:
    """A case of the vector file; each method checks one step and raises if it does not hold."""

    def __init__(self, case):
        self.case = case
        self.secrets = {
            int(i): {name: bytes.fromhex(value) for name, value in held.items()}
            for i, held in case["secrets"].items()
        }
        self.inputs = {int(i): x for i, x in case["inputs"].items()}
        self.told = {phase: {} for phase in ("offer", *PHASES)}
        self.said = {phase: {} for phase in PHASES}
        for phase, sender, receivers, data in case["messages"]:
            if sender:
                self.said[phase][sender] = bytes.fromhex(data)
            else:
                self.told[phase] |= dict.fromkeys(receivers, data)
        offer = bytes.fromhex(next(iter(self.told["offer"].values())))
        self.session, _, self.offer = read(offer)
        self.params = self.offer["params"]
        self.bits, self.t = self.params["b"], self.params["threshold"]
        self.local = self.params["model"] == 2
        self.answers = {
            phase: {i: self.fields(message, i) for i, message in sorted(said.items())}
            for phase, said in self.said.items()
        }
        adverts = self.answers["advertise_keys"]
        self.ids = sorted(adverts)
        self.roster = write(self.session, "roster", {"entries": [adverts[i] for i in self.ids]})
        self.root = d(b"roster", self.roster)
        self.order = sorted(
            self.ids, key=lambda i: hashlib.sha256(self.session + self.root + u32(i)).digest()
        )
        # no dispute in these sessions: whoever said which shares it opened is a partner
        self.partners = sorted(self.answers["check_shares"])
        self.survivors = sorted(self.answers["masked_input"])
        self.partner_root = d(b"partners", self.session, self.root, self.members(self.partners))

    def fields(self, message, sender):
        session, _, fields = read(message)
        require(session == self.session and fields["id"] == sender, "session and sender")
        return fields

    def members(self, chosen):
        """One byte, 0 or 1, for each place of the roster."""
        return bytes(int(i in chosen) for i in self.ids)

    def around(self, client):
        """A client's neighbours, ascending."""
        m, reach = len(self.ids), self.params["degree"] // 2
        if self.params["degree"] >= m - 1:
            return [i for i in self.ids if i != client]
        place = self.order.index(client)
        return sorted(self.order[(place + step) % m] for step in range(-reach, reach + 1) if step)

    def masked_with(self, client):
        return [i for i in self.around(client) if i in self.partners]

    def server_said(self, phase, client, kind, fields):
        """What the server told a client is this message, given as bytes or as a hash."""
        message, recorded = write(self.session, kind, fields), self.told[phase][client]
        if recorded.startswith("sha256:"):
            require(hashlib.sha256(message).hexdigest() == recorded[7:], f"{kind} to {client}")
        else:
            require(message.hex() == recorded, f"{kind} to {client}")

    def signed(self, client, signature, message):
        """A signature holds, and is the one that RFC 8032 makes of the injected key."""
        key = Ed25519PrivateKey.from_private_bytes(self.secrets[client]["identity"])
        identity = self.answers["advertise_keys"][client]["identity"]
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, message)
        require(key.sign(message) == signature, f"signature of {client}")

    # Keys --------------------------------------------------------------------------------------------

    def check_offer(self):
        packed = PARAMS.pack(*(self.params[name] for name in PARAM_NAMES))
        context = bytes.fromhex(self.case["context"])
        require(self.session == d(b"session", packed, context, self.offer["nonce"]), "session")

    def advertise_digest(self, client):
        keys = (
            self.answers["advertise_keys"][client][name] for name in ("identity", "channel", "mask")
        )
        return d(b"advertise", self.session, u32(client), *keys)

    def check_keys(self):
        for client, fields in self.answers["advertise_keys"].items():
            held = self.secrets[client]
            require(fields["channel"] == public_x25519(held["channel"]), "channel key")
            require(fields["mask"] == public_x25519(held["mask"]), "mask key")
            self.signed(client, fields["signature"], self.advertise_digest(client))
        for client, message in self.told["share_keys"].items():
            require(message == self.roster.hex(), f"roster to {client}")

    # Shares ------------------------------------------------------------------------------------------

    def channel_key(self, dealer, holder):
        public = self.answers["advertise_keys"][holder]["channel"]
        agreed = x25519(self.secrets[dealer]["channel"], public)
        info = self.root + u32(min(dealer, holder)) + u32(max(dealer, holder))
        both = k(agreed, b"share channel", self.session, info, 32)
        return both[:16] if dealer < holder else both[16:]

    def commitment(self, dealer, holder, kind, share):
        place = u32(dealer) + u32(holder) + bytes([kind])
        return hashlib.sha256(b"secagg v2 share\0" + self.session + place + share).digest()[:16]

    def opened(self, dealer, holder):
        """The shares of b and of s that a dealer sealed for a holder."""
        envelope = self.answers["share_keys"][dealer]["envelopes"][
            self.around(dealer).index(holder)
        ]
        public, sealed = envelope[:32], envelope[32:]
        associated = self.session + self.root + u32(dealer) + u32(holder) + public
        both = AESGCM(self.channel_key(dealer, holder)).decrypt(bytes(12), sealed, associated)
        shares = both[:34], both[34:]
        for kind, share in enumerate(shares):
            committed = public[16 * kind : 16 * kind + 16]
            require(committed == self.commitment(dealer, holder, kind, share), "commitment")
        return shares

    def point(self, client):
        return self.ids.index(client) + 1

    def check_dealt(self):
        """Commitments, signatures, and that the shares lie on polynomials of the right degree."""
        for dealer, fields in self.answers["share_keys"].items():
            b, s = self.secrets[dealer]["self"], self.secrets[dealer]["mask"]
            require(
                fields["seed_commitment"] == d(b"self-mask seed", self.session, u32(dealer), b), "b"
            )
            self.signed(dealer, fields["signature"], self.dealt_digest(dealer))
            around = self.around(dealer)
            dealt = {self.point(holder): self.opened(dealer, holder) for holder in around}
            for kind, value in enumerate((b, s)):
                shares = {x: both[kind] for x, both in dealt.items()}
                base = {0: value + b"\0\0"} | dict(list(shares.items())[: self.t - 1])
                for x, share in shares.items():
                    require(
                        lagrange(base, at=x) == limbs(share), f"degree of {dealer}'s polynomial"
                    )

    def dealt_digest(self, dealer):
        fields = self.answers["share_keys"][dealer]
        columns = [
            b"".join(envelope[at : at + 16] for envelope in fields["envelopes"]) for at in (0, 16)
        ]
        hashes = [hashlib.sha256(column).digest() for column in columns]
        commitment = fields["seed_commitment"]
        return d(b"dealt", self.session, self.root, u32(dealer), commitment, *hashes)

    def check_forwarded(self):
        dealt = self.answers["share_keys"]
        for holder in self.told["check_shares"]:
            envelopes = [
                dealt[dealer]["envelopes"][self.around(dealer).index(holder)]
                if dealer in dealt
                else None
                for dealer in self.around(holder)
            ]
            self.server_said("check_shares", holder, "forwarded_shares", {"envelopes": envelopes})
        for client, fields in self.answers["check_shares"].items():
            expected = [int(dealer in dealt) for dealer in self.around(client)]
            require(fields["opened"] == expected, "all that came did open")
            self.signed(client, fields["signature"], self.opened_digest(client))

    def opened_digest(self, client):
        flags = bytes(self.answers["check_shares"][client]["opened"])
        return d(b"opened", self.session, self.root, u32(client), flags)

    # Masks -------------------------------------------------------------------------------------------

    def self_seed(self, client, b):
        return k(b, b"self mask", self.session, self.partner_root + u32(client))

    def pair_seed(self, private, own, other):
        agreed = x25519(private, self.answers["advertise_keys"][other]["mask"])
        pair = u32(min(own, other)) + u32(max(own, other))
        return k(agreed, b"pairwise mask", self.session, self.partner_root + pair)

    def input_digest(self, client):
        return d(b"input", self.session, self.partner_root, u32(client))

    def vector_digest(self, client):
        fields = self.answers["masked_input"][client]
        shape = u32(len(fields["vector"])) + bytes([fields["bits"]])
        about = (self.session, self.partner_root, u32(client), shape)
        return d(b"masked vector", *about, blake3(words(fields)).digest())

    def check_inputs(self):
        """Each masked vector is the input and its masks, made again from the injected secrets."""
        members = {"members": list(self.members(self.partners))}
        for client in self.told["masked_input"]:
            self.server_said("masked_input", client, "partners", members)
        for client, fields in self.answers["masked_input"].items():
            held, length = self.secrets[client], len(fields["vector"])
            require((length, fields["bits"]) == (self.params["d"], self.bits), "shape")
            masks = [(1, self.self_seed(client, held["self"]))]
            for other in self.masked_with(client):
                sign = 1 if other > client else -1
                masks.append((sign, self.pair_seed(held["mask"], client, other)))
            vector = list(self.inputs[client])
            for sign, seed in masks:
                mask = keystream(seed, length, self.bits)
                vector = [x + sign * word for x, word in zip(vector, mask, strict=True)]
            require([x % 2**self.bits for x in vector] == fields["vector"], f"input of {client}")
            self.signed(client, fields["signature"], self.vector_digest(client))
            if self.local:
                self.signed(client, fields["partner_signature"], self.input_digest(client))
            else:
                require(not fields["partner_signature"], "no signature on the partners")

    # The survivors -----------------------------------------------------------------------------------

    def survivors_digest(self):
        return d(b"survivors", self.session, self.partner_root, self.members(self.survivors))

    def check_consistency(self):
        inputs, signed = self.answers["masked_input"], self.answers["consistency"]
        quorum = self.case["offered"]["quorum"]
        for client in self.told["consistency"]:
            shown = [i for i in self.masked_with(client) if i in inputs] if self.local else []
            fields = {
                "members": list(self.members(self.survivors)),
                "signatures": [inputs[i]["partner_signature"] for i in shown],
            }
            self.server_said("consistency", client, "survivors", fields)
        for client, fields in signed.items():
            self.signed(client, fields["signature"], self.survivors_digest())
        for client in self.told["unmask"]:
            counting = self.masked_with(client) if self.local else self.ids
            first = [i for i in counting if i in signed][:quorum]
            require(len(first) == quorum, "a quorum")
            pairs = [(self.ids.index(i), signed[i]["signature"]) for i in first]
            self.server_said("unmask", client, "signatures", {"pairs": pairs})

    # The sum -----------------------------------------------------------------------------------------

    def answered_shares(self):
        """Dealer → point → the share that was given; each is the one that was dealt."""
        out = {i: {} for i in self.ids}
        for client, fields in self.answers["unmask"].items():
            dealers = [client, *self.masked_with(client)]
            require(len(dealers) == len(fields["shares"]), "a share for each")
            self.signed(client, fields["signature"], self.unmask_digest(client))
            for dealer, share in zip(dealers, fields["shares"], strict=True):
                kind = int(dealer not in self.survivors)
                require(dealer == client or share == self.opened(dealer, client)[kind], "share")
                out[dealer][self.point(client)] = share
        return out

    def unmask_digest(self, client):
        own, *others = self.answers["unmask"][client]["shares"]
        rest = hashlib.sha256(b"".join(others)).digest()
        return d(b"unmask", self.session, self.survivors_digest(), u32(client), own, rest)

    def rebuilt(self, shares, dealer):
        require(len(shares[dealer]) >= self.t, f"shares of {dealer}")
        return secret(lagrange(dict(sorted(shares[dealer].items())[: self.t])))

    def total(self):
        """The server's way: rebuild b of each survivor and s of each partner that is none; unmask."""
        shares, inputs = self.answered_shares(), self.answers["masked_input"]
        total = [sum(x) for x in zip(*(f["vector"] for f in inputs.values()), strict=True)]

        def subtract(seed, sign):
            for i, word in enumerate(keystream(seed, len(total), self.bits)):
                total[i] -= sign * word

        for client in self.survivors:
            b = self.rebuilt(shares, client)
            require(b == self.secrets[client]["self"], "b")
            subtract(self.self_seed(client, b), 1)
        for gone in set(self.partners) - set(self.survivors):
            s = self.rebuilt(shares, gone)
            require(s == self.secrets[gone]["mask"], "s")
            for client in self.masked_with(gone):
                if client in self.survivors:
                    subtract(self.pair_seed(s, gone, client), 1 if client < gone else -1)
        half = 2 ** (self.bits - 1)
        return [(x + half) % (2 * half) - half for x in total]
