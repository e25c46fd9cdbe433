"""V4, the end of it: what a client that spoils a sum can do, with a key outside its range or without one.

docs/protocol.md, "A client that spoils a sum", says why nothing checks the range of keys.  These tests state
its steps: a wide key gives the exact sum or none, as a ciphertext without a key gives none, and the server
names nobody in either case.
"""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.sums.one_shot import OneShot
from fedavg.sums.sides.others import MemoryJournal
from he import HeError
from he.onetime import client as encryption
from he.onetime import packing
from he.onetime import server as opening
from secagg.committee import Contributor
from tests.fedavg.contract.sums import IDENTITIES, spec_for
from tests.hostile.mutants import FOUND, without

SUMS = OneShot(committee=6, corrupt_members=1, absent_members=1, dropout_rate=0.0)
BAD = 3
VECTORS = {client: np.arange(5000) % 97 - client for client in range(1, 9)}


def scaled(factor):
    """A key that is a valid polynomial of shares, with coefficients up to 21 · factor."""

    def spoil(monkeypatch):
        drawn, first = encryption.sample_binomials, [True]

        def wide(count):
            found = drawn(count)
            if not first:
                return found
            first.clear()  # the key is drawn before the errors
            return found.astype(np.int64) * factor

        monkeypatch.setattr(encryption, "sample_binomials", wide)
        # Only a client's own copy of the package refuses such a key.
        beyond = "bool(((values < -bound) | (values > bound)).any())"
        without(monkeypatch, Contributor, "contribute", beyond)

    return spoil


def no_encryption(monkeypatch):
    """A proper key, shared as it should be, beside random bytes in place of its ciphertext."""
    drawn, calls = encryption.sample_binomials, [0]

    def rubbish(count):
        calls[0] += 1
        if calls[0] == 1:
            return drawn(count)
        return np.random.default_rng(calls[0]).integers(-(2**31), 2**31, count)

    monkeypatch.setattr(encryption, "sample_binomials", rubbish)


def carried_out(spoil):
    """One sum in which client 3 does as it likes; the server's session, and the sum or None."""
    spec = spec_for(VECTORS, max_abs=128)
    given = SUMS.provision(spec, {client: IDENTITIES[client].public for client in VECTORS})
    server = SUMS.server_side(given.server).session(spec, sorted(VECTORS))
    side = SUMS.client_side(given.clients)
    members = {
        at: SUMS.opener_side(material).session(spec, MemoryJournal())
        for at, material in given.openers.items()
    }
    for client, (offer,) in server.open().items():
        session = side.session(spec, client, IDENTITIES[client], offer)
        session.set_input(VECTORS[client])
        with pytest.MonkeyPatch.context() as patch:
            if client == BAD:
                spoil(patch)
            messages = session.start()
        for message in messages:
            server.receive(client, message)  # all of it is accepted
    outgoing = server.advance()
    try:
        while outgoing:
            for at, messages in outgoing.items():
                for reply in members[at].receive(messages):
                    server.receive(at, reply)
            outgoing = server.advance()
    except HeError:
        return server, None
    return server, server.result().total


@pytest.mark.parametrize("factor", [-3, 2, 6])
def test_v4_a_wide_key_whose_sum_is_in_range_leaves_the_exact_sum(factor):
    server, total = carried_out(scaled(factor))
    assert np.array_equal(total, sum(VECTORS.values()))
    assert server.convictions == ()


WAYS = [scaled(50), scaled(2000), no_encryption]


@pytest.mark.parametrize("spoil", WAYS, ids=["wide key", "wider", "no ciphertext"])
def test_v4_a_spoiled_sum_is_seen_and_nobody_is_named_for_either_way(spoil):
    """The limit, exactly: a check of keys would take the first way, and leave the second as it is."""
    server, total = carried_out(spoil)
    assert total is None, "a spoiled sum was released"
    assert server.convictions == ()


def test_v4_mutant_that_takes_any_noise_releases_rubbish(monkeypatch):
    """Without the check of the noise, and without that of the integers, which sees most of it too."""
    monkeypatch.setattr(packing, "KEY_BOUND", 1 << 60)
    wide = packing.opened

    def unlimited(limbs, layout, *, contributors, limit):
        del limit
        return wide(limbs, layout, contributors=contributors, limit=1 << 60)

    monkeypatch.setattr(opening, "opened", unlimited)
    with pytest.raises(FOUND, match="a spoiled sum was released"):
        test_v4_a_spoiled_sum_is_seen_and_nobody_is_named_for_either_way(no_encryption)


def suspects(rounds, spoilers):
    """The clients that were in all void rounds; a round is void if a spoiler was in it and wanted it so."""
    left = None
    for cohort, void in rounds:
        assert not void or spoilers & cohort
        if void:
            left = set(cohort) if left is None else left & cohort
    return left


def test_v4_one_spoiler_is_in_all_void_rounds_and_two_may_be_in_none():
    """What an operator can do: intersect the sets of void rounds, if there is one spoiler."""
    rng = np.random.default_rng(7)
    cohorts = [set(rng.choice(1000, 100, replace=False).tolist()) for _ in range(400)]
    rounds = [(cohort, 5 in cohort) for cohort in cohorts]
    few = [one for one in rounds if one[1]][:8]
    assert suspects(few, {5}) == {5}
    both = [(cohort, bool({5, 6} & cohort)) for cohort in cohorts]
    assert suspects(both, {5, 6}) == set()
