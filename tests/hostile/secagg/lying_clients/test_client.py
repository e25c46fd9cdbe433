"""Lying and late clients against an honest server: the sum is right or absent, never wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg.roles.server.admission
import secagg.roles.server.blame
from secagg import (
    Aborted,
    AbortReason,
    Identity,
    LocalProtocolError,
    Phase,
    RemoteProtocolError,
    masked_vector,
)
from secagg.crypto import ring
from secagg.crypto.keys import AgreementKey
from secagg.crypto.masks import add_masks
from secagg.crypto.shamir import rebuild
from secagg.session.roster import pair_seed
from secagg.session.state import SERVER_AWAITS
from secagg.wire.codec import HEADER_SIZE, Kind, decode, encode
from secagg.wire.messages import COMMITMENTS_SIZE, ENVELOPE_SIZE, ShareKeys, UnmaskShares
from tests.secagg.support.lab import Lab


def refused(lab, client_id, data, match):
    """The server refuses, names the client, and would still take the honest message."""
    phase = lab.server.phase
    with pytest.raises(RemoteProtocolError, match=match) as caught:
        lab.server.receive(client_id, data)
    assert caught.value.culprit == client_id
    assert lab.server.phase is phase
    assert client_id not in lab.server._answers


# S6: keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["low order", "not canonical", "taken", "same twice", "forged", "posing"]
)
def test_s6_keys_that_cannot_stand_on_the_roster(name):
    lab = Lab(5)
    lab.answer(10)
    honest = decode(lab.clients[20].start())[1]
    first = decode(lab.sent[Phase.ADVERTISE_KEYS, 10])[1]
    change = {
        "low order": {"mask_key": (1).to_bytes(32, "little")},
        "not canonical": {"mask_key": (2**255 - 19 + 9).to_bytes(32, "little")},
        "taken": {"mask_key": first.channel_key},
        "same twice": {"mask_key": honest.channel_key},
        "forged": {"mask_key": AgreementKey.generate().public},
        "posing": {"client_id": 10},
    }[name]
    bad = dataclasses.replace(honest, **change)
    if name not in ("forged", "posing"):
        bad = dataclasses.replace(bad, signature=lab.identities[20].sign(bad.signed(lab.session)))
    refused(lab, 20, lab.encode(bad), "advertised|another client's name")
    lab.server.receive(20, lab.encode(honest))


def test_s6_low_order_points_of_wycheproof():
    """The seven points of small order (RFC 7748, section 7; Wycheproof's x25519 set)."""
    p = 2**255 - 19
    fifth = 325606250916557431795983626356110631294008115727848805560023387167927233504
    sixth = 39382357235489614581723060781553021112529911719440698176882885853963445705823
    for point in (0, 1, fifth, sixth, p - 1, p, p + 1):
        with pytest.raises(ValueError, match=r".*"):
            AgreementKey.generate().agree(point.to_bytes(32, "little"))


def test_s7_with_a_directory_the_server_turns_away_foreign_identities():
    lab = Lab(5)
    lab.server._tally.directory = lab.directory
    foreign = Identity.generate()
    honest = decode(lab.clients[10].start())[1]
    bad = dataclasses.replace(honest, identity=foreign.public)
    bad = dataclasses.replace(bad, signature=foreign.sign(bad.signed(lab.session)))
    refused(lab, 10, lab.encode(bad), "identity not its own")


def test_a_full_cohort_takes_nobody_else():
    lab = Lab(5)
    for i in lab.ids:
        lab.answer(i)
    with pytest.raises(RemoteProtocolError, match="full"):
        lab.server.receive(60, lab.sent[Phase.ADVERTISE_KEYS, 10])


# S9, S11: wrong time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("phase", Phase)
def test_s9_servers_take_one_kind_of_message_in_each_phase(phase, kind):
    lab = Lab(5)
    if phase is Phase.ABORTED:
        with pytest.raises(Aborted):
            lab.server.advance()
    else:
        lab.run_to(phase)
    if kind is SERVER_AWAITS.get(phase):
        lab.answer(10)
        refused_twice = pytest.raises(RemoteProtocolError, match="second message")
        with refused_twice:
            lab.server.receive(10, lab.sent[phase, 10])
        return
    wrong = lab.server.offer()[:6] + bytes([kind]) + lab.server.offer()[7:]
    with pytest.raises((LocalProtocolError, RemoteProtocolError)):
        lab.server.receive(10, wrong)
    assert lab.server.phase is phase
    if phase not in (Phase.DONE, Phase.ABORTED):
        lab.run_to(Phase.DONE)  # no harm done
        assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


def late_input():
    """Client 60's input arrives when the others have been told that it dropped.

    Returns the lab, the late message, and what is left of it when every share that was given is used.
    """
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.MASKED_INPUT)
    late = lab.reply(60)
    for i in lab.ids[:-1]:
        lab.answer(i)
    lab.next_messages = lab.server.advance()
    assert 60 not in lab.next_messages
    refused(lab, 60, late, "no longer")
    lab.run_to(Phase.UNMASK)
    position, given = lab.roster.positions[60], {}
    for holder in lab.ids[:-1]:
        reply = lab.reply(holder)
        lab.server.receive(holder, reply)
        at = lab.roster.positions[holder]
        place = lab.roster.neighbours(at).index(position)
        given[at + 1] = decode(reply)[1].shares[1 + place]
    lab.server.advance()
    points = list(given)[: lab.params.threshold]
    secret = rebuild(points, [given[point] for point in points])
    key = AgreementKey.from_private_bytes(secret)
    assert key.public == lab.roster.entries[position].mask_key
    vector = masked_vector(late).copy()
    root = lab.partner_root
    seeds = [pair_seed(lab.roster, root, key, position, other) for other in range(position)]
    add_masks(vector, plus=seeds)  # the highest position subtracted them all
    return lab, ring.centre(vector, lab.params.ring_bits)


