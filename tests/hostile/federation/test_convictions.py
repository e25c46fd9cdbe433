"""S16 in a run: a client that deals wrong secrets costs one round, and is asked no more."""

from __future__ import annotations

import contextlib

import pytest

import secagg.roles.client.dealing
from fedavg.federation.checkpoint import RunJournal
from fedavg.federation.federation import Federation
from fedavg.protocol.transcript import Transcript
from secagg import Client, Conviction, Directory, Offence, check_conviction
from tests.e2e.small import SUMS, clients, federation
from tests.hostile.mutants import FOUND, without

SICK = 7
MASKED = ["secagg", "encrypted-secagg"]


@pytest.fixture
def bad_dealer(monkeypatch):
    """Client 7 deals shares of zeros in the place of its secrets."""
    real, share = secagg.roles.client.dealing.deal, Client._share_keys

    def bad(self, *arguments):
        with contextlib.ExitStack() as inside:
            if self._client_id == SICK:
                patch = inside.enter_context(pytest.MonkeyPatch.context())
                zeros = (bytes(32), bytes(32))
                patch.setattr(
                    secagg.roles.client.dealing, "deal", lambda _, points, t: real(zeros, points, t)
                )
            return share(self, *arguments)

    monkeypatch.setattr(Client, "_share_keys", bad)


def asked(transcript):
    """Round → clients that got a message in it."""
    out = {}
    for entry in transcript:
        if entry.direction == "down":
            out.setdefault(entry.round, set()).add(entry.party)
    return out


@pytest.mark.usefixtures("bad_dealer")
@pytest.mark.parametrize("name", MASKED)
def test_s16_a_bad_dealer_is_named_once_and_asked_no_more(name):
    transcript = Transcript()
    model = federation(SUMS[name], transcript=transcript)
    first, *rest = model.run(3)
    assert first.skipped is not None
    assert set(first.convicted) == {SICK}
    for result in rest:
        assert (result.skipped, result.survivors, dict(result.convicted)) == (None, 19, {})
    assert SICK in asked(transcript)[0]
    assert all(SICK not in asked(transcript)[index] for index in (1, 2))


@pytest.mark.parametrize("name", MASKED)
def test_s16_mutant_that_asks_it_again_has_no_model(name, bad_dealer, monkeypatch):
    without(
        monkeypatch, Federation, "_asked", "self._spent | self._convicted.keys()", "self._spent"
    )
    with pytest.raises(FOUND):
        test_s16_a_bad_dealer_is_named_once_and_asked_no_more(name)


@pytest.mark.usefixtures("bad_dealer")
def test_s16_the_evidence_reaches_the_operator(monkeypatch):
    """Anyone who knows the identities and the sum's context can check it."""
    known = []
    make = Directory.__init__
    monkeypatch.setattr(
        Directory, "__init__", lambda self, ids: known.append(self) or make(self, ids)
    )
    model = federation(SUMS["secagg"])
    next(model.run(1))
    (found,) = model.convictions
    conviction = Conviction(found.client, Offence.BAD_DEALER, found.evidence)
    check_conviction(conviction, context=found.context, directory=known[0])


@pytest.mark.usefixtures("bad_dealer")
def test_s16_a_conviction_outlives_a_restart(tmp_path):
    first = federation(SUMS["secagg"], journal=RunJournal(tmp_path))
    run = first.run(3)
    next(run)
    run.close()
    transcript = Transcript()
    second = federation(SUMS["secagg"], journal=RunJournal(tmp_path), transcript=transcript)
    results = list(second.run(3, RunJournal(tmp_path).load()))
    assert [result.survivors for result in results] == [19, 19]
    assert all(SICK not in parties for parties in asked(transcript).values())
    assert second.convictions == first.convictions


def test_s16_without_a_bad_dealer_nobody_is_left_out():
    for result in federation(SUMS["secagg"], clients=clients(6)).run(2):
        assert (result.survivors, dict(result.convicted)) == (6, {})
