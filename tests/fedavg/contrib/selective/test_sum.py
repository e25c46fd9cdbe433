"""Selective sums are exact, have the same survivors in both parts, and report the unprotected part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import he
from fedavg.config.build import build_job, build_plan, load_config
from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import (
    ConfigError,
    DataError,
    LocalProtocolError,
    PlanError,
    RoundAbortedError,
)
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.plan.resolution import resolve
from fedavg.privacy.noise import DistributedGaussian
from fedavg.privacy.sampling import PoissonCohort
from fedavg.protocol.transcript import Transcript, uploaded_vector
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.interface import KEY_HOLDER, SumSpec
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from fedavg.training.sensitivity import client_scores, label_sensitivity
from tests.e2e.scanner import contains_vector
from tests.e2e.small import LENGTH, MODEL, clients, federation, plan
from tests.fedavg.contract.sums import IDENTITIES, secure_sum, spec_for
from tests.fedavg.contract.test_secure_sums import REFUSALS, vectors_of

RATES = {"dropout_rate": 0.33, "corrupt_rate": 0.0}
RESTS = {"secagg": SecAgg(**RATES), "plain": InsecurePlain(0.34)}
SCHEMES = {"bfv": Bfv(**RATES), "ckks": Ckks(**RATES)}


def selective(length, *, scheme="bfv", rest="secagg", share=0.3, seed=5):
    return Selective(SCHEMES[scheme], RESTS[rest], SensitivityMap.random(length, share, seed=seed))


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("length", [2, 3, 257, 9000])
def test_sums_are_exact_and_in_order(rest, scheme, length):
    vectors = vectors_of(4, length, 2**19 - 1, length)
    backend = selective(length, scheme=scheme, rest=rest)
    result = secure_sum(backend, vectors, spec_for(vectors, max_abs=2**19 - 1))
    assert np.array_equal(result.total, sum(vectors.values()))
    assert result.survivors == tuple(sorted(vectors))


@given(
    n=st.integers(3, 12),
    length=st.integers(2, 40),
    beyond=st.booleans(),
    ring_bits=st.one_of(st.none(), st.integers(2, 40)),
    drops=st.sets(st.integers(0, 11), max_size=4),
    rest=st.sampled_from(sorted(RESTS)),
    seed=st.integers(0),
)
@settings(max_examples=25, deadline=None)
def test_any_tolerated_drop_outs_leave_the_same_bits(
    n, length, beyond, ring_bits, drops, rest, seed
):
    backend = selective(length, rest=rest)
    vectors = vectors_of(n, length + beyond, 2**20, seed)
    ids = sorted(vectors)
    silent = [ids[i] for i in sorted(drops) if i < n][: n - backend.min_survivors(n)]
    spec = spec_for(vectors, **({"ring_bits": ring_bits} if ring_bits else {"max_abs": 2**20}))
    result = secure_sum(backend, vectors, spec, silent_from=dict.fromkeys(silent, 0))
    assert np.array_equal(
        result.total, spec.reduce(sum(v for i, v in vectors.items() if i not in silent))
    )
    assert set(result.survivors) == set(ids) - set(silent)


@pytest.mark.parametrize("stage", range(6))
def test_silence_at_every_message(stage):
    vectors = vectors_of(9, 50, 1000, stage)
    ids = sorted(vectors)
    silent = {ids[2]: stage, ids[7]: stage}
    result = secure_sum(selective(50), vectors, spec_for(vectors, max_abs=1000), silent_from=silent)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))
    assert len(result.survivors) == (7 if stage <= 3 else 9)


@pytest.mark.parametrize("rest", RESTS)
def test_too_few_survivors_and_inputs_out_of_range(rest):
    vectors = vectors_of(9, 5, 10, 2)
    spec = spec_for(vectors, max_abs=10)
    silent = dict.fromkeys(sorted(vectors)[:5], 0)
    with pytest.raises(REFUSALS):
        secure_sum(selective(5, rest=rest), vectors, spec, silent_from=silent)
    for place in range(5):
        bad = {i: v.copy() for i, v in vectors.items()}
        bad[1][place] = 11
        with pytest.raises(REFUSALS, match="max_abs"):
            secure_sum(selective(5, rest=rest), bad, spec)


class Play:
    """A round of a selective sum up to the stage in which coordinates travel."""

    def __init__(self, backend, vectors):
        spec = spec_for(vectors, max_abs=1000)
        provision = backend.provision(spec, {c: IDENTITIES[c].public for c in vectors})
        self.spec = spec
        self.server = backend.server_side(provision.server).session(spec, sorted(vectors))
        self.holder = backend.key_holder_side(provision.key_holder).session(spec)
        self.side = backend.client_side(provision.clients)
        self.sessions, self.outgoing = {}, self.server.open()
        for client, messages in self.outgoing.items():
            session = self.side.session(spec, client, IDENTITIES[client], messages[0])
            session.set_input(vectors[client])
            self.sessions[client] = session
        self.replies = {c: list(s.start()) for c, s in self.sessions.items()}
        while self.server.stage not in ("masked_input", "upload"):
            self.deliver(self.replies)
            self.step()

    def deliver(self, replies):
        for client, messages in replies.items():
            for message in messages:
                self.server.receive(client, message)

    def step(self):
        self.outgoing = self.server.advance()
        self.replies = {
            party: [
                r
                for m in messages
                for r in (
                    self.holder.receive(messages)
                    if party == KEY_HOLDER
                    else self.sessions[party].receive(m)
                )
            ]
            for party, messages in self.outgoing.items()
        }

    def finish(self):
        while self.outgoing:
            self.deliver(self.replies)
            self.step()
        return self.server.result()


def stopped(rest, cut, *, length=20_000):
    """A round in which one client's upload is cut: what is delivered of it is up to `cut`."""
    vectors = vectors_of(9, length, 1000, 1)
    play = Play(selective(length, rest=rest, share=0.9), vectors)
    client = sorted(vectors)[3]
    play.replies[client] = cut(play.replies[client])
    return play, client, vectors


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("keep", [0, 1, -1])
def test_a_client_that_breaks_off_is_in_neither_sum(rest, keep):
    """Nothing, one ciphertext chunk, or all of them, but never the other coordinates."""
    play, client, vectors = stopped(rest, lambda messages: messages[:keep])
    result = play.finish()
    assert client not in result.survivors
    assert np.array_equal(result.total, sum(v for c, v in vectors.items() if c != client))


