"""V2, V11: erased and copied keys, identities under which anybody can sign; each with a mutant."""

from __future__ import annotations

import struct

import pytest

from secagg import Aborted, Directory, Identity, LocalProtocolError
from secagg.committee import Committee, Member, SealingKey
from secagg.committee.sealing import _CARD, _HEAD, _carded
from secagg.crypto import keys as crypto
from tests.hostile.mutants import FOUND, without
from tests.secagg.committee.support.lab import Lab, Phase

PHASES = [Phase.REPORT, Phase.SIGN, Phase.ANSWER]


def missed(test, *arguments):
    with pytest.raises(FOUND):
        test(*arguments)


# Erased keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_v2_a_member_whose_key_was_erased_does_nothing_more(phase):
    """Otherwise a member that has reported would still open the sum of an epoch that is over."""
    lab = Lab()
    message = lab.until(phase)[3]
    lab.keys[3].erase()
    assert lab.keys[3].erased
    with pytest.raises(LocalProtocolError, match="was erased"):
        lab.members[3].receive(message)
    assert not lab.members[3]._held
    assert len(lab.journals[3].facts) == PHASES.index(phase) - (phase is not Phase.REPORT)


@pytest.mark.parametrize("phase", PHASES[1:])
def test_v2_mutant_that_answers_without_a_key(phase, monkeypatch):
    without(monkeypatch, Member, "_check_open", "self._sealing_key.erased")
    missed(test_v2_a_member_whose_key_was_erased_does_nothing_more, phase)


@pytest.mark.parametrize("phase", PHASES)
def test_v2_a_closed_member_holds_nothing_and_does_nothing_more(phase):
    lab = Lab()
    message = lab.until(phase)[3]
    lab.members[3].close()
    lab.members[3].close()
    assert not lab.members[3]._held
    with pytest.raises(LocalProtocolError, match="is closed"):
        lab.members[3].receive(message)


@pytest.mark.parametrize("phase", PHASES)
def test_v2_mutant_that_is_never_closed(phase, monkeypatch):
    without(monkeypatch, Member, "_check_open", "self._closed")
    with pytest.raises((*FOUND, LocalProtocolError)):
        test_v2_a_closed_member_holds_nothing_and_does_nothing_more(phase)


def test_v2_after_an_aborted_session_a_member_holds_shares_until_it_is_closed():
    lab = Lab()
    lab.ask(lab.until(Phase.REPORT), silent=(3, 4, 5, 6))
    with pytest.raises(Aborted):
        lab.server.advance()
    assert lab.members[0]._held
    lab.members[0].close()
    assert not lab.members[0]._held


# Copied keys ------------------------------------------------------------------------------------------


def test_v11_both_members_with_one_sealing_key_are_named():
    who = {j: Identity.generate() for j in range(5)}
    keys = {j: SealingKey.generate(who[j], j, epoch=1) for j in range(5)}
    public = keys[2].public
    copied = _CARD.pack(*_HEAD, 4, 1, public, who[4].sign(_carded(4, 1, public)))
    known = Directory({j: it.public for j, it in who.items()})
    with pytest.raises(LocalProtocolError, match="members 2 and 4 have one sealing key"):
        Committee(known, [*(keys[j].card for j in range(4)), copied], epoch=1)


def test_v11_mutant_that_takes_copied_keys(monkeypatch):
    without(monkeypatch, Committee, "_check_distinct", "key in owners")
    missed(test_v11_both_members_with_one_sealing_key_are_named)


# Identities -------------------------------------------------------------------------------------------

FIELD = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
LOW = [
    (y | sign << 255).to_bytes(32, "little")
    for y in (0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8, FIELD, FIELD + 1)
    for sign in (0, 1)
]


@pytest.mark.parametrize("identity", LOW)
def test_v11_an_identity_under_which_anybody_can_sign_is_refused(identity):
    with pytest.raises(LocalProtocolError, match="client 7's identity is not canonical or of low"):
        Directory({7: identity})
    forged = (1).to_bytes(32, "little") + bytes(32)  # R = the neutral point, S = 0
    assert not any(Directory({}).verify(identity, forged, struct.pack("<I", i)) for i in range(16))


@pytest.mark.parametrize("identity", LOW[2:4])
def test_v11_mutant_that_takes_any_identity(identity, monkeypatch):
    monkeypatch.setattr(crypto, "acceptable_identity", lambda _: True)
    missed(test_v11_an_identity_under_which_anybody_can_sign_is_refused, identity)
    forged = (1).to_bytes(32, "little") + bytes(32)
    if identity == LOW[2]:  # the neutral point itself: one signature for every message
        assert all(Directory({7: identity}).verify(identity, forged, bytes([i])) for i in range(4))
