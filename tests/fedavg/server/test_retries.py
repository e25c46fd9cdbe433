"""Rounds that are tried again: who is asked, what is refused, and that a client's update enters one sum."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fedavg.algorithms.scaffold import Scaffold
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.federation import federation as federation_module
from fedavg.federation.checkpoint import RunJournal
from fedavg.federation.federation import Federation
from fedavg.federation.provision import provision_all
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.plan import Limits
from fedavg.privacy.noise import CentralGaussian
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.protocol.messages import (
    OpenRequest,
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
)
from fedavg.server import retries
from fedavg.server.retries import sum_round
from fedavg.server.round import RoundServer
from fedavg.simulation.faults import Faults
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from he import HeError
from tests.e2e.small import MODEL, SUMS, clients, examples, federation, plan
from tests.fedavg.federation.test_checkpoint import stop_in_round
from tests.fedavg.protocol.test_client_server import (
    MODEL_BYTES,
    client_of,
    key_holder,
    resolution_of,
)


def silence(monkeypatch, rule):
    """Drop-outs by a rule of (client, round, attempt) → stage or None, in this process."""
    monkeypatch.setattr(
        Faults,
        "silent_from",
        lambda _, *, client_id, round_index, attempt=0: rule(client_id, round_index, attempt),
    )


def first_attempt_of_round_1(client, index, attempt):
    return 0 if (index, attempt) == (1, 0) and client < 19 else None


@pytest.mark.parametrize("name", [name for name in SUMS if name != "insecure-plain"])
def test_a_round_below_its_threshold_is_tried_again(name, monkeypatch):
    """19 of 20 do not answer once: the same model, to the bit, as if nothing had happened."""
    quiet = federation(SUMS[name])
    undisturbed = list(quiet.run(3))
    silence(monkeypatch, first_attempt_of_round_1)
    run = federation(SUMS[name])
    results = list(run.run(3))
    assert [len(result.aborted) for result in results] == [0, 1, 0]
    assert all(result.skipped is None and result.survivors == 20 for result in results)
    assert np.array_equal(run.released, quiet.released)
    assert results[1].bytes_down > undisturbed[1].bytes_down


def test_without_retries_the_round_is_skipped(monkeypatch):
    silence(monkeypatch, first_attempt_of_round_1)
    run = federation(SUMS["secagg"], changes={"limits": Limits(retries=0)})
    results = list(run.run(3))
    assert [result.skipped is None for result in results] == [True, False, True]
    assert [tuple(result.aborted) for result in results] == [()] * 3


def test_attempts_come_to_an_end(monkeypatch):
    silence(monkeypatch, lambda client, index, attempt: 0 if client < 19 else None)
    (result,) = federation(SUMS["secagg"], changes={"limits": Limits(retries=4)}).run(1)
    assert len(result.aborted) == 4
    assert "clients are ready" in result.skipped


class Watched(Federation):
    """Notes whose update of a round has left, attempt by attempt."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.uploads = []

    def _round(self, *args):
        def noting(model, resolution, side, transport, traffic, start, asked, transcript):
            before = set(traffic.contributed)
            try:
                return sum_round(
                    model, resolution, side, transport, traffic, start, asked, transcript
                )
            finally:
                self.uploads.append((set(asked), traffic.contributed - before))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(federation_module, "sum_round", noting)
            return super()._round(*args)


def test_whoever_uploaded_is_not_asked_again(monkeypatch):
    """Of 8 out of 30, three fall silent before they upload; 5 are lost, and others take the round."""
    drawn = []

    def rule(client, index, attempt):
        if attempt == 0:
            if client not in drawn:
                drawn.append(client)
            return 1 if drawn.index(client) < 3 else None
        return None

    silence(monkeypatch, rule)
    parts = plan(InsecurePlain(), cohort=FixedCohort(8))
    run = Watched(MODEL, clients(30), parts, evaluate=examples(50, 1))
    (result,) = run.run(1)
    assert result.skipped is None
    assert "7 are needed" in result.aborted[0]
    (_, lost), (asked, summed) = run.uploads
    assert len(lost) == 5
    assert len(asked) == len(summed) == 8
    assert not lost & asked
    assert run.last_sum.survivors == tuple(sorted(summed))