def test_s11_a_late_input_is_not_read_and_stays_masked():
    lab, left = late_input()
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids[:-1]))
    assert not np.array_equal(left, lab.inputs[60])


def test_s11_mutant_without_the_self_mask_shows_a_late_input(monkeypatch):
    monkeypatch.setattr("secagg.roles.client.masking.add_masks", without_first(add_masks))
    monkeypatch.setattr("secagg.roles.server.unmask.self_seed", lambda *_: None)
    monkeypatch.setattr("secagg.roles.server.unmask.add_masks", without_none(add_masks))
    lab, left = late_input()
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids[:-1]))
    assert np.array_equal(left, lab.inputs[60])


def without_first(add):
    return lambda total, plus, minus, **_: add(total, plus[1:], minus)


def without_none(add):
    return lambda total, plus, minus, **_: add(total, plus, [s for s in minus if s is not None])


# S12: bad shares -------------------------------------------------------------------------------------


def corrupted(reply, at=1):
    message = decode(reply)[1]
    shares = list(message.shares)
    shares[at] = bytes([shares[at][0] ^ 1]) + shares[at][1:]
    return dataclasses.replace(message, shares=tuple(shares))


def test_s12_a_wrong_share_names_its_sender_and_is_left_out():
    lab = Lab(5).run_to(Phase.UNMASK)
    refused(lab, 10, lab.signed(corrupted(lab.reply(10))), "another share than client 20 dealt")
    for i in lab.ids[1:]:
        lab.answer(i)
    lab.server.advance()
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


def with_a_wrong_share(lab):
    lab.run_to(Phase.UNMASK)
    replies = {i: lab.reply(i) for i in lab.ids}
    replies[10] = lab.signed(corrupted(replies[10]))
    for i, reply in replies.items():
        lab.server.receive(i, reply)
    lab.server.advance()
    return lab.server.result().total


