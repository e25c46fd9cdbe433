"""Branches that no honest session takes: what is asked of a part out of turn, or with an impossible value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secagg import (
    Aborted,
    CapacityError,
    Client,
    Directory,
    Identity,
    LocalProtocolError,
    Params,
    Phase,
    RemoteProtocolError,
    Server,
    TrustServerDirectory,
    UnsafeParametersError,
    WireFormatError,
    simulate,
)
from secagg.crypto import keys
from secagg.crypto.ephemeral import present
from secagg.roles.server.admission import somebody
from secagg.session import state
from secagg.session.roster import Roster
from secagg.testing import deterministic_entropy
from secagg.wire.codec import Kind, encode
from secagg.wire.messages import Partners, Survivors
from secagg.wire.records import Records
from tests.secagg.support.lab import CONTEXT, Lab


def test_members_are_zeros_and_ones():
    for kind in (Partners, Survivors):
        with pytest.raises(WireFormatError, match="0 and 1"):
            encode(kind(b"\0\1\2"), bytes(32))


def test_a_roster_is_made_of_advertisements_only():
    lab = Lab(5).run_to(Phase.UNMASK)
    for message in (lab.next_messages[10], lab.server.offer()):
        with pytest.raises(WireFormatError, match="roster"):
            Roster.of(message, lab.params, lab.session)


def test_what_is_gone_is_not_used():
    assert present(0) == 0
    with pytest.raises(LocalProtocolError, match="erased"):
        present(None)


def test_an_offer_is_the_only_way_in():
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    with pytest.raises(RemoteProtocolError, match="another message than an offer"):
        lab.join(10, offer=lab.next_messages[10])


def test_a_directory_that_does_not_hold_this_identity():
    server = Server(
        Params.for_cohort(3, 2, max_abs=9), context=CONTEXT, directory=TrustServerDirectory()
    )
    me = Identity.generate()
    for known in (Directory({}), Directory({5: Identity.generate().public})):
        with pytest.raises(LocalProtocolError, match="client 5"):
            Client.from_offer(server.offer(), 5, me, known, context=CONTEXT)
    Client.from_offer(server.offer(), 5, me, Directory({5: me.public}), context=CONTEXT)


def test_identities_that_are_no_points_sign_nothing():
    directory = Directory({})
    assert not directory.verify(b"\xff" * 32, bytes(64), b"")
    assert not directory.verify(bytes(31), bytes(64), b"")


def test_what_a_directory_remembers_is_bounded(monkeypatch):
    monkeypatch.setattr(keys, "_MAX_REMEMBERED", 3)
    identity, directory = Identity.generate(), Directory({})
    for number in range(10):
        message = bytes([number])
        signature = identity.sign(message)
        for _ in range(2):
            assert directory.verify(identity.public, signature, message)
        assert len(directory._held) <= 3


def test_a_mask_key_of_low_order_is_its_clients_fault(monkeypatch):
    """If the server does not find the fault, the clients find it before they mask anything."""
    monkeypatch.setattr("secagg.roles.server.admission.acceptable_agreement_key", lambda _: True)
    lab = Lab(5)
    for i in lab.ids:
        sent = lab.clients[i].start()
        if i == 50:
            own = replace(lab.clients[i]._own, mask_key=bytes(32))
            own = replace(own, signature=lab.identities[i].sign(own.signed(lab.session)))
            lab.clients[i]._own = own
            sent = lab.encode(own)
        lab.server.receive(i, sent)
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.MASKED_INPUT)
    for i in lab.ids[:-1]:
        with pytest.raises(RemoteProtocolError, match="mask key of low order") as caught:
            lab.reply(i)
        assert caught.value.culprit == 50
        assert lab.clients[i]._secrets is None


def test_a_bound_below_zero():
    with pytest.raises(CapacityError, match="negative"):
        Params.for_cohort(5, 3, max_abs=-1)


def test_the_smallest_cohort_when_all_can():
    assert Params.smallest_cohort(dropout_rate=0.0, corrupt_rate=0.0) == 3


def test_no_cohort_is_large_enough_for_quorums_of_neighbours():
    with pytest.raises(UnsafeParametersError, match="up to 10000 is"):
        Params.smallest_cohort(dropout_rate=0.3, corrupt_rate=0.3, threat_model="malicious-local")


def test_a_sum_from_outside_is_of_somebody():
    with pytest.raises(LocalProtocolError, match="at least one"):
        somebody({})
    assert somebody({1: b"", 2: b""}) == {1: b"", 2: b""}


def test_records_are_whole_and_equal_by_their_items():
    with pytest.raises(ValueError, match="whole number"):
        Records(b"abc", 2, bytes)
    two = Records(b"abcd", 2, bytes)
    assert two[:1] == (b"ab",)
    assert hash(two) == hash((b"ab", b"cd"))
    assert list(two.column(1, 2)) == [b"b", b"d"]
    assert list(Records(b"", 2, bytes)) == []
    assert two == (b"ab", b"cd")
    assert two != (b"ab",)
    assert two != 5


def test_the_tables_alone_do_not_decide(monkeypatch):
    """A mistake in the table of awaited kinds ends in a refusal, on both sides."""
    lab = Lab(5).run_to(Phase.SHARE_KEYS)
    monkeypatch.setitem(state.CLIENT_AWAITS, Phase.SHARE_KEYS, Kind.OFFER)
    monkeypatch.setitem(state.SERVER_AWAITS, Phase.SHARE_KEYS, Kind.ROSTER)
    with pytest.raises(RemoteProtocolError, match="sent OFFER"):
        lab.clients[10].receive(lab.server.offer())
    monkeypatch.setattr("secagg.roles.server.server.getattr", lambda *_: 20, raising=False)
    with pytest.raises(RemoteProtocolError, match="server's"):
        lab.server.receive(20, lab.next_messages[20])


def test_a_server_without_a_roster_or_total_says_so():
    server = Server(
        Params.for_cohort(3, 2, max_abs=9), context=CONTEXT, directory=TrustServerDirectory()
    )
    with pytest.raises(LocalProtocolError, match="roster"):
        server._tally.known()
    with pytest.raises(LocalProtocolError, match="no partners"):
        server._tally._sum()
    with pytest.raises(LocalProtocolError, match="no result"):
        server.result()


def test_a_client_whose_neighbours_fell_silent_falls_silent_in_a_simulation():
    """Twelve of forty go; those with too few left around them give up, and no mask stays half removed."""
    rates = {"dropout_rate": 0.1, "corrupt_rate": 0.0, "threat_model": "malicious-local"}
    params = Params.for_cohort(40, 2, max_abs=5, **rates)
    inputs = {i: np.full(2, i % 5, dtype=np.int64) for i in range(40)}
    gone, heard = {Phase.MASKED_INPUT: set(range(12))}, []
    with deterministic_entropy(b"seed 3"), pytest.raises(Aborted, match="too few shares came back"):
        simulate(inputs, params, drop=gone, transcript=heard)
    spoke = {
        phase: {client for at, client, _ in heard if at == phase}
        for phase in ("masked_input", "consistency", "unmask")
    }
    assert spoke["masked_input"] == set(range(12, 40))
    assert spoke["unmask"] <= spoke["consistency"] < spoke["masked_input"]
