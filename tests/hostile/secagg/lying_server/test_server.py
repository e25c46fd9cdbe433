"""A lying server against honest clients: it ends without an input, and each defence is missed when gone."""

from __future__ import annotations

import numpy as np
import pytest

import secagg.roles.client.client
from secagg import (
    Aborted,
    AbortReason,
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
    masked_vector,
)
from secagg.crypto import ring
from secagg.crypto.keys import AgreementKey
from secagg.crypto.masks import add_masks
from secagg.crypto.sealed import route_keys, seal
from secagg.crypto.shamir import rebuild
from secagg.params.params import Requirements
from secagg.session.roster import pair_seed, self_seed
from secagg.session.state import CLIENT_AWAITS, SERVER_SENDS
from secagg.wire.codec import Kind, decode, encode
from secagg.wire.envelopes import _commitments, _route, open_envelope
from secagg.wire.messages import ForwardedShares, Offer, Signatures, Survivors
from tests.secagg.support.lab import CONTEXT, SERVER_STEPS, Lab


def without(lab, victim):
    """The survivor set with the victim taken out."""
    out = lab.roster.positions[victim]
    return Survivors(bytes(p != out for p in range(len(lab.ids))))


def everyone(lab):
    return Survivors(b"\1" * len(lab.ids))


def signatures(lab, replies):
    """A request to unmask from consistency replies."""
    pairs = sorted((lab.roster.positions[i], decode(r)[1].signature) for i, r in replies.items())
    return Signatures(tuple(pairs))


def unmask_shares(lab, holder, reply, dealer):
    """The share of `dealer` that a reply gives away."""
    message = decode(reply)[1]
    at = lab.roster.positions[holder]
    if dealer == holder:
        return message.shares[0]
    place = lab.roster.neighbours(at).index(lab.roster.positions[dealer])
    return message.shares[1 + place]  # all neighbours are partners


def steal(lab, victim, seed_shares, key_shares):
    """The victim's exact vector from t shares of each of its secrets."""
    roster, position = lab.roster, lab.roster.positions[victim]
    points = {i: lab.roster.positions[i] + 1 for i in lab.ids}
    t = lab.params.threshold
    seed = rebuild([points[i] for i in list(seed_shares)[:t]], list(seed_shares.values())[:t])
    secret = rebuild([points[i] for i in list(key_shares)[:t]], list(key_shares.values())[:t])
    key = AgreementKey.from_private_bytes(secret)
    assert key.public == roster.entries[position].mask_key
    vector = masked_vector(lab.sent[Phase.MASKED_INPUT, victim]).copy()
    root = lab.partner_root
    plus, minus = [self_seed(roster, root, seed, position)], []
    for other in roster.neighbours(position):
        (plus if position < other else minus).append(pair_seed(roster, root, key, position, other))
    add_masks(vector, plus=minus, minus=plus)
    return ring.centre(vector, lab.params.ring_bits)


# S1, S2: both secrets of one client ------------------------------------------------------------------


def ask_twice(lab, victim):
    """Sign and unmask honestly; then ask again with the victim as a drop-out."""
    lab.run_to(Phase.UNMASK)
    first = {i: lab.clients[i].receive(m) for i, m in lab.next_messages.items()}
    second = {}
    for i in first:
        if i == victim:
            continue
        sign = lab.clients[i].receive(lab.encode(without(lab, victim)))
        assert sign is not None
        second[i] = lab.clients[i].receive(lab.next_messages[i])
    seeds = {i: unmask_shares(lab, i, r, victim) for i, r in first.items()}
    keys = {i: unmask_shares(lab, i, r, victim) for i, r in second.items()}
    return steal(lab, victim, seeds, keys)


def test_s1_a_second_request_gets_nothing():
    with pytest.raises(RemoteProtocolError, match="after the session") as caught:
        ask_twice(Lab(5), 20)
    assert caught.value.culprit == "server"


def test_s1_a_second_survivor_set_before_the_first_answer():
    lab = Lab(5).run_to(Phase.UNMASK)
    for i in lab.ids:
        with pytest.raises(RemoteProtocolError, match="SURVIVORS in phase UNMASK"):
            lab.clients[i].receive(lab.encode(without(lab, 20)))
        with pytest.raises(LocalProtocolError, match="ABORTED"):
            lab.clients[i].receive(lab.next_messages[i])


def split_view(lab, victim):
    """Tell the last two clients that the victim dropped; return what its secrets' holders gave."""
    lab.run_to(Phase.CONSISTENCY)
    told = {i: without(lab, victim) if i in lab.ids[3:] else everyone(lab) for i in lab.ids}
    signed = {i: lab.clients[i].receive(lab.encode(told[i])) for i in lab.ids}
    seeds, keys, refused = {}, {}, []
    for i in lab.ids:
        same = {j: signed[j] for j in lab.ids if told[j] == told[i]}
        try:
            reply = lab.clients[i].receive(lab.encode(signatures(lab, same)))
        except RemoteProtocolError:
            refused.append(i)
        else:
            (keys if i in lab.ids[3:] else seeds)[i] = unmask_shares(lab, i, reply, victim)
    return seeds, keys, refused