def test_mutant_server_that_holds_nothing_back_tears_the_round(monkeypatch):
    """Without holding back, a break-off between the parts leaves a client in one sum only."""
    from fedavg.contrib.selective import roles as selective_sides

    original = selective_sides.SelectiveServerSession.receive

    def eager(self, sender, message):
        if message[:1] == b"E":
            self._encrypted.receive(sender, message[1:])
        elif message[:1] == b"R":
            self._rest.receive(sender, message[1:])
            self._carried.add(sender)
        else:
            original(self, sender, message)

    monkeypatch.setattr(selective_sides.SelectiveServerSession, "receive", eager)
    play, client, _ = stopped("plain", lambda messages: messages[:-1])
    with pytest.raises(RoundAbortedError, match=rf"\[{client}\] are in one of the two"):
        play.finish()


@pytest.mark.parametrize("rest", RESTS)
def test_the_other_coordinates_without_ciphertexts_are_refused(rest):
    play, client, vectors = stopped(rest, lambda messages: messages)
    messages = play.replies.pop(client)
    with pytest.raises(LocalProtocolError, match="no encrypted coordinates"):
        play.server.receive(client, messages[-1])
    result = play.finish()
    assert client not in result.survivors
    assert np.array_equal(result.total, sum(v for c, v in vectors.items() if c != client))


@pytest.mark.parametrize("rest", RESTS)
def test_a_client_in_one_sum_only_ends_the_round_before_anything_opens(rest):
    """A damaged last ciphertext: the rest is in by then, so there is no sum."""
    play, client, _ = stopped(rest, lambda messages: messages)
    messages = play.replies.pop(client)
    damaged = messages[-2][:-1] + bytes([messages[-2][-1] ^ 1])
    for message in [*messages[:-2], damaged]:
        play.server.receive(client, message)
    with pytest.raises(he.AuthenticationError):
        play.server.receive(client, messages[-1])
    play.deliver(play.replies)
    with pytest.raises(RoundAbortedError, match=f"\\[{client}\\] are in one of the two"):
        play.server.advance()


@pytest.mark.parametrize("rest", RESTS)
def test_without_the_key_holder_there_is_no_sum(rest):
    play, _, _ = stopped(rest, lambda messages: messages)

    def go_on():
        while play.outgoing:
            play.replies.pop(KEY_HOLDER, None)
            play.deliver(play.replies)
            play.step()

    with pytest.raises(RoundAbortedError, match="did not open"):
        go_on()
    with pytest.raises(REFUSALS):
        play.server.result()


