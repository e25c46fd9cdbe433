"""Evidence convicts the cheating client and no other, for any evidence that a server constructs."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from secagg import (
    Conviction,
    Directory,
    Offence,
    Phase,
    RemoteProtocolError,
    WireFormatError,
    check_conviction,
)
from secagg.roles.server.outbox import whole_dealing
from secagg.verdicts.evidence import (
    OwnShare,
    _joined,
    _parted,
    of_dealing,
    of_disputes,
)
from tests.secagg.support.cheats import (
    many_disputes,
    seven,
    wrong_key,
    wrong_own_share,
    wrong_seed,
)
from tests.secagg.support.lab import CONTEXT

CASES = {
    "wrong seed": (wrong_seed, Offence.BAD_DEALER),
    "wrong key": (wrong_key, Offence.BAD_DEALER),
    "wrong own share": (wrong_own_share, Offence.BAD_DEALER),
    "disputes": (many_disputes, Offence.DISPUTES),
}


def convicted(name):
    make, offence = CASES[name]
    lab, end = make()
    assert [(c.client_id, c.offence) for c in end.convictions] == [(20, offence)]
    assert end.convictions == lab.server.convictions
    return lab, end.convictions[0]


def shown(lab, conviction, **other):
    check_conviction(conviction, **({"context": CONTEXT, "directory": lab.directory} | other))


@pytest.mark.parametrize("name", CASES)
def test_evidence_convinces_who_knows_the_identities(name):
    lab, conviction = convicted(name)
    shown(lab, conviction)
    assert str(conviction).startswith("client 20 ")
    assert "evidence" not in repr(conviction)


@pytest.mark.parametrize("name", CASES)
def test_evidence_is_of_one_client_context_and_directory(name):
    lab, conviction = convicted(name)
    strangers = Directory({i: bytes([i]) * 32 for i in lab.ids})
    for bad, other in (
        (replace(conviction, client_id=30), {}),
        (replace(conviction, client_id=5), {}),
        (conviction, {"context": b"another round"}),
        (conviction, {"directory": strangers}),
    ):
        with pytest.raises(RemoteProtocolError, match="shows no evidence") as caught:
            shown(lab, bad, **other)
        assert caught.value.culprit == "server"


@pytest.mark.parametrize("name", CASES)
def test_damaged_evidence_shows_nothing(name):
    lab, conviction = convicted(name)
    data = conviction.evidence
    for at in range(0, len(data), 1 + len(data) // 200):
        bad = bytearray(data)
        bad[at] ^= 1 << at % 8
        with pytest.raises((RemoteProtocolError, WireFormatError)):
            shown(lab, replace(conviction, evidence=bytes(bad)))
        with pytest.raises((RemoteProtocolError, WireFormatError)):
            shown(lab, replace(conviction, evidence=data[:at]))


@pytest.mark.parametrize("name", CASES)
def test_evidence_of_one_offence_is_none_of_the_other(name):
    lab, conviction = convicted(name)
    other = {Offence.BAD_DEALER: Offence.DISPUTES, Offence.DISPUTES: Offence.BAD_DEALER}
    with pytest.raises((RemoteProtocolError, WireFormatError)):
        shown(lab, replace(conviction, offence=other[conviction.offence]))


# What a server cannot put together -------------------------------------------------------------------


def answered(lab):
    """A session whose answers have all come, and whose server has not rebuilt anything."""
    lab.run_to(Phase.UNMASK)
    for i in lab.ids:
        lab.answer(i)
    server = lab.server
    answers = {lab.roster.positions[i]: message for i, message in server._answers.items()}
    return server, answers


def case_against(lab, position, holders, *, own=None, shares=None):
    """Evidence from what these holders gave of an honest dealer's seed."""
    server, answers = answered(lab)
    told = (server._tally.dealings[position], server._tally.promised, server._tally.masked_with)
    dealing = whole_dealing(lab.roster, position, *told)
    found = {}
    for holder in holders:
        at = 0 if holder == position else 1 + server._tally.masked_with[holder].index(position)
        found[holder] = answers[holder].shares[at]
    if own is None and position in holders:
        message = answers[position]
        own = OwnShare(server._tally.told, message.others(), message.signature)
    evidence = of_dealing(
        server._tally.offer, server._tally.announced, dealing, found | (shares or {}), own
    )
    return Conviction(lab.roster.client_id(position), Offence.BAD_DEALER, evidence)


def refused(lab, conviction, match):
    with pytest.raises((RemoteProtocolError, WireFormatError), match=match):
        shown(lab, conviction)


@pytest.mark.parametrize("holders", ["with its own", "without"])
def test_honest_shares_rebuild_what_was_announced(holders):
    lab = seven()
    t = lab.params.threshold
    conviction = case_against(lab, 1, range(t) if holders == "with its own" else range(2, 2 + t))
    refused(lab, conviction, "the announced one was rebuilt")


def test_a_share_that_was_not_dealt_convicts_nobody():
    lab = seven()
    t = lab.params.threshold
    refused(lab, case_against(lab, 1, range(2, 2 + t), shares={2: bytes(34)}), "committed to")
    lab = seven()
    refused(lab, case_against(lab, 1, range(2, 1 + t)), "as many shares")


def test_an_own_share_of_another_session_convicts_nobody():
    """The dealer signs it for one session: two of them give two seeds."""
    lab, other = seven(), seven()
    other.identities, other.directory = lab.identities, lab.directory
    other.clients = {i: other.join(i) for i in other.ids}
    for i, client in other.clients.items():
        client.set_input(other.inputs[i])
    server, answers = answered(other)
    own = OwnShare(server._tally.told, answers[1].others(), answers[1].signature)
    t = lab.params.threshold
    conviction = case_against(lab, 1, range(t), own=own, shares={1: answers[1].shares[0]})
    refused(lab, conviction, "a signature of 20")


def test_an_own_share_without_a_signature_convicts_nobody():
    lab = seven()
    conviction = case_against(lab, 1, range(lab.params.threshold), shares={1: bytes(34)})
    parts = _parted(conviction.evidence)
    parts[3] = b""
    refused(
        lab, replace(conviction, evidence=_joined(parts)), "signature on the dealer's own share"
    )


def test_accusations_that_nobody_signed_convict_nobody():
    lab, conviction = convicted("disputes")
    offer, roster, *receipts = _parted(conviction.evidence)
    once = [offer, roster, *receipts]
    shown(lab, replace(conviction, evidence=of_disputes(*once[:2], once[2:])))
    for bad in (receipts[1:], [*receipts, receipts[0]], receipts[:-2]):
        refused(lab, replace(conviction, evidence=of_disputes(offer, roster, bad)), "shows no")
    refused(lab, replace(conviction, evidence=of_disputes(offer, roster, [roster])), "receipts")


def test_a_conviction_can_be_kept():
    _, conviction = convicted("wrong seed")
    assert copy.deepcopy(conviction) == conviction