@pytest.fixture
def weak_threshold(monkeypatch):
    """t = 2 of 5: without it, 2t > n + c alone already starves this attack of shares."""
    monkeypatch.setattr(
        "secagg.params.params.requirements",
        lambda *_: Requirements(2, 4, quorum=3, min_survivors=4, min_roster=4),
    )


def test_s2_a_split_view_ends_at_the_quorum(weak_threshold):
    lab = Lab(5)
    _, keys, refused = split_view(lab, 20)
    assert refused == lab.ids[3:]
    assert not keys


def test_s2_mutant_without_the_quorum_loses_the_vector(monkeypatch, weak_threshold):
    monkeypatch.setattr(secagg.roles.client.client, "check_quorum", lambda *_: None)
    lab = Lab(5)
    seeds, keys, refused = split_view(lab, 20)
    assert not refused
    assert np.array_equal(steal(lab, 20, seeds, keys), lab.inputs[20])


def test_s2_the_threshold_alone_starves_the_attack_too(monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "check_quorum", lambda *_: None)
    lab = Lab(5)
    seeds, keys, _ = split_view(lab, 20)
    assert len(keys) < lab.params.threshold <= len(seeds)


@pytest.mark.parametrize("fault", ["stranger", "twice", "forged", "few", "dead"])
def test_s2_quorums_that_are_none(fault):
    lab = Lab(6, dropout_rate=0.3)
    lab.run_to(Phase.UNMASK, silent={60: Phase.MASKED_INPUT})
    client, honest = lab.clients[10], lab.message(10).signatures
    assert len(honest) == lab.params.quorum
    gone = without(lab, 60).signed(lab.session, lab.partner_root)
    bad = {
        "stranger": (*honest[:-1], (99, honest[-1][1])),
        "twice": (*honest[:-1], honest[-2]),
        "forged": (*honest[:-1], (honest[-1][0], honest[0][1])),
        "few": honest[:-1],
        "dead": (*honest[:-1], (5, lab.identities[60].sign(gone))),
    }[fault]
    with pytest.raises(RemoteProtocolError) as caught:
        client.receive(lab.encode(Signatures(bad)))
    assert caught.value.culprit == "server"
    with pytest.raises(LocalProtocolError, match="ABORTED"):
        client.receive(lab.next_messages[10])


# S3: lies about the living ---------------------------------------------------------------------------


def lies():
    return {
        "own id dropped": lambda lab, own, gone: [p not in (own, gone) for p in range(6)],
        "unknown id": lambda lab, own, gone: [p != gone for p in range(6)] + [True],
        "roster of fewer": lambda lab, own, gone: [True] * 5,
        "one that left in an earlier phase": lambda lab, own, gone: [True] * 6,
        "too few": lambda lab, own, gone: [p in (own, (own + 1) % 6) for p in range(6)],
    }


def lie(name, lab):
    lab.run_to(Phase.CONSISTENCY, silent={60: Phase.SHARE_KEYS})
    members = lies()[name](lab, lab.roster.positions[10], lab.roster.positions[60])
    return lab.clients[10].receive(lab.encode(Survivors(bytes(members))))


@pytest.mark.parametrize("name", lies())
def test_s3_lies_about_the_living(name):
    lab = Lab(6, dropout_rate=0.3)
    with pytest.raises(RemoteProtocolError) as caught:
        lie(name, lab)
    assert caught.value.culprit == "server"
    assert lab.clients[10].phase is Phase.ABORTED


@pytest.mark.parametrize("name", lies())
def test_s3_mutant_signs_them(name, monkeypatch):
    monkeypatch.setattr(secagg.roles.client.client, "check_survivors", lambda *_: None)
    assert lie(name, Lab(6, dropout_rate=0.3)) is not None


def test_s3_padding_hides_no_further_id():
    lab = Lab(5).run_to(Phase.CONSISTENCY)
    data = lab.encode(everyone(lab))
    with pytest.raises(RemoteProtocolError, match="padding"):
        lab.clients[10].receive(data[:44] + b"\xff" + data[45:])


# S8, S13: replays, routes, and another model ---------------------------------------------------------


def test_s8_an_old_session_is_not_joined_again():
    lab = Lab(5)
    with pytest.raises(RemoteProtocolError, match="joined before"):
        lab.join(10)


