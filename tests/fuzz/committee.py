"""What bytes from outside may do at a sum by a committee; the recorded sessions are the seeds."""

from __future__ import annotations

import json

from secagg import Conviction, Directory, Offence, RemoteProtocolError, WireFormatError
from secagg.committee import Committee, CommitteeParams, check_rejection
from secagg.committee.verdicts.evidence import of_reports
from secagg.committee.wire.codec import decode, encode
from tests.secagg.committee.make_vectors import PATH
from tests.secagg.committee.support.second_reader import Reader, Refused, public_of

CASE = json.loads(PATH.read_text(encoding="utf-8"))["sessions"][2]
DATA = bytes.fromhex(CASE["params"])
PARAMS, READER = CommitteeParams.from_bytes(DATA), Reader(DATA)
CONVICTED = CASE["convicted"][0]


def check(holds, what):
    """As an assertion that also holds under -O."""
    if not holds:
        raise AssertionError(what)


class Credulous(Directory):
    """Finds that every signature holds."""

    def verify(self, *_):
        return True


def known(people):
    return {one["id"]: public_of(bytes.fromhex(one["identity"])) for one in people}


CLIENTS = Credulous(known(CASE["clients"]))
COMMITTEE = Committee(
    Credulous(known(CASE["members"])),
    [bytes.fromhex(one["card"]) for one in CASE["members"]],
    epoch=CASE["epoch"],
)


def message(data):
    """The decoder and the second reader agree, and what decodes encodes to the same bytes."""
    try:
        session, content = decode(data, PARAMS)
    except WireFormatError:
        taken = False
    else:
        taken = True
        check(encode(content, session) == data, "a second encoding")
    try:
        READER.read(data)
    except Refused:
        check(not taken, "the second reader refuses")
    else:
        check(taken, "the second reader takes it")


def evidence(data):
    """Evidence holds or is refused."""
    conviction = Conviction(CONVICTED, Offence.REJECTED_SHARES, data)
    try:
        check_rejection(
            conviction,
            params=PARAMS,
            committee=COMMITTEE,
            clients=CLIENTS,
            context=bytes.fromhex(CASE["context"]),
        )
    except (RemoteProtocolError, WireFormatError):
        return


TARGETS = {"committee message": message, "committee evidence": evidence}


def seeds():
    """(target, bytes): one honest message of each kind, and evidence that holds."""
    sent = {1: bytes.fromhex(CASE["clients"][1]["message"])}
    reports = []
    for _, kind, data in CASE["messages"]:
        sent.setdefault(kind, bytes.fromhex(data))
        if kind == 3:
            reports.append(bytes.fromhex(data))
    for data in sent.values():
        yield "committee message", data
    names = READER.read(sent[4])[2]["names"]
    index = [client for client, _ in names].index(CONVICTED)
    signature = READER.read(bytes.fromhex(CASE["clients"][index]["message"]))[2]["signature"]
    yield "committee evidence", of_reports(index, signature, names, reports)
