"""Chooses tests/fuzz/corpus/secagg: run as `python -m tests.fuzz.make_corpus [FOLDER…]`.

From the vectors, and from folders of what a fuzzing run has found, the corpus itself among them to keep it.
A seed is named by its hash, as libFuzzer names its own.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import he
import secagg
from he import wire
from he.crypto.enrolment import Proof
from he.crypto.tags import UploadName
from secagg import Phase
from secagg.testing import deterministic_entropy
from secagg.wire.codec import encode_chunk
from tests.fuzz import committee
from tests.fuzz.envelopes import CONTEXT, PUBLIC, TRUSTING
from tests.fuzz.stages import SESSIONS, stages
from tests.fuzz.targets import run, seed
from tests.secagg.support.cheats import many_disputes, wrong_own_share, wrong_seed
from tests.secagg.support.make_vectors import PATH as VECTORS
from tests.secagg.support.recorder import STEPS

CORPUS = Path(__file__).parent / "corpus" / "secagg"
PACKAGES = tuple(str(Path(package.__file__).parent) for package in (secagg, he))


def honest():
    """What both sides say, to both kinds of listener; decoded alone, too."""
    for name in SESSIONS:
        stage = stages(name)
        session, own = stage.session, stage.missing
        for phase in STEPS:
            said, told = session.said[phase][own], session.told.get(phase, {}).get(own)
            yield seed(f"server {name} {phase.value}", said)
            yield seed("message", said)
            if told:
                yield seed(f"client {name} {phase.value}", told)
    yield seed("offer", stages("five").session.offer)
    yield seed("params", stages("five").session.params.to_bytes())
    yield seed("params", stages("local").session.params.to_bytes())
    yield seed("names", stages("five").session.said[Phase.MASKED_INPUT][stages("five").missing])


def uploads():
    """Whole messages in chunks, behind the length of each."""
    for name, phase in (
        ("five", Phase.SHARE_KEYS),
        ("five", Phase.MASKED_INPUT),
        ("local", Phase.UNMASK),
    ):
        session = stages(name).session
        said = session.said[phase][stages(name).missing]
        for cut in (len(said), 40, 200):
            parts = [said[at : at + cut] for at in range(0, len(said), cut)]
            chunks = [
                encode_chunk(session.session, index, len(parts), part)
                for index, part in enumerate(parts)
            ]
            yield seed("chunk", chunks[-1])
            yield seed(
                f"chunks {name} {phase.value}",
                b"".join(len(chunk).to_bytes(2, "little") + chunk for chunk in chunks),
            )


def refused():
    """What the vectors refuse for more than its frame, told to who believes every signature."""
    names = {case[0]: name for name, case in SESSIONS.items()}
    for refusal in json.loads(VECTORS.read_text(encoding="utf-8"))["refused"]:
        name = names.get(refusal["session"])
        frame = any(
            word in refusal["name"] for word in ("has ", " calls itself", " of another session")
        )
        if name is None or frame or refusal["at"] == "chunk":
            continue
        data = bytes.fromhex(refusal["bytes"])
        if refusal["at"] == "offer":
            yield seed("offer", data)
        elif refusal["alone"] == "message":
            yield seed(f"{refusal['at']} {name} {refusal['phase']} credulous", data)
        else:
            yield seed("message", data)


def encrypted():
    """Empty envelopes of encrypted sums, and a public context."""
    name = UploadName(CONTEXT, 7, bytes(32), 3)
    size = 4096 * PUBLIC.params.word_bits // 8 * PUBLIC.params.parts
    chunk = wire.UploadChunk(name, 0, (5,), bytes(size))
    yield seed("he upload", wire.encode_upload(chunk, TRUSTING) + bytes(64))
    own = wire.encode_upload(chunk, TRUSTING, enrolled=True)
    yield seed("he enrolled upload", own + bytes(64))
    small = wire.UploadChunk(name, 0, (5,), bytes(4096 * 32 // 8))
    yield seed("he coefficients", wire.encode_upload(small, TRUSTING) + bytes(64))
    summed = wire.SumChunk(0, 3, (name,), (5,), bytes(4096 * 60 // 8 * PUBLIC.params.parts))
    yield seed("he sum", wire.encode_sum(summed, TRUSTING, CONTEXT))
    proof = Proof(bytes(32), bytes(64))
    yield seed(
        "he enrolled sum", wire.encode_sum(replace(summed, proofs=(proof,)), TRUSTING, CONTEXT)
    )
    yield seed("he public context", PUBLIC.to_bytes())


def convicting():
    """Evidence of a bad dealer and of disputes, which holds."""
    with deterministic_entropy(b"evidence"):
        for make in (wrong_seed, wrong_own_share, many_disputes):
            (conviction,) = make()[1].convictions
            yield seed(f"evidence {conviction.offence.name}", conviction.evidence)


def by_a_committee():
    """Messages of a recorded sum by a committee, and evidence that holds."""
    return (seed(*pair) for pair in committee.seeds())


def always():
    """Messages of honest sessions, all of which are kept."""
    return sorted({*honest(), *uploads(), *encrypted(), *convicting(), *by_a_committee()})


def steps_of(data):
    """Pairs of lines of the protocol packages that an input runs one after the other."""
    found = set()

    def enter(frame, event, argument):
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGES):
            return None
        last = 0

        def line(frame, event, argument):
            nonlocal last
            if event == "line":
                found.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return found


def chosen(candidates):
    """All that is always kept, then of the candidates, small ones first, those that do something new."""
    kept, known = always(), set()
    for data in kept:
        run(data)  # what is done once in a process is nobody's
        known |= steps_of(data)
    for data in sorted(set(candidates) - set(kept), key=lambda data: (len(data), data)):
        steps = steps_of(data)
        if steps - known:
            known |= steps
            kept.append(data)
    return kept


def main(folders):
    found = [path.read_bytes() for folder in folders for path in sorted(Path(folder).iterdir())]
    kept = chosen([*refused(), *found])
    CORPUS.mkdir(parents=True, exist_ok=True)
    for path in CORPUS.iterdir():
        path.unlink()
    for data in kept:
        (CORPUS / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1:])