def test_messages_that_are_not_awaited_are_refused():
    play, client, vectors = stopped("secagg", lambda messages: messages)
    for message in (b"", b"?", b"S" + bytes(9), b"R", b"Rx"):
        with pytest.raises((LocalProtocolError, *REFUSALS)):
            play.server.receive(client, message)
        with pytest.raises((LocalProtocolError, *REFUSALS)):
            play.sessions[client].receive(b"E" + message)
    with pytest.raises(LocalProtocolError, match="does not open a selective"):
        play.side.session(play.spec, client, IDENTITIES[client], b"HEO1")
    with pytest.raises(LocalProtocolError, match="cannot be read"):
        play.side.session(play.spec, client, IDENTITIES[client], b"S\xc1")
    assert np.array_equal(play.finish().total, sum(vectors.values()))


def test_parts_of_the_wrong_kind():
    chosen = SensitivityMap.random(10, 0.5, seed=0)
    with pytest.raises(PlanError, match="Ckks"):
        Selective(EncryptedSecAgg(), SecAgg(), chosen)
    with pytest.raises(PlanError, match="SecAgg"):
        Selective(Bfv(), Bfv(), chosen)
    with pytest.raises(PlanError, match="SensitivityMap"):
        Selective(Bfv(), SecAgg(), np.ones(10, bool))


@pytest.mark.parametrize("length", [9, 12, 1])
def test_a_map_of_another_model_is_refused(length):
    vectors = vectors_of(4, length, 10, 0)
    with pytest.raises(PlanError, match="compute the map for this model"):
        selective(10).check(spec_for(vectors, max_abs=10))


def small_map(share=0.3, source="public"):
    scores = np.arange(LENGTH, dtype=np.float64)
    return SensitivityMap.from_scores(scores, share, source=source)


PRIVATE = {
    "noise": DistributedGaussian(1.3),
    "encoding": FixedPoint(0.5, 9),
    "cohort": PoissonCohort(0.9),
}
POPULATION = {"num_clients": 40, "vector_length": LENGTH, "num_rounds": 2, "largest_client": 8}


def test_plans_refuse_what_makes_no_sense():
    with pytest.raises(PlanError, match="rotation mixes"):
        plan(
            Selective(Bfv(), SecAgg(), small_map()),
            **(PRIVATE | {"encoding": FixedPoint(0.5, 9, rotate=True)}),
        )
    with pytest.raises(PlanError, match="no ledger counts"):
        plan(Selective(Bfv(), SecAgg(), small_map(source="clients")), **PRIVATE)
    with pytest.raises(PlanError, match="compute the map for this model"):
        resolve(
            plan(Selective(Bfv(), SecAgg(), SensitivityMap.random(7, 0.5, seed=0))), **POPULATION
        )


def test_no_bound_towards_a_server_that_reads_a_part():
    masked = resolve(plan(Selective(Bfv(), SecAgg(), small_map()), **PRIVATE), **POPULATION)
    clear = resolve(plan(Selective(Bfv(), InsecurePlain(), small_map()), **PRIVATE), **POPULATION)
    assert masked.server_epsilon(1) > 0
    assert clear.server_epsilon(1) is None


def test_names_and_assumptions_spell_the_exposure_out():
    clear = Selective(Bfv(), InsecurePlain(), small_map())
    masked = Selective(Bfv(), SecAgg(), small_map())
    assert (clear.kind, masked.kind) == ("selective-insecure-plain", "selective")
    assert "IN THE CLEAR" in clear.threat_model
    spec = SumSpec(39, 1000, None, 10, b"any sum")
    assert clear.assumptions(spec)[1].startswith("INSECURE: the server reads 69.2% of every update")
    assert "12 of 39 coordinates are encrypted" in masked.assumptions(spec)[0]
    assert not any("INSECURE" in line for line in masked.assumptions(spec))
    assert clear.hides_updates is False


def test_plans_with_maps_survive_as_bytes_and_differ_by_their_maps():
    one = plan(Selective(Ckks(), SecAgg(), small_map()))
    two = plan(Selective(Ckks(), SecAgg(), SensitivityMap.random(LENGTH, 0.3, seed=1)))
    assert plan_from_bytes(plan_to_bytes(one)) == one
    assert resolve(one, **POPULATION).digest != resolve(two, **POPULATION).digest


