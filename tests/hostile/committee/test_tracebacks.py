"""S20 for sums by a committee: no key, share or input is in reach of the frames of an exception."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import secagg.guards.calls
from secagg import Identity, InternalError, SecAggError
from secagg.committee import Contributor, Member, SealingKey
from secagg.crypto.keys import AgreementKey, Secret
from tests.hostile.leftovers import Leftovers, passed_on
from tests.hostile.mutants import FOUND
from tests.secagg.committee.support.lab import DIGEST, Facts, Lab, Phase, small

LEFTOVERS = Leftovers(
    secagg, SecAggError, (Contributor, Member, SealingKey, Identity, Secret, AgreementKey)
)
INPUT = np.array([424, 717, 313, 999, 555])
PHASES = [Phase.REPORT, Phase.SIGN, Phase.ANSWER]


@functools.cache
def lab_at(phase):
    """Four members and three clients with one input, before the members' messages of a phase."""
    lab = Lab(small(4, 1, 0, d=5, n=3, max_abs=1000))
    lab.inputs = dict.fromkeys(lab.people, INPUT)
    return lab, lab.until(phase) if phase is not Phase.CONTRIBUTE else {}


def contributing():
    lab, _ = lab_at(Phase.CONTRIBUTE)
    client = lab.contributor(0)

    def call():
        return client.contribute(INPUT, message_digest=DIGEST)

    return call, client, [lab.people[0].private_bytes()]


def replying(phase):
    lab, messages = lab_at(phase)
    held, signed = dict(lab.members[2]._held), lab.members[2]._signed
    member = lab.member(2, journal=Facts())
    member._held, member._signed = held, signed
    secrets = [lab.identities[2].private_bytes(), lab.keys[2].private_bytes()]
    secrets += [share[:, :3].tobytes() for share in held.values()]
    return lambda: member.receive(messages[2]), member, secrets


CALLS = {"contribute": contributing} | {
    phase.value: functools.partial(replying, phase) for phase in PHASES
}


@pytest.mark.parametrize("name", CALLS)
def test_s20_wherever_a_call_of_a_committee_fails_nothing_is_left(name):
    """A client's contribution and a member's three replies: each line in turn."""
    count = 0
    for place, _, error, secrets in LEFTOVERS.failures(CALLS[name]):
        assert isinstance(error, SecAggError), place
        assert not LEFTOVERS.left_behind(error, secrets, INPUT), place
        count += 1
    assert count > 50


@pytest.mark.parametrize("name", CALLS)
def test_s20_mutant_that_keeps_its_frames_is_found(name, monkeypatch):
    monkeypatch.setattr(secagg.guards.calls, "_empty", lambda *_: None)
    monkeypatch.setattr(secagg.guards.calls, "_named", passed_on(InternalError))
    with pytest.raises(FOUND):
        test_s20_wherever_a_call_of_a_committee_fails_nothing_is_left(name)
