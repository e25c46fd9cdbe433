"""The server draws the cohort: what it gains by drawing its friends, and how far a client lets it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from secagg import (
    Client,
    Directory,
    Identity,
    Params,
    Phase,
    Policy,
    Server,
    UnsafeParametersError,
)
from secagg.crypto.keys import AgreementKey
from tests.hostile.mutants import FOUND, without

CONTEXT = b"round 1"
SECRET = np.array([123, -456])
VICTIM = 417


@pytest.fixture(scope="module")
def thousand():
    """A directory of a thousand clients, and their keys."""
    identities = {i: Identity.generate() for i in range(1000)}
    return identities, Directory({i: identity.public for i, identity in identities.items()})


def offered(n, directory, **rates):
    params = Params.for_cohort(n, 2, max_abs=1000, **rates)
    return Server(params, context=CONTEXT, directory=directory)


def joined(server, client_id, thousand, **policy):
    identities, directory = thousand
    identity = Identity.from_private_bytes(identities[client_id].private_bytes())
    offer = server.offer()
    return Client.from_offer(
        offer, client_id, identity, directory, context=CONTEXT, policy=Policy(**policy)
    )


def learnt(thousand, friends, **policy):
    """What a server learns that asks the victim and two friends of its own, all rules kept."""
    server = offered(3, thousand[1], dropout_rate=0.0, corrupt_rate=0.0)
    clients = {i: joined(server, i, thousand, **policy) for i in (VICTIM, *friends)}
    for i, client in clients.items():
        client.set_input(SECRET if i == VICTIM else np.zeros(2, np.int64))
    pending = dict.fromkeys(clients)
    while server.phase is not Phase.DONE:
        for i, message in pending.items():
            reply = clients[i].start() if message is None else clients[i].receive(message)
            if reply:
                server.receive(i, reply)
        pending = dict(server.advance())
    return server.result().total


def test_s18_three_picked_of_a_thousand_are_refused_before_any_key_is_made(thousand, monkeypatch):
    monkeypatch.setattr(AgreementKey, "generate", lambda: pytest.fail("a key was made"))
    with pytest.raises(UnsafeParametersError, match="0 colluders among 3 clients.*of the 1000"):
        learnt(thousand, (998, 999))


def test_s18_mutant_without_the_floor_reads_the_victim(thousand, monkeypatch):
    without(monkeypatch, Policy, "check", "directory.pinned")
    assert np.array_equal(learnt(thousand, (998, 999)), SECRET)
    with pytest.raises(FOUND):
        test_s18_three_picked_of_a_thousand_are_refused_before_any_key_is_made(
            thousand, monkeypatch
        )


def test_s18_who_says_so_by_name_may_be_picked(thousand):
    """The limit, as it is: a client that trusts the draw of a server that lies is read."""
    trusting = {"directory_corrupt_rate": 0.0, "min_directory_share": 0.0}
    assert np.array_equal(learnt(thousand, (998, 999), **trusting), SECRET)


@pytest.mark.parametrize(
    ("n", "rates", "match"),
    [
        (3, {"dropout_rate": 0.0, "corrupt_rate": 0.0}, "stands 0 colluders among 3"),
        (999, {"dropout_rate": 0.1, "corrupt_rate": 0.0}, "stands 0 colluders among 999"),
        (500, {"dropout_rate": 0.1, "corrupt_rate": 0.1}, "stands 50 colluders among 500"),
        # as many colluders as may exist, and next to nobody else: the sum hides among few
        (
            110,
            {"dropout_rate": 0.0, "corrupt_rate": 0.95},
            "over 110 inputs or more.*200 are asked",
        ),
        (
            199,
            {"dropout_rate": 0.0, "corrupt_rate": 0.55},
            "over 199 inputs or more.*200 are asked",
        ),
    ],
)
def test_s18_cohorts_that_a_server_could_draw_for_itself(n, rates, match, thousand):
    with pytest.raises(UnsafeParametersError, match=match):
        joined(offered(n, thousand[1], **rates), VICTIM, thousand)


@pytest.mark.parametrize(
    ("check", "n", "rates", "match"),
    [
        ("params.colluders < corrupt", 999, {"dropout_rate": 0.1, "corrupt_rate": 0.0}, "stands 0"),
        (
            "params.min_survivors < least",
            110,
            {"dropout_rate": 0.0, "corrupt_rate": 0.95},
            "are asked",
        ),
    ],
)
def test_s18_mutants_of_each_floor(check, n, rates, match, thousand, monkeypatch):
    without(monkeypatch, Policy, "_check_draw", check)
    with pytest.raises(FOUND):
        test_s18_cohorts_that_a_server_could_draw_for_itself(n, rates, match, thousand)


def test_s18_robust_cohorts_join_under_the_defaults(thousand):
    for n, corrupt in ((1000, 0.1), (500, 0.2), (250, 0.4)):
        server = offered(n, thousand[1], dropout_rate=0.1, corrupt_rate=corrupt)
        assert joined(server, VICTIM, thousand).params.colluders == 100


def test_s18_samples_of_a_large_directory_take_a_stated_share(thousand):
    """One in a hundred corrupt: a cohort of a hundred stands them all, and one of ninety does not."""
    sampled = {"directory_corrupt_rate": 0.01, "min_directory_share": 0.05}
    server = offered(100, thousand[1], dropout_rate=0.1, corrupt_rate=0.1)
    assert joined(server, VICTIM, thousand, **sampled).params.n_clients == 100
    with pytest.raises(UnsafeParametersError, match="stands 9 colluders among 90"):
        joined(offered(90, thousand[1]), VICTIM, thousand, **sampled)


@pytest.mark.parametrize("model", ["malicious", "malicious-local", "semi-honest"])
def test_s18_the_floors_hold_under_every_model(model, thousand):
    allowed = {"allow_semi_honest": True, "allow_local": True}
    server = offered(30, thousand[1], corrupt_rate=0.1, threat_model=model)
    with pytest.raises(UnsafeParametersError, match="directory_corrupt_rate"):
        joined(server, VICTIM, thousand, **allowed)


def test_s18_floors_are_shares():
    for field in ("directory_corrupt_rate", "min_directory_share", "min_corrupt_rate"):
        for share in (-0.1, 1.0, float("nan"), float("inf")):
            with pytest.raises(UnsafeParametersError, match=field):
                dataclasses.replace(Policy(), **{field: share})
    with pytest.raises(UnsafeParametersError, match="no sum of 50 is among at most 40"):
        Policy(min_survivors=50, max_clients=40)