def test_s12_mutant_without_commitments_has_no_sum_instead_of_a_wrong_one(monkeypatch):
    monkeypatch.setattr(secagg.roles.server.admission, "check_shares", lambda *_: None)
    with pytest.raises(Aborted, match="client 20") as caught:
        with_a_wrong_share(Lab(5))
    assert caught.value.reason is AbortReason.BAD_DEALER


def test_s12_mutant_without_both_checks_is_wrong(monkeypatch):
    lab = Lab(5)
    lab.run_to(Phase.MASKED_INPUT)
    monkeypatch.setattr(secagg.roles.server.admission, "check_shares", lambda *_: None)
    monkeypatch.setattr("secagg.verdicts.evidence.Dealing.is_of", lambda *_: True)
    assert not np.array_equal(with_a_wrong_share(lab), lab.total(lab.ids))


@pytest.mark.parametrize("where", ["own share", "no share", "fewer", "more", "none of others"])
def test_s12_malformed_unmask_shares(where):
    lab = Lab(5).run_to(Phase.UNMASK)
    message = decode(lab.reply(10))[1]
    own_flagged = message.shares[0][:32] + b"\xff\xff"
    data = {
        "own share": dataclasses.replace(message, shares=(own_flagged, *message.shares[1:])),
        "no share": dataclasses.replace(message, shares=(*message.shares[:-1], own_flagged)),
        "fewer": UnmaskShares(10, b"", message.shares[:-1]),
        "more": UnmaskShares(10, b"", (*message.shares, message.shares[0])),
        "none of others": UnmaskShares(10, b"", message.shares[:1]),
    }[where]
    refused(lab, 10, lab.signed(data), "share|places")


def test_s12_fewer_shares_than_the_threshold_give_no_sum():
    lab = Lab(5).run_to(Phase.UNMASK)
    for i in lab.ids[: lab.params.threshold - 1]:
        lab.answer(i)
    with pytest.raises(Aborted) as caught:
        lab.server.advance()
    assert caught.value.reason is AbortReason.TOO_FEW_UNMASK_SHARES
    with pytest.raises(LocalProtocolError):
        lab.server.result()


def bad_dealer(lab, *, count):
    """Client 10 seals nothing that its first `count` neighbours can open."""
    lab.run_to(Phase.SHARE_KEYS)
    for i in lab.ids:
        reply = lab.reply(i)
        if i == 10:
            message = decode(reply)[1]
            junk = tuple(bytes(len(e)) for e in message.envelopes[:count])
            forged = dataclasses.replace(message, envelopes=junk + message.envelopes[count:])
            reply = lab.signed(forged)
        lab.server.receive(i, reply)
    lab.next_messages = lab.server.advance()
    return lab.run_to(Phase.DONE)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_s12_shares_that_do_not_open_cost_their_dealer(count):
    """One conflict: the tie goes against the lower position; many: the dealer alone leaves."""
    lab = bad_dealer(Lab(7, dropout_rate=0.3), count=count)
    survivors = lab.server.result().survivors
    assert survivors == tuple(i for i in lab.ids if i != 10)
    assert np.array_equal(lab.server.result().total, lab.total(survivors))


def test_s12_mutant_that_keeps_clients_at_odds_gets_no_inputs(monkeypatch):
    monkeypatch.setattr(secagg.roles.server.blame, "smallest_cover", lambda _: set())
    with pytest.raises(RemoteProtocolError, match="never reached"):
        bad_dealer(Lab(7, dropout_rate=0.3), count=2)


# Inputs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bits": 9, "packed": bytes(5)}, "another length or ring"),
        ({"length": 3, "packed": bytes(6)}, "another length or ring"),
        ({"length": 3}, "malformed"),
        ({"partner_signature": bytes(64)}, "where nobody is shown"),
        ({"client_id": 20}, "another client's name"),
        ({"packed": bytes(2)}, "malformed"),
    ],
)
def test_o1_inputs_of_another_shape(change, match):
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    honest = lab.reply(10)
    message = decode(honest)[1]
    own = dataclasses.replace(message, **change)
    refused(lab, 10, lab.signed(own) if own.client_id == 10 else lab.encode(own), match)
    lab.server.receive(10, honest)


