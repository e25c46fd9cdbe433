"""Writes tests/secagg/vectors/secagg-committee-v1.json: `python -m tests.secagg.committee.make_vectors`.

Everything comes from injected entropy, so a second run writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from secagg.committee import CommitteePhase as Phase
from secagg.committee import contributor as dealer
from secagg.testing import deterministic_entropy
from tests.secagg.committee.support.lab import Lab, small

PATH = Path(__file__).parents[1] / "vectors" / "secagg-committee-v1.json"

ABOUT = {
    "source": "made by tests/secagg/committee/make_vectors.py of this repository; licence as the repository",
    "generator": "python -m tests.secagg.committee.make_vectors",
    "protocol": "docs/protocol.md, “Sums by a committee”, version 1, suite 1",
    "checked_by": "tests/secagg/committee/test_vectors.py (the package, and a reader with no code of it)",
    "conventions": (
        "bytes are hexadecimal; 'entropy': draw number c, from 1, is SHAKE-256(entropy ‖ u64 c); 'identity' "
        "and 'sealing' are private keys; 'messages': [sender or receiver, kind, bytes], even kinds go to a "
        "member; 'asked', 'spoke': places of members; 'renewed': places of members whose shares were lost "
        "before they signed; 'broken': client → places whose envelopes do not open; 'refused': what no "
        "reader takes under the parameters of the first session"
    ),
}

CASES = [
    ("four members, three clients", small(4, 1, 0, 3, 3), {}),
    (
        "seven members, one silent from each phase on, one whose shares were lost; two primes",
        small(9, 1, 2, 5, 5, max_abs=2**40),
        {"silent": {Phase.SIGN: {8}, Phase.ANSWER: {0}}, "renewed": {2}, "gone": {1}},
    ),
    (
        "clients whose envelopes do not open, for one member and for three",
        small(9, 1, 1, 7, 6, threshold=4),
        {"broken": {0: {3}, 4: {1, 5, 6}}},
    ),
]


def hexed(value):
    return value.hex() if isinstance(value, bytes) else value


def recorded(title, params, how):
    """One session from entropy named after it."""
    entropy = b"secagg.committee vector: " + title.encode()
    with deterministic_entropy(entropy):
        lab = Lab(params)
        clients = [client_of(lab, i, how) for i in lab.people if i not in how.get("gone", ())]
    silent, messages = how.get("silent", {}), []
    places = {"asked": {}, "spoke": {}}
    pending, quiet = lab.server.advance(), set()
    while lab.server.phase is not Phase.DONE:
        phase = lab.server.phase
        quiet |= silent.get(phase, set())
        if phase is Phase.SIGN:
            lab.members |= {j: lab.member(j) for j in how.get("renewed", ())}
        kind = {Phase.REPORT: 2, Phase.SIGN: 4, Phase.ANSWER: 6}[phase]
        places["asked"][phase.value] = sorted(pending)
        places["spoke"][phase.value] = sorted(pending.keys() - quiet)
        for j, message in pending.items():
            messages.append([j, kind, message.hex()])
            if j not in quiet:
                reply = lab.members[j].receive(message)
                lab.server.receive_member(j, reply)
                messages.append([j, kind + 1, reply.hex()])
        pending = lab.server.advance()
    result = lab.server.result()
    return {
        "title": title,
        "entropy": entropy.hex(),
        "params": params.to_bytes().hex(),
        "context": lab.context.hex(),
        "epoch": 1,
        "members": [
            {
                "id": j,
                "identity": lab.identities[j].private_bytes().hex(),
                "sealing": lab.keys[j].private_bytes().hex(),
                "card": lab.keys[j].card.hex(),
            }
            for j in lab.identities
        ],
        "clients": clients,
        **places,
        "renewed": sorted(how.get("renewed", ())),
        "broken": {str(i): sorted(js) for i, js in how.get("broken", {}).items()},
        "messages": messages,
        "set": list(result.survivors),
        "convicted": [found.client_id for found in result.convictions],
        "dropped": list(lab.server.dropped_members),
        "total": result.total.tolist(),
    }


def client_of(lab, i, how):
    bad, honest, places = how.get("broken", {}).get(i, ()), dealer.seal, iter(range(99))
    dealer.seal = lambda key, share, about: honest(
        bytes(16) if next(places) in bad else key, share, about
    )
    try:
        message = lab.contribution(i, digest=hashlib.sha256(bytes([i])).digest())
    finally:
        dealer.seal = honest
    lab.server.receive(i, message)
    return {
        "id": i,
        "identity": lab.people[i].private_bytes().hex(),
        "input": np.asarray(lab.inputs[i]).tolist(),
        "message": message.hex(),
    }


def refusals(case):
    """Damaged forms of the first session's messages: [why, bytes]."""
    out = []
    good = {1: bytes.fromhex(case["clients"][0]["message"])}
    for _, kind, message in case["messages"]:
        good.setdefault(kind, bytes.fromhex(message))
    for kind, data in good.items():
        out += [
            [f"kind {kind} ends early", data[:-1]],
            [f"kind {kind} goes on", data + b"\0"],
            [f"kind {kind} without a body", data[:40]],
            [f"kind {kind} of another version", data[:4] + b"\2" + data[5:]],
            [f"kind {kind} of another suite", data[:5] + b"\2" + data[6:]],
            [f"kind {kind} with a byte in the header", data[:7] + b"\1" + data[8:]],
            [f"kind {kind} of the pairwise protocol", b"SAGG" + data[4:]],
        ]
    out.append(["no kind", good[1][:6] + b"\0" + good[1][7:]])
    out.append(["no kind", good[1][:6] + b"\x08" + good[1][7:]])
    delivery, entry = good[2], (len(good[2]) - 44) // 3
    swapped = delivery[44 + entry : 44 + 2 * entry] + delivery[44 : 44 + entry]
    out.append(["a delivery out of order", delivery[:44] + swapped + delivery[44 + 2 * entry :]])
    twice = delivery[44 : 44 + entry] * 2
    out.append(
        ["a delivery with a client twice", delivery[:44] + twice + delivery[44 + 2 * entry :]]
    )
    out.append(["a delivery longer than any", delivery[:40] + b"\xff\xff\xff\xff" + delivery[44:]])
    report = good[3]
    out.append(["a report with padding flags", report[:112] + b"\x0f" + report[113:]])
    out.append(["a report of 4,095, no residue", report[:113] + b"\xff\xff" + report[115:]])
    endorsement = good[5]
    out.append(["an endorsement with another flag", endorsement[:44] + b"\2" + endorsement[45:]])
    answer = good[7]
    out.append(["an answer of 4,095, no residue", answer[:108] + b"\xff\xff" + answer[110:]])
    return [[why, data.hex()] for why, data in out]


def build():
    sessions = [recorded(*case) for case in CASES]
    return ABOUT | {"sessions": sessions, "refused": refusals(sessions[0])}


def written(vectors):
    """One line for each member, client, message and refusal."""

    def line(value):
        return json.dumps(value, ensure_ascii=False)

    def lines(name, values):
        return f'"{name}": [\n' + ",\n".join(map(line, values)) + "\n]"

    def session(case):
        long = ("members", "clients", "messages")
        fields = [lines(n, v) if n in long else f'"{n}": {line(v)}' for n, v in case.items()]
        return "{" + ",\n".join(fields) + "}"

    about = [f'"{name}": {line(vectors[name])}' for name in ABOUT]
    sessions = '"sessions": [\n' + ",\n".join(map(session, vectors["sessions"])) + "\n]"
    return "{" + ",\n".join([*about, sessions, lines("refused", vectors["refused"])]) + "}\n"


if __name__ == "__main__":
    PATH.write_text(written(build()), encoding="utf-8")
