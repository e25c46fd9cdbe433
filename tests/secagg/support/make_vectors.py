"""Writes vectors/secagg-v2.json, once a wire version: `python -m tests.secagg.support.make_vectors`.

Everything comes from injected entropy, so a second run writes the same bytes.  What is derived between the
messages is computed here by the package's own functions; tests/secagg/protocol/test_transcript.py computes
it again with none of them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from secagg import Phase
from secagg.crypto.keys import AgreementKey
from secagg.crypto.masks import add_masks
from secagg.crypto.ring import ring_dtype
from secagg.crypto.sealed import route_keys
from secagg.session.roster import pair_seed, self_seed
from secagg.wire.codec import decode
from secagg.wire.envelopes import open_envelope
from secagg.wire.messages import MaskedInput, Partners, Survivors
from tests.secagg.support.recorder import CONTEXT, STEPS, Session
from tests.secagg.support.refusals import refusals

PATH = Path(__file__).parents[1] / "vectors" / "secagg-v2.json"
WORDS = 4
"""So many words of each mask stand in the file."""

ABOUT = {
    "source": "made by tests/secagg/support/make_vectors.py of this repository; licence as the repository",
    "generator": "python -m tests.secagg.support.make_vectors",
    "protocol": "docs/protocol.md, version 2, suite 1",
    "checked_by": "tests/secagg/protocol/test_transcript.py (the package, and a reader with no code of it)",
    "conventions": (
        "bytes are hexadecimal; inputs are int64; 'entropy': draw number c, from 1, is SHAKE-256(entropy ‖ "
        "u64 c), which the package takes for the identities in ascending order of id, the nonce, each "
        "client's channel key, mask key and seed b, and then for polynomials; 'messages': [phase, sender, "
        "receivers, bytes], a sender or receiver 0 being the server, and 'sha256:…' standing for bytes that "
        "follow from others; 'refused': a message that the role must refuse in that phase, everyone else "
        "having answered, with the name of its error, who is to blame, and what the bytes alone are: "
        "'message' or the decoder's error; a list of messages is chunks, the last of which is refused"
    ),
}

CASES = [
    ("three clients, nobody drops", 3, 5, {"max_abs": 1000, "corrupt_rate": 0.0}, {}),
    (
        "five clients, 32-bit words, drop-outs before and after the input",
        5,
        5,
        {"max_abs": 10**6, "dropout_rate": 0.4, "corrupt_rate": 0.0},
        {"masked_input": [2], "unmask": [0]},
    ),
    (
        "eleven clients, one leaves in each phase but the last",
        11,
        3,
        {"ring_bits": 32, "dropout_rate": 0.45, "corrupt_rate": 0.0},
        {
            "advertise_keys": [3],
            "share_keys": [9],
            "check_shares": [4],
            "masked_input": [0],
            "consistency": [6],
        },
    ),
    ("largest ring, 64-bit words", 4, 4, {"ring_bits": 62, "corrupt_rate": 0.0}, {}),
    ("16-bit ring, inputs reduced", 3, 9, {"ring_bits": 16, "corrupt_rate": 0.0}, {}),
    ("17-bit ring, inputs reduced", 3, 9, {"ring_bits": 17, "corrupt_rate": 0.0}, {}),
    ("sparse graph", 9, 6, {"max_abs": 5}, {"masked_input": [4]}),
    (
        "sparse graph, semi-honest",
        9,
        6,
        {"max_abs": 5, "threat_model": "semi-honest"},
        {"unmask": [7]},
    ),
    (
        "quorums of neighbours",
        16,
        4,
        {"max_abs": 3, "threat_model": "malicious-local"},
        {"masked_input": [5], "unmask": [11]},
    ),
]


def case_of(name, n, length, parameters, drop):
    """Inputs include both ends of their range."""
    rng = np.random.default_rng(n + length)
    ids = [2 + 11 * i for i in range(n)]
    ids[-1] = 2**32 - 1
    bound = parameters.get("max_abs", 2**63 - 1)
    inputs = {i: rng.integers(-bound, bound, length, endpoint=True).tolist() for i in ids}
    inputs[ids[0]][0] = -bound if "max_abs" in parameters else -(2**63)
    inputs[ids[1]][0] = bound
    return {
        "name": name,
        "entropy": f"secagg vector {name}",
        "context": CONTEXT.hex(),
        "parameters": parameters,
        "inputs": {str(i): x for i, x in inputs.items()},
        "drop": {phase: [ids[at] for at in places] for phase, places in drop.items()},
    }


def recorded(case):
    """A case with its messages, what is derived on the way, and its sum."""
    with Session(case) as session:
        session.run_to(Phase.DONE)
    params, result = session.params, session.server.result()
    offered = ("ring_bits", "threshold", "degree", "min_survivors", "quorum", "min_roster")
    return case | {
        "offered": {name: getattr(params, name) for name in offered},
        "secrets": {
            str(i): {name: value.hex() for name, value in held.items()}
            for i, held in session.secrets.items()
        },
        "messages": list(messages_of(session)),
        "derived": derived(session),
        "survivors": list(result.survivors),
        "total": result.total.tolist(),
    }


def messages_of(session):
    """What goes to everyone stands once; what a reader can put together stands as a hash, after the first."""
    yield ["offer", 0, list(session.inputs), session.offer.hex()]
    for phase in STEPS:
        told: dict[bytes, list[int]] = {}
        for client_id, message in session.told.get(phase, {}).items():
            told.setdefault(message, []).append(client_id)
        for at, (message, ids) in enumerate(told.items()):
            digest = "sha256:" + hashlib.sha256(message).hexdigest()
            yield [phase.value, 0, ids, digest if at else message.hex()]
        for client_id, message in session.said[phase].items():
            yield [phase.value, client_id, [0], message.hex()]


def derived(session):
    """Values between the messages, by the package's own functions."""
    roster = cohort_of(session)
    partners, survivors = (
        decode(next(iter(session.told[phase].values())))[1]
        for phase in (Phase.MASKED_INPUT, Phase.CONSISTENCY)
    )
    assert isinstance(partners, Partners)
    assert isinstance(survivors, Survivors)
    root = partners.root(session.session, roster.root)
    speaker = min(session.said[Phase.UNMASK])
    told = survivors.signed(session.session, root)

    def said(phase):
        return decode(session.said[phase][speaker])[1]

    return {
        "session": session.session.hex(),
        "roster_root": roster.root.hex(),
        "ring_order": [roster.client_id(place) for place in roster.graph._order],
        "partner_root": root.hex(),
        "signed": {
            "speaker": speaker,
            "advertise": said(Phase.ADVERTISE_KEYS).signed(session.session).hex(),
            "dealt": said(Phase.SHARE_KEYS).signed(session.session, roster.root).hex(),
            "opened": said(Phase.CHECK_SHARES).signed(session.session, roster.root).hex(),
            "input": MaskedInput.partners_signed(session.session, root, speaker).hex(),
            "masked vector": said(Phase.MASKED_INPUT).signed(session.session, root).hex(),
            "survivors": told.hex(),
            "unmask": said(Phase.UNMASK).signed(session.session, told).hex(),
        },
        "self": selves(session, roster, root),
        "pairs": pairs(session, roster, root),
    }