def test_too_few_who_have_not_uploaded_end_the_round(monkeypatch):
    silence(monkeypatch, lambda client, index, attempt: 1 if client < 5 and not attempt else None)
    (result,) = federation(InsecurePlain()).run(1)
    assert "15 clients answered" in result.skipped
    assert tuple(result.aborted) == ()


def redraw(cohort, clients, spent, least):
    """Another cohort of a population that is here as a whole."""
    resolution = SimpleNamespace(
        plan=SimpleNamespace(cohort=cohort), expected_cohort=cohort.expected_size(len(clients))
    )
    return retries.redraw(resolution, clients, spent, least)


def test_another_cohort_has_the_expected_size():
    assert redraw(PoissonCohort(0.5), range(20), set(range(10)), 5) == tuple(range(10, 20))
    assert redraw(PoissonCohort(0.5), range(20), set(range(16)), 5) is None
    assert redraw(FixedCohort(8), range(10), set(range(3)), 7) is None
    assert set(redraw(FixedCohort(7), range(10), {0, 1, 2}, 7)) == set(range(3, 10))
    sizes = [len(redraw(PoissonCohort(0.1), range(400), set(range(200)), 1)) for _ in range(300)]
    # 300 draws of Bin(200, 0.2): mean within 6 standard errors, false alarm 2e-9
    assert abs(np.mean(sizes) - 40) < 6 * np.sqrt(200 * 0.2 * 0.8 / 300)


def uploaded(client, attempt=0):
    client.handle(encode(RoundStart(3, MODEL_BYTES, attempt=attempt)))
    return client


def opening(resolution, start, size=20):
    side = InsecurePlain().server_side(b"")
    server = RoundServer(resolution, side, start=start, cohort=range(size))
    server.open()
    for sender in range(size):
        server.receive(sender, encode(Ready(start.round, start.attempt)))
    return server, server.advance()[0][0]


def test_an_update_that_has_left_enters_no_second_sum():
    """The mutant forgets that it left, and hands the same update to a second sum: their difference over
    cohorts that differ by it would be the update."""
    resolution = resolution_of("insecure-plain")
    client, _ = client_of("insecure-plain", resolution)
    sent = []
    for attempt in (0, 1):
        start = RoundStart(3, MODEL_BYTES, attempt=attempt)
        if attempt:
            with pytest.raises(LocalProtocolError, match="at most one sum"):
                client.handle(encode(start))
            client._left_in = -1
        client.handle(encode(start))
        sent += client.handle(opening(resolution, start)[1])
    assert decode(sent[0]).payload == decode(sent[1]).payload


def test_trained_but_not_sent_may_be_asked_again_and_only_forwards():
    resolution = resolution_of("insecure-plain")
    client, _ = client_of("insecure-plain", resolution)
    for attempt in (0, 1, 2):
        start = RoundStart(3, MODEL_BYTES, attempt=attempt)
        assert [decode(r) for r in client.handle(encode(start))] == [Ready(3, attempt)]
    for index, attempt in ((3, 2), (3, 1), (2, 2)):
        with pytest.raises(LocalProtocolError, match="was in round"):
            client.handle(encode(RoundStart(index, MODEL_BYTES, attempt=attempt)))
    with pytest.raises(LocalProtocolError, match="no attempt 3"):
        client.handle(encode(RoundStart(4, MODEL_BYTES, attempt=3)))
    with pytest.raises(LocalProtocolError, match="no attempt -1"):
        client.handle(encode(RoundStart(4, MODEL_BYTES, attempt=-1)))


def test_messages_of_another_attempt_are_refused_on_both_sides():
    """Mutant in words: a late upload of the first attempt, taken in the second, is a vector of no context."""
    resolution = resolution_of("insecure-plain")
    client, _ = client_of("insecure-plain", resolution)
    start = RoundStart(3, MODEL_BYTES, attempt=1)
    client.handle(encode(start))
    server, message = opening(resolution, start)
    opened = decode(message)
    with pytest.raises(LocalProtocolError, match=r"\(attempt 1\)"):
        client.handle(encode(SumOpen(3, 20, opened.opening)))
    (upload,) = client.handle(message)
    late = SumMessage(3, decode(upload).payload, 0)
    with pytest.raises(LocalProtocolError, match="not awaited"):
        server.receive(0, encode(late))
    server.receive(0, upload)
    other = RoundServer(resolution, InsecurePlain().server_side(b""), start=start, cohort=range(20))
    other.open()
    with pytest.raises(LocalProtocolError, match="not awaited"):
        other.receive(0, encode(Ready(3, 0)))