@pytest.mark.parametrize(
    ("opened", "match"),
    [((True,) * 5, "dealt none"), ((False,) * 5, "too few"), ((True,) * 4, "places")],
)
def test_receipts_for_shares_that_cannot_be(opened, match):
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.CHECK_SHARES, silent={60: Phase.SHARE_KEYS})
    honest = decode(lab.reply(10))[1]
    assert honest.opened == (True, True, True, True, False)
    refused(lab, 10, lab.signed(dataclasses.replace(honest, opened=opened)), match)


def test_shares_with_a_signature_that_does_not_hold():
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    message = decode(reply := lab.reply(10))[1]
    other = dataclasses.replace(message, seed_commitment=bytes(32))
    refused(lab, 10, lab.encode(other), "signature")
    swapped = dataclasses.replace(
        message, envelopes=(message.envelopes[1], message.envelopes[0], *message.envelopes[2:])
    )
    refused(lab, 10, lab.encode(swapped), "signature")
    lab.server.receive(10, reply)


def drop_with_another_key(lab):
    """Client 20 deals shares of another mask key than it advertised, and drops."""
    lab.run_to(Phase.SHARE_KEYS)
    lab.clients[20]._secrets.mask = AgreementKey.generate()
    lab.run_to(Phase.DONE, silent={20: Phase.MASKED_INPUT})
    return lab.server.result()


def test_s12_a_mask_key_that_was_not_advertised_gives_no_sum():
    with pytest.raises(Aborted, match="mask key of client 20") as caught:
        drop_with_another_key(Lab(5))
    assert caught.value.reason is AbortReason.BAD_DEALER
    assert caught.value.culprit == 20


def test_s12_mutant_that_trusts_the_rebuilt_key_is_wrong(monkeypatch):
    lab = Lab(5)
    monkeypatch.setattr("secagg.verdicts.evidence.Dealing.is_of", lambda *_: True)
    result = drop_with_another_key(lab)
    assert not np.array_equal(result.total, lab.total(result.survivors))


def test_a_signature_over_other_survivors():
    lab = Lab(5).run_to(Phase.CONSISTENCY)
    message = decode(lab.reply(10))[1]
    other = lab.identities[10].sign(b"other survivors")
    refused(
        lab,
        10,
        lab.encode(dataclasses.replace(message, signature=other)),
        "signature does not hold",
    )


ENVELOPES_START = HEADER_SIZE + 104


# O1: bytes from hell ---------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_o1_damaged_messages_name_their_sender(data):
    phase = data.draw(st.sampled_from(list(SERVER_AWAITS)))
    lab = Lab(4).run_to(phase)
    reply = lab.reply(10)
    at = data.draw(st.integers(0, len(reply) - 1))
    cut = data.draw(st.booleans())
    bad = (
        reply[:at]
        if cut
        else reply[:at] + bytes([reply[at] ^ data.draw(st.integers(1, 255))]) + reply[at + 1 :]
    )
    try:
        lab.server.receive(10, bad)
    except RemoteProtocolError as error:
        assert error.culprit == 10  # noqa: PT017 - either outcome may be the right one
    else:
        # only what the server cannot check may pass: the sealed part of an envelope, for its holder
        assert isinstance(decode(bad)[1], ShareKeys)
        assert (at - ENVELOPES_START) % ENVELOPE_SIZE >= COMMITMENTS_SIZE


def test_foreign_messages_are_not_of_this_session():
    one, other = Lab(5), Lab(5)
    refused(one, 10, other.clients[10].start(), "another session")
    assert encode(decode(one.server.offer())[1], one.session) == one.server.offer()