def test_federations_run_and_show_what_they_say():
    """A run beside one under plain masks: the same model; the transcript shows the rest and no more."""
    population = clients(20)
    run = federation(
        Selective(Bfv(), InsecurePlain(), small_map()), clients=population, transcript=Transcript()
    )
    reference = federation(SecAgg(), clients=population)
    results, expected = list(run.run(2)), list(reference.run(2))
    assert [r.accuracy for r in results] == [r.accuracy for r in expected]
    assert all(r.skipped is None for r in results)
    received = [e.message for e in run.transcript if e.direction == "up" and e.party == 0]
    exposed = uploaded_vector(received[1:], run.plan.secure_sum)
    assert exposed.size == LENGTH - 12
    assert contains_vector(received, exposed)
    weights = {len(population[c]) for c in population}
    assert not weights & {int(v) for v in exposed[-1:]}  # the example count is encrypted


def test_masked_rests_show_nothing():
    population = clients(20)
    run = federation(
        Selective(Bfv(), SecAgg(), small_map()), clients=population, transcript=Transcript()
    )
    assert all(r.skipped is None for r in run.run(1))
    clear = federation(InsecurePlain(), clients=population, transcript=Transcript())
    list(clear.run(1))
    for client in population:
        sent = [e.message for e in clear.transcript if e.direction == "up" and e.party == client]
        update = uploaded_vector(sent[1:], clear.plan.secure_sum)
        assert not contains_vector(run.transcript.received(), update)
        assert not contains_vector(
            run.transcript.received(), update[~run.plan.secure_sum.places(LENGTH + 1)]
        )


CLIENTS = {"secure_sum.kind": "selective", "secure_sum.choice": "clients", "data.clients": 20}


def test_a_configuration_whose_clients_choose():
    """The scores of every client's own examples are summed under encryption before the first round."""
    config = load_config(None, CLIENTS | {"privacy.noise": "none", "secure_sum.share": 0.1})
    job = build_job(config)
    assert isinstance(job.plan.secure_sum, Selective)
    chosen = job.plan.secure_sum.chosen
    assert chosen.source == "clients"
    assert chosen.count == -(-job.parameters // 10)
    spec = SumSpec(chosen.length, 1000, None, 10, b"any sum")
    assert "clients' private scores" in " ".join(job.plan.secure_sum.assumptions(spec))
    model = job.model.build()
    each = [label_sensitivity(model, data, max_examples=8) for data in job.clients.values()]
    assert len(each) == 20
    expected = sum(np.rint(scores * (65535 / scores.max())) for scores in each)
    assert chosen.packed == SensitivityMap.from_scores(expected, 0.1).packed
    assert (
        chosen.packed == build_job(config).plan.secure_sum.chosen.packed
    )  # as a resumed run needs
    assert plan_from_bytes(plan_to_bytes(job.plan)) == job.plan


def test_under_noise_no_client_is_asked_for_scores(monkeypatch):
    monkeypatch.setattr(
        "fedavg.config.build.client_scores", lambda *_, **__: pytest.fail("was asked")
    )
    with pytest.raises(PlanError, match="choice = 'clients'.*no ledger counts"):
        build_job(load_config(None, CLIENTS | {"privacy.noise": "gaussian"}))


def test_a_hundred_clients_at_most_are_asked():
    population = {i: clients(1)[0] for i in range(130)}
    model = MODEL.build()
    asked = client_scores(model, population, seed=3)
    assert len(asked) == 100
    assert asked.keys() == client_scores(model, population, seed=3).keys()
    assert asked.keys() != client_scores(model, population, seed=4).keys()
    with pytest.raises(DataError, match="need at least one client"):
        client_scores(model, {}, seed=3)


def test_configurations():
    text = {"secure_sum.kind": "selective", "secure_sum.rest": "insecure-plain"}
    config = load_config(None, text | {"secure_sum.scheme": "ckks", "privacy.noise": "none"})
    chosen = SensitivityMap.random(100, 0.2, seed=0)
    built = build_plan(config, 100, chosen).secure_sum
    assert built == Selective(Ckks(0.1, 0.1), InsecurePlain(0.1), chosen)
    with pytest.raises(ConfigError, match="SensitivityMap"):
        build_plan(config, 100)
    config = load_config(
        None, {"secure_sum.kind": "encrypted-secagg", "secure_sum.key_at": "clients"}
    )
    assert build_plan(config, 100).secure_sum == EncryptedSecAgg(key_at="clients")
    local = {"secure_sum.kind": "encrypted-secagg", "secure_sum.threat_model": "malicious-local"}
    built = build_plan(load_config(None, local), 100).secure_sum
    assert built == EncryptedSecAgg(threat_model="malicious-local")
