"""Offers that a client must not take, and cohorts that shrink below what was promised."""

from __future__ import annotations

import dataclasses

import pytest

from secagg import (
    Aborted,
    AbortReason,
    Client,
    Directory,
    Identity,
    LocalProtocolError,
    Params,
    Phase,
    Policy,
    Server,
    TrustServerDirectory,
    UnsafeParametersError,
)
from secagg.crypto.keys import AgreementKey
from secagg.wire.codec import encode
from secagg.wire.messages import Offer
from tests.secagg.support.lab import CONTEXT, Lab

WEAK = [
    {"threshold": 1},
    {"threshold": 15},
    {"threshold": 31},
    {"degree": 13},
    {"degree": 4},
    {"min_survivors": 2},
    {"ring_bits": 9},
    {"n_clients": 2},
    {"n_clients": 10_001},
]


def weak_offer(change):
    params = Params.for_cohort(30, 4, max_abs=100)
    fields = {f.name: getattr(params, f.name) for f in dataclasses.fields(Params)} | change
    forged = object.__new__(Params)
    for name, value in fields.items():
        object.__setattr__(forged, name, value)
    offer = Offer(forged, bytes(32))
    return encode(offer, offer.session(CONTEXT))


def join(offer, **kwargs):
    identity = Identity.generate()
    return Client.from_offer(
        offer, 1, identity, Directory({1: identity.public}), context=CONTEXT, **kwargs
    )


@pytest.mark.parametrize("change", WEAK)
def test_s4_weak_parameters_are_refused_before_any_key_is_made(change, monkeypatch):
    monkeypatch.setattr(AgreementKey, "generate", lambda: pytest.fail("a key was made"))
    with pytest.raises(UnsafeParametersError):
        join(weak_offer(change))


@pytest.mark.parametrize("change", WEAK)
def test_s4_mutant_joins(change, monkeypatch):
    monkeypatch.setattr(Params, "__post_init__", lambda _: None)
    monkeypatch.setattr("secagg.params.params._check_domain", lambda *fields: fields)
    monkeypatch.setattr("secagg.params.params.feasible", lambda *_: True)
    monkeypatch.setattr(Policy, "check", lambda *_: None)
    assert join(weak_offer(change)).params is not None


def test_s4_a_clients_own_floors():
    def offer(**rates):
        params = Params.for_cohort(30, 4, max_abs=9, **rates)
        return Server(params, context=CONTEXT, directory=TrustServerDirectory()).offer()

    for policy in (
        Policy(min_survivors=29),
        Policy(min_corrupt_rate=0.2),
        Policy(max_clients=20),
    ):
        with pytest.raises(UnsafeParametersError, match="offered"):
            join(offer(), policy=policy)
    with pytest.raises(UnsafeParametersError, match="lying server"):
        join(offer(threat_model="semi-honest"))
    with pytest.raises(UnsafeParametersError, match="three"):
        Policy(min_survivors=2)


@pytest.mark.parametrize(
    "phase", [Phase.ADVERTISE_KEYS, Phase.SHARE_KEYS, Phase.CHECK_SHARES, Phase.MASKED_INPUT]
)
def test_s5_too_few_survivors_give_no_sum(phase):
    lab = Lab(5)
    reason = {
        Phase.ADVERTISE_KEYS: AbortReason.TOO_FEW_KEYS,
        Phase.SHARE_KEYS: AbortReason.TOO_FEW_SHARES,
        Phase.CHECK_SHARES: AbortReason.TOO_FEW_SHARES,
        Phase.MASKED_INPUT: AbortReason.TOO_FEW_SURVIVORS,
    }[phase]
    with pytest.raises(Aborted) as caught:
        lab.run_to(Phase.DONE, silent={10: phase, 20: phase})
    assert caught.value.reason is reason
    assert lab.server.phase is Phase.ABORTED
    with pytest.raises(LocalProtocolError):
        lab.server.result()