def test_the_key_holder_opens_one_sum_of_a_round_whatever_the_attempt():
    holder = key_holder()
    starts = [bytes([letter]) * 32 for letter in b"abcdefg"]  # digests of first messages
    for attempt in (0, 1):
        with pytest.raises(HeError):
            holder.handle(encode(OpenRequest(1, 20, starts[attempt], (b"junk",), attempt)))
        with pytest.raises(LocalProtocolError, match="asked for before"):  # the same once more
            holder.handle(encode(OpenRequest(1, 20, starts[attempt], (), 2)))
    with pytest.raises(HeError):
        holder.handle(encode(OpenRequest(1, 20, starts[2], (b"junk",), 2)))
    with pytest.raises(LocalProtocolError, match="asked for before"):  # a fourth attempt
        holder.handle(encode(OpenRequest(1, 20, starts[3], (), 2)))
    with pytest.raises(LocalProtocolError, match="no attempt 3"):
        holder.handle(encode(OpenRequest(2, 20, starts[4], (), 3)))
    with pytest.raises(HeError):
        holder.handle(encode(OpenRequest(2, 20, starts[4], (b"junk",), 0)))
    holder._opened = 1  # what a success leaves
    with pytest.raises(LocalProtocolError, match="asked for before"):
        holder.handle(encode(OpenRequest(2, 20, starts[5], (), 1)))


def test_an_opened_round_is_noted_by_the_key_holder(monkeypatch):
    run = federation(SUMS["bfv"])
    holders = []

    def watched(resolution, transport, *rest):
        provision = provision_all(resolution, transport, *rest)
        holders.append(transport._parties[-1])
        return provision

    monkeypatch.setattr("fedavg.federation.federation.provision_all", watched)
    list(run.run(2))
    assert (holders[0]._round, holders[0]._opened) == (1, 1)


PRIVATE = {"encoding": FixedPoint(0.5, 9), "noise": CentralGaussian(1.0)}


def test_under_dp_nothing_is_tried_again(monkeypatch):
    """A second draw because the first was too small is no Poisson draw: refused, skipped, charged."""
    with pytest.raises(PlanError, match="not tried again"):
        plan(InsecurePlain(), **PRIVATE, limits=Limits(retries=1))
    assert plan(InsecurePlain(), **PRIVATE).retry_limit == 0
    assert plan(InsecurePlain(), **PRIVATE, limits=Limits(retries=0)).retry_limit == 0
    assert plan(InsecurePlain()).retry_limit == 2
    silence(monkeypatch, first_attempt_of_round_1)
    run = federation(SecAgg(), n=40, changes=PRIVATE)
    silence(monkeypatch, lambda client, index, attempt: 0 if index == 1 and client < 35 else None)
    results = list(run.run(3))
    assert [result.skipped is None for result in results] == [True, False, True]
    assert all(tuple(result.aborted) == () for result in results)
    spent = [result.epsilon_release for result in results]
    assert spent[0] < spent[1] < spent[2]
    resolution = resolution_of("insecure-plain", **PRIVATE)
    client, _ = client_of("insecure-plain", resolution)
    with pytest.raises(LocalProtocolError, match="no attempt 1"):
        client.handle(encode(RoundStart(0, MODEL_BYTES, attempt=1)))


def test_a_negative_number_of_retries_is_refused():
    with pytest.raises(PlanError, match="retries"):
        Limits(retries=-1)


CONTROLS = {
    "stages": (Scaffold(),),
    "local_training": LocalTraining(steps=3, batch_size=2, lr=0.3),
    "encoding": FixedPoint(8.0, 12, rounding="nearest"),
}


def upload_lost_in_round_1(client, index, attempt):
    """Five fall silent at the upload: 15 updates leave, and the round gives no sum."""
    return 1 if index == 1 and attempt == 0 and client < 5 else None


def variates_of(run):
    ctx = next(iter(run._population._clients.values()))._ctx
    point = ctx.store.load(0, 10**6)
    assert point
    return np.mean([ctx.store.load(i, 10**6)["scaffold.control"] for i in range(20)], axis=0)