def cohort_of(session):
    return session.clients[max(session.said[Phase.UNMASK])]._roster


def words(session, seed):
    vector = np.zeros(WORDS, dtype=ring_dtype(session.params.ring_bits))
    add_masks(vector, [seed])
    return vector.tolist()


def selves(session, roster, root):
    """Self seed and first words of the mask, for each client of the roster."""
    out = {}
    for place, entry in enumerate(roster.entries):
        seed = self_seed(roster, root, session.secrets[entry.client_id]["self"], place)
        out[str(entry.client_id)] = {"seed": seed.hex(), "mask": words(session, seed)}
    return out


def pairs(session, roster, root):
    """Keys, seed, mask and shares between the first client and its neighbours that dealt."""
    own = roster.entries[0].client_id
    held = session.secrets[own]
    channel, mask = (AgreementKey.from_private_bytes(held[name]) for name in ("channel", "mask"))
    out = {}
    for place in roster.neighbours(0):
        entry, dealt = roster.entries[place], session.said[Phase.SHARE_KEYS]
        other = entry.client_id
        if other not in dealt:
            continue
        agreed = channel.agree(entry.channel_key)
        there, back = route_keys(
            agreed, session=session.session, root=roster.root, own=own, other=other
        )
        seed = pair_seed(roster, root, mask, 0, place)
        envelope = decode(dealt[other])[1].envelopes[roster.neighbours(place).index(0)]
        both = open_envelope(roster, back, envelope, other, own)
        out[str(other)] = {
            "key_to": there.hex(),
            "key_from": back.hex(),
            "seed": seed.hex(),
            "mask": words(session, seed),
            "shares_from": both.hex(),
        }
    return out


def build():
    cases = [case_of(*case) for case in CASES]
    return ABOUT | {"sessions": [recorded(case) for case in cases], "refused": refusals(cases)}


def written(vectors):
    """One line for each message, secret and refusal: as JSON that a person can still scroll."""

    def line(value):
        return json.dumps(value, ensure_ascii=False)

    def lines(name, values):
        return f'"{name}": [\n' + ",\n".join(map(line, values)) + "\n]"

    def session(case):
        fields = [
            lines(name, value) if name == "messages" else f'"{name}": {line(value)}'
            for name, value in case.items()
        ]
        return "{" + ",\n".join(fields) + "}"

    about = [f'"{name}": {line(vectors[name])}' for name in ABOUT]
    sessions = '"sessions": [\n' + ",\n".join(map(session, vectors["sessions"])) + "\n]"
    return "{" + ",\n".join([*about, sessions, lines("refused", vectors["refused"])]) + "}\n"


if __name__ == "__main__":
    PATH.write_text(written(build()), encoding="utf-8")