def test_s8_mutant_joins_again(monkeypatch):
    monkeypatch.setattr(Identity, "join", lambda *_: None)
    lab = Lab(5)
    assert lab.join(10).phase is Phase.ADVERTISE_KEYS


@pytest.mark.parametrize("phase", SERVER_STEPS)
def test_s8_messages_of_another_session(phase):
    one, other = Lab(5).run_to(phase), Lab(5).run_to(phase)
    with pytest.raises(RemoteProtocolError, match="another session"):
        one.clients[10].receive(other.next_messages[10])


def test_s8_a_forged_session_name():
    lab = Lab(5)
    offer = decode(lab.server.offer())[1]
    with pytest.raises(RemoteProtocolError, match="another context"):
        lab.join(10, offer=encode(offer, bytes(32)))


def rerouted(lab, kind):
    """Client 10's inbox with one envelope that was sealed elsewhere, and how many others open."""
    envelopes = list(lab.message(10).envelopes)  # from 20, 30, 40, 50
    if kind == "meant for another":
        envelopes[0] = lab.message(30).envelopes[1]  # 20 → 30
    elif kind == "reflected":
        envelopes[0] = decode(lab.sent[Phase.SHARE_KEYS, 10])[1].envelopes[0]  # 10 → 20
    elif kind == "one bit":
        envelopes[0] = envelopes[0][:-1] + bytes([envelopes[0][-1] ^ 1])
    elif kind == "other commitments":
        envelopes[0] = bytes(32) + envelopes[0][32:]
    return lab.encode(ForwardedShares(tuple(envelopes)))


@pytest.mark.parametrize("kind", ["meant for another", "reflected", "one bit", "other commitments"])
def test_s8_rerouted_shares_do_not_open(kind):
    lab = Lab(5).run_to(Phase.CHECK_SHARES)
    message = decode(lab.clients[10].receive(rerouted(lab, kind)))[1]
    assert message.opened == (False, True, True, True)


def test_s8_mutant_opens_a_reflected_share(monkeypatch):
    """Without direction in the keys and the route in the associated data, one's own share comes back."""
    from secagg.wire import envelopes

    monkeypatch.setattr(envelopes, "_route", lambda *_: b"")
    monkeypatch.setattr(envelopes, "_commitments", lambda *_: bytes(32))
    monkeypatch.setattr(envelopes, "route_keys", lambda agreed, **_: (agreed[:16], agreed[:16]))
    lab = Lab(5).run_to(Phase.CHECK_SHARES)
    message = decode(lab.clients[10].receive(rerouted(lab, "reflected")))[1]
    assert message.opened == (True, True, True, True)


def test_s8_a_route_key_is_bound_to_everything():
    base = {"session": b"s" * 32, "root": b"r" * 32, "own": 1, "other": 2}
    keys = {route_keys(b"a" * 32, **base)}
    for change in ({"session": b"t" * 32}, {"root": b"q" * 32}, {"own": 3}, {"other": 3}):
        keys.add(route_keys(b"a" * 32, **(base | change)))
    assert len({k for pair in keys for k in pair}) == 10


def test_s13_another_model_is_another_session():
    lab = Lab(5)
    with pytest.raises(RemoteProtocolError, match="another context"):
        lab.join(10, context=b"the victim's own model")


def test_s13_mutant_sums_inputs_of_different_models(monkeypatch):
    """Gradient suppression (Pasquini et al. 2022): the others' updates vanish from the sum."""
    honest = Offer.session
    monkeypatch.setattr(Offer, "session", lambda self, _: honest(self, b""))
    params = Params.for_cohort(5, 3, max_abs=10)
    server = Server(params, context=b"suppressing model", directory=TrustServerDirectory())
    identities = [Identity.generate() for _ in range(5)]
    directory = Directory({i: x.public for i, x in enumerate(identities)})
    clients = [
        Client.from_offer(
            server.offer(),
            i,
            identities[i],
            directory,
            context=b"model" if i == 0 else b"suppressing model",
        )
        for i in range(5)
    ]
    for i, client in enumerate(clients):  # the dead model's gradients are zero
        client.set_input(np.array([3, 1, 4] if i == 0 else [0, 0, 0], dtype=np.int64))
        server.receive(i, client.start())
    while messages := server.advance():
        for i, message in messages.items():
            server.receive(i, clients[i].receive(message))
    assert server.result().total.tolist() == [3, 1, 4]  # the victim's very update