class Held(Federation):
    """Keeps hold of its clients."""

    def _transport(self):
        transport = super()._transport()
        self._population = transport._population
        return transport


def test_what_clients_kept_of_a_lost_sum_is_forgotten(monkeypatch):
    """SCAFFOLD's c stays the mean of all cᵢ although 15 clients had moved theirs for nothing."""
    silence(monkeypatch, upload_lost_in_round_1)
    run = Held(MODEL, clients(20), plan(InsecurePlain(), **CONTROLS))
    results = list(run.run(4))
    assert [result.skipped is None for result in results] == [True, False, True, True]
    assert run._global.voided == (3,)
    np.testing.assert_allclose(run._global.stages.arrays["scaffold"], variates_of(run), atol=1e-9)


def test_the_mutant_that_keeps_it_drifts_off(monkeypatch):
    silence(monkeypatch, upload_lost_in_round_1)
    run = Held(MODEL, clients(20), plan(InsecurePlain(), **CONTROLS))
    run._global.void = lambda *_: None
    list(run.run(4))
    assert np.abs(run._global.stages.arrays["scaffold"] - variates_of(run)).max() > 1e-3


def test_a_resumed_run_retries_and_forgets_as_an_undisturbed_one(tmp_path, monkeypatch):
    def rule(client, index, attempt):
        if attempt:
            return None
        lost = {1: (4, 5), 3: (0, 19)}.get(index)  # masked inputs leave at stage 4
        return lost[0] if lost and client < lost[1] else None

    silence(monkeypatch, rule)
    sums = SecAgg(dropout_rate=0.1, corrupt_rate=0.05)
    whole = federation(sums, changes=CONTROLS)
    results = list(whole.run(5))
    assert [len(result.aborted) for result in results] == [0, 0, 0, 1, 0]
    assert results[1].skipped
    options = {"changes": CONTROLS, "client_store": tmp_path / "clients"}
    journal = RunJournal(tmp_path)
    stop_in_round(federation(sums, journal=journal, **options), journal, 4, rounds=5)
    second = federation(sums, journal=RunJournal(tmp_path), **options)
    rest = list(second.run(5, RunJournal(tmp_path).load()))
    assert [tuple(r.aborted) for r in rest] == [tuple(r.aborted) for r in results[3:]]
    assert np.array_equal(second.released, whole.released)
    assert np.array_equal(
        second._global.stages.arrays["scaffold"], whole._global.stages.arrays["scaffold"]
    )
    assert second._global.voided == whole._global.voided


@pytest.mark.parametrize("workers", [0, 2])
def test_attempts_have_faults_of_their_own_in_every_process(workers):
    """Who answers each attempt at one round, over the wire, is who the public seed lets answer.

    The half that is asked lives in one of the two processes, and the other trains some of it.  Mutant:
    what was trained elsewhere comes back as of attempt 0.
    """
    faults = Faults(rate=0.9, seed=5)
    run = federation(SUMS["secagg"], workers=workers, faults=faults)
    transport = run._transport()
    answered = []
    try:
        resolution = run.resolve(2)
        provision_all(resolution, transport, 0, None, None)
        for attempt in (0, 1, 2):
            transport.begin_round(1, attempt)
            message = encode(run._global.start(1, attempt))
            outgoing = dict.fromkeys(range(0, 20, 2), (message,))
            answered.append({d.party for d in transport.exchange(outgoing) if d.messages})
    finally:
        transport.close()
    expected = [
        {
            c
            for c in range(0, 20, 2)
            if faults.silent_from(client_id=c, round_index=1, attempt=a) != 0
        }
        for a in (0, 1, 2)
    ]
    assert answered == expected
    assert len({frozenset(who) for who in answered}) == 3


def test_a_run_over_worker_processes_retries():
    """With a fifth of the clients leaving each attempt, at any stage, some rounds are tried again."""
    run = federation(
        SecAgg(dropout_rate=0.1, corrupt_rate=0.05), workers=2, faults=Faults(rate=0.2, seed=5)
    )
    results = list(run.run(8))
    assert any(result.aborted for result in results)
    assert results[-1].accuracy > 0.9
