"""Inputs that must not show, wrap or be nonsense: tiny cohorts, full rings, floats, clear text."""

from __future__ import annotations

import numpy as np
import pytest

import secagg.crypto.shamir
import secagg.guards.checks
import secagg.params.derivation
import secagg.roles.client.client
import secagg.roles.client.masking
from secagg import (
    CapacityError,
    InternalError,
    Params,
    Phase,
    Policy,
    RemoteProtocolError,
    UnsafeParametersError,
    simulate,
)
from secagg.crypto.keys import AgreementKey
from secagg.crypto.sealed import route_keys
from secagg.crypto.shamir import deal, rebuild
from secagg.params.derivation import MODELS
from secagg.params.params import bits_for
from secagg.wire.codec import decode
from secagg.wire.envelopes import open_envelope
from secagg.wire.messages import Advertisements
from tests.e2e.scanner import contains_vector
from tests.hostile.mutants import FOUND, without
from tests.hostile.secagg.inputs.test_masks import uniformity, uploads
from tests.hostile.secagg.lying_server.test_roster import tampered
from tests.secagg.support.lab import Lab

# S5: sums that hide nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_s5_cohorts_in_which_no_input_can_hide(n, model):
    with pytest.raises(UnsafeParametersError):
        Params.for_cohort(n, 3, max_abs=9, threat_model=model)


def the_other_input():
    """What one of two clients computes of the other's input: all of it."""
    params = Params.for_cohort(2, 3, max_abs=9, dropout_rate=0.0, corrupt_rate=0.0)
    inputs = {0: np.array([1, 2, 3]), 1: np.array([-9, 0, 9])}
    return simulate(inputs, params).total - inputs[0]


def test_s5_mutant_with_two_clients_shows_each_the_other(monkeypatch):
    with pytest.raises(UnsafeParametersError):
        the_other_input()
    monkeypatch.setattr(secagg.params.derivation, "SMALLEST", 2)
    monkeypatch.setattr(secagg.params.derivation.Requirements, "__post_init__", lambda _: None)
    without(monkeypatch, Policy, "check", "params.min_survivors < self.min_survivors")
    try:
        assert the_other_input().tolist() == [-9, 0, 9]
    finally:
        secagg.params.derivation._derive.cache_clear()


# S6: keys that everybody knows the secret of ---------------------------------------------------------


def shares_to_a_low_order_key(lab):
    """What the server reads of client 10's shares when client 20's channel key is of low order."""
    lab.run_to(Phase.SHARE_KEYS)
    message = tampered("low order", lab)
    dealt = decode(lab.clients[10].receive(message))[1]
    assert isinstance(decode(message)[1], Advertisements)
    roster = secagg.roles.client.client.Roster.of(message, lab.params, lab.session)
    key, _ = route_keys(bytes(32), session=lab.session, root=roster.root, own=10, other=20)
    return open_envelope(roster, key, dealt.envelopes[0], 10, 20)


def test_s6_no_share_is_sealed_to_a_key_of_low_order():
    with pytest.raises(RemoteProtocolError, match="low order") as caught:
        shares_to_a_low_order_key(Lab(5))
    assert caught.value.culprit == 20


def test_s6_mutant_that_agrees_with_it_shows_its_shares(monkeypatch):
    agree = AgreementKey.agree

    def lenient(self, public):
        try:
            return agree(self, public)
        except ValueError:
            return bytes(32)  # what X25519 gives when nobody checks (RFC 7748, section 6.1)

    monkeypatch.setattr(AgreementKey, "agree", lenient)
    assert shares_to_a_low_order_key(Lab(5)) is not None


# S12: points of shares -------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [(0, 1), (65_537, 1), (1, 1), (1, 65_538), (-1, 1)])
def test_s12_points_that_show_a_secret_or_repeat(points):
    """Trail of Bits 2021: index 0, 0 modulo p, two that are equal modulo p."""
    shares = [bytes(34), bytes(34)]
    with pytest.raises(ValueError, match="distinct"):
        deal([bytes(32)], points, threshold=2)
    with pytest.raises(ValueError, match="distinct"):
        rebuild(points, shares)


def test_s12_mutant_deals_the_secret_itself_to_index_zero(monkeypatch):
    check = "not all(1 <= point < MODULUS for point in points) or len(set(points)) != len(points)"
    without(monkeypatch, secagg.crypto.shamir, "_check_points", check)
    with pytest.raises((*FOUND, ZeroDivisionError)):
        test_s12_points_that_show_a_secret_or_repeat((1, 1))


@pytest.mark.parametrize("size", [0, 33, 35])
def test_s12_shares_of_another_size(size):
    with pytest.raises(ValueError, match="34 bytes"):
        rebuild([1, 2], [bytes(34), bytes(size)])


# E2: a bound that is off by one ----------------------------------------------------------------------


def test_e2_mutant_masks_that_miss_the_top_value(monkeypatch):
    """The survivors of a mask drawn below 2^8 − 1 instead of 2^8: chi-squared sees it in one session."""
    rng = np.random.default_rng(2)

    def biased(total, plus, minus, **_):
        total += rng.integers(0, 2**8 - 1, total.size).astype(total.dtype)

    monkeypatch.setattr("secagg.roles.client.masking.add_masks", biased)
    monkeypatch.setattr("secagg.roles.server.unmask.add_masks", lambda *_, **__: None)
    values = uploads(0, bits=8) & 255
    assert 255 not in values
    assert uniformity(values, 0) < 1e-8