# S9: every message at every wrong time ---------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("phase", Phase)
def test_s9_clients_take_one_kind_of_message_in_each_phase(phase, kind):
    if phase is Phase.ABORTED:
        lab = Lab(5).run_to(Phase.SHARE_KEYS)
        with pytest.raises(RemoteProtocolError):
            lab.clients[10].receive(b"junk")
    elif phase is Phase.DONE:
        lab = Lab(5).run_to(Phase.DONE)
    else:
        lab = Lab(5).run_to(phase)
    client = lab.clients[10]
    if kind is CLIENT_AWAITS.get(phase):
        assert kind is SERVER_SENDS[phase]
        assert client.receive(lab.next_messages[10])
        return
    wrong = lab.server.offer()[:6] + bytes([kind]) + lab.server.offer()[7:]
    with pytest.raises((LocalProtocolError, RemoteProtocolError)):
        client.receive(wrong)
    early = phase is Phase.ADVERTISE_KEYS  # the caller's fault: nothing changes
    over = phase in (Phase.DONE, Phase.ABORTED)
    assert client.phase is (phase if early or over else Phase.ABORTED)
    if early:
        assert client.start()


def test_s9_calls_out_of_order_change_nothing():
    lab = Lab(5)
    client = lab.clients[10]
    with pytest.raises(LocalProtocolError, match="one input"):
        client.set_input(lab.inputs[10])
    client.start()
    with pytest.raises(LocalProtocolError, match="first call"):
        client.start()
    assert client.phase is Phase.SHARE_KEYS


def test_s9_the_input_is_due_before_the_partners():
    lab = Lab(5)
    late = Identity.generate()
    lab.identities[10] = late
    lab.directory = Directory({i: x.public for i, x in lab.identities.items()})
    lab.server = Server(lab.params, context=CONTEXT, directory=TrustServerDirectory())
    lab.clients = {i: lab.join(i) for i in lab.ids}
    for i in lab.ids[1:]:
        lab.clients[i].set_input(lab.inputs[i])
    lab.run_to(Phase.MASKED_INPUT)
    with pytest.raises(LocalProtocolError, match="set_input"):
        lab.reply(10)
    lab.clients[10].set_input(lab.inputs[10])
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


@pytest.mark.parametrize(
    "vector",
    [np.zeros(3, np.int64), np.zeros((4, 1), np.int64), np.zeros(4), np.zeros(4, np.int32)],
)
def test_e3_shapes_and_types_of_inputs(vector):
    lab = Lab(5)
    again = Server(lab.params, context=CONTEXT, directory=TrustServerDirectory())
    client = lab.join(10, offer=again.offer())
    with pytest.raises(CapacityError, match="int64"):
        client.set_input(vector)


def test_clients_forget_their_secrets():
    lab = Lab(5).run_to(Phase.CONSISTENCY)
    secrets = lab.clients[10]._secrets
    assert secrets.seed is secrets.mask is secrets.channel is secrets.input is None
    assert not secrets.routes
    assert "redacted" in repr(secrets)
    lab.run_to(Phase.DONE)
    assert all(client._secrets is None for client in lab.clients.values())


def test_too_few_shares_that_open_end_the_session():
    lab = Lab(6, dropout_rate=0.3).run_to(Phase.CHECK_SHARES)
    t = lab.params.threshold
    envelopes = lab.message(10).envelopes
    for client, kept in ((20, t - 1), (10, t - 2)):
        inbox = lab.message(client).envelopes
        message = lab.encode(ForwardedShares(inbox[:kept] + (None,) * (len(envelopes) - kept)))
        if kept == t - 1:
            assert lab.clients[client].receive(message)
            continue
        with pytest.raises(Aborted) as caught:
            lab.clients[client].receive(message)
        assert caught.value.reason is AbortReason.TOO_FEW_SHARES
        assert lab.clients[client].phase is Phase.ABORTED


@pytest.mark.parametrize("lie", ["commitments", "shares", "none"])
def test_s12_a_dealer_that_seals_what_it_did_not_commit_to(lie):
    lab = Lab(5).run_to(Phase.CHECK_SHARES)
    key = lab.clients[10]._secrets.routes[1]
    shares = bytes(34) + b"\x01" + bytes(31) + (b"\x01\x00" if lie == "shares" else bytes(2))
    public = _commitments(lab.roster, shares, 20, 10)
    if lie == "commitments":
        public = bytes(16) + public[16:]
    envelope = public + seal(key, shares, _route(lab.roster, 20, 10) + public)
    inbox = (envelope, *lab.message(10).envelopes[1:])
    message = decode(lab.clients[10].receive(lab.encode(ForwardedShares(inbox))))[1]
    assert message.opened == (lie == "none", True, True, True)


def test_an_envelope_needs_its_own_key():
    lab = Lab(5).run_to(Phase.CHECK_SHARES)
    envelope = lab.message(10).envelopes[0]
    key = lab.clients[10]._secrets.routes[1]
    assert open_envelope(lab.roster, key, envelope, 20, 10) is not None
    assert open_envelope(lab.roster, bytes(16), envelope, 20, 10) is None
    assert open_envelope(lab.roster, key, envelope, 30, 10) is None