# E3: full rings --------------------------------------------------------------------------------------


def at_capacity(n, bound, *, beyond=0):
    """n inputs at both ends of the range: the sum, and what it should be."""
    params = Params.for_cohort(n, 2, max_abs=bound, dropout_rate=0.0, corrupt_rate=0.0)
    extreme = np.array([bound + beyond, -bound - beyond])
    return simulate(dict.fromkeys(range(n), extreme), params).total.tolist(), (n * extreme).tolist()


@pytest.mark.parametrize(("n", "bound"), [(3, 21), (3, 0), (4, 1), (5, 6553), (3, 2**59)])
def test_e3_sums_at_capacity_are_exact(n, bound):
    total, expected = at_capacity(n, bound)
    assert total == expected


def test_e3_mutant_with_a_bit_too_few_wraps(monkeypatch):
    monkeypatch.setattr("secagg.params.params.bits_for", lambda n, bound: bits_for(n, bound) - 1)
    with pytest.raises(FOUND):
        test_e3_sums_at_capacity_are_exact(4, 1)


@pytest.mark.parametrize("beyond", [1, 1000])
def test_e3_an_input_beyond_the_bound_stays_at_its_client(beyond):
    with pytest.raises(CapacityError, match="max_abs=21"):
        at_capacity(3, 21, beyond=beyond)


def test_e3_mutant_that_takes_it_wraps_in_silence(monkeypatch):
    check = "bound is not None and (int(band.max()) > bound or int(band.min()) < -bound)"
    without(monkeypatch, secagg.roles.client.client, "admit_input", check)
    total, expected = at_capacity(3, 21, beyond=1000)
    assert total != expected


def test_e3_sums_that_no_ring_holds_are_refused_when_planned():
    for n, bound in ((3, 2**61), (10_000, 2**55)):
        with pytest.raises(CapacityError, match="lower max_abs"):
            Params.for_cohort(n, 1, max_abs=bound, threat_model="semi-honest")


def test_e3_one_client_more_than_planned_finds_no_place():
    lab = Lab(5).run_to(Phase.ADVERTISE_KEYS)
    for i in lab.ids:
        lab.answer(i)
    with pytest.raises(RemoteProtocolError, match="full"):
        lab.server.receive(60, lab.sent[Phase.ADVERTISE_KEYS, 50])


# E4: what is no integer ------------------------------------------------------------------------------

NONSENSE = [
    np.array([np.nan, 0, 0, 0]),
    np.array([np.inf, 0, 0, 0]),
    np.array([1e308, 0, 0, 0]),
    np.array([-0.0, 5e-324, 0, 0]),
    np.array([6e4, 0, 0, 0], np.float16),
    np.array([], np.int64),
    np.array([2**63, 0, 0, 0], np.uint64),
    np.array([1, 2, 3, 4], ">i8"),
]


@pytest.mark.parametrize("vector", NONSENSE, ids=lambda vector: f"{vector.dtype}-{vector.size}")
def test_e4_only_integers_enter(vector):
    lab = Lab(5)
    client = lab.clients[10]
    client._secrets.input = None
    with pytest.raises(CapacityError):
        client.set_input(vector)
    client.set_input(lab.inputs[10])  # nothing has happened
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


def test_e4_mutant_without_the_type_lets_nan_in(monkeypatch):
    """NaN is beyond no bound, since it compares with none; then only NumPy still refuses the copy."""
    check = "array.dtype != np.int64 or array.shape != (length,)"
    any_type = without(
        monkeypatch, secagg.guards.checks, "plain_array", check, "array.shape != (length,)"
    )
    monkeypatch.setattr(secagg.roles.client.masking, "plain_array", any_type)
    with pytest.raises((*FOUND, InternalError)):
        test_e4_only_integers_enter(NONSENSE[0])


# E5: what stands in the clear ------------------------------------------------------------------------


def in_the_clear(n=6, length=48):
    """Which clients' inputs a scanner finds in all that the server received."""
    rng = np.random.default_rng(5)
    inputs = {i: rng.integers(-(2**30), 2**30, length) for i in range(n)}
    transcript = []
    simulate(inputs, Params.for_cohort(n, length, ring_bits=32), transcript=transcript)
    received = [message for _, _, message in transcript]
    return [i for i, vector in inputs.items() if contains_vector(received, vector)]


def test_e5_no_input_stands_in_what_the_server_received():
    assert not in_the_clear()


def test_e5_mutant_without_masks_shows_every_input(monkeypatch):
    monkeypatch.setattr("secagg.roles.client.masking.add_masks", lambda *_, **__: None)
    monkeypatch.setattr("secagg.roles.server.unmask.add_masks", lambda *_, **__: None)
    assert in_the_clear() == list(range(6))


def test_e5_mutant_that_saves_bytes_shows_the_largest_coordinate(monkeypatch):
    """Packing each input as tightly as it allows would show its norm in a length; the server refuses it."""
    from tests.hostile.secagg.inputs import test_masks as masks

    pack = secagg.roles.client.client.ring.pack_in_place
    monkeypatch.setattr("secagg.roles.client.masking.add_masks", lambda *_, **__: None)
    monkeypatch.setattr(
        "secagg.roles.client.client.ring.pack_in_place",
        lambda words, bits: pack(words, max(2, int(words.max()).bit_length())),
    )
    with pytest.raises((*FOUND, RemoteProtocolError)):
        masks.test_e5_message_lengths_do_not_depend_on_the_input()
