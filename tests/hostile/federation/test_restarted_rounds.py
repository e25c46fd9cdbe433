"""C9: a run that is killed between the opening of a sum and its checkpoint never sums those updates again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import CheckpointError, LocalProtocolError
from fedavg.federation import federation as federation_module
from fedavg.federation.checkpoint import Checkpoint, RunJournal
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.plan import Budget, Limits
from fedavg.privacy.noise import CentralGaussian
from fedavg.privacy.sampling import FixedCohort
from fedavg.protocol.messages import OpenRequest, encode
from fedavg.server.key_holder import KeyHolder
from fedavg.server.opener import Opener
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from fedavg.sums.plain import InsecurePlain
from he import HeError, WireFormatError
from tests.e2e.small import LENGTH, federation

ROUNDS, N, SIZE = 4, 20, 5
HALF = SensitivityMap.from_scores(np.arange(float(LENGTH)), 0.5)
SUMS = {
    "bfv": Bfv(),
    "ckks": Ckks(),
    "bfv, the holder's key": Bfv(key_at="holder"),
    "secagg": SecAgg(corrupt_rate=0.0),
    "masks under encryption": EncryptedSecAgg(corrupt_rate=0.0),
    "one-shot": OneShot(corrupt_rate=0.0, committee=6, corrupt_members=1, absent_members=1),
    "a part encrypted, the rest in the clear": Selective(Bfv(), InsecurePlain(), HALF),
}
# whole batches in one epoch: an update depends on the model alone, so a second sum of it is exact
CHANGES = {
    "cohort": FixedCohort(SIZE),
    "local_training": LocalTraining(epochs=1, batch_size=1000, lr=0.5),
}
PRIVATE = {
    "encoding": FixedPoint(1.0, 16),
    "noise": CentralGaussian(4.0),
    "budget": Budget(math.inf, 1e-5),
}


class Killed(BaseException):
    pass


def killed(monkeypatch, run, where, rounds=ROUNDS):
    """Play until the process dies at this place of round index 1; gives each round's survivors and sum."""
    opened = []

    def dies(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        rows = run.run(rounds)
        next(rows)
        opened.append((run.last_sum.survivors, run.last_sum.total))
        patch.setattr(*where, dies)
        with pytest.raises(Killed):
            next(rows)
    return opened


CHECKPOINT = (RunJournal, "finished")
KEY_HOLDER = (KeyHolder, "handle")
MEMBER = (Opener, "handle")


def restarted(folder, secure_sum, changes=CHANGES):
    run = federation(secure_sum, n=N, changes=changes, journal=RunJournal(folder))
    return run, RunJournal(folder).load()


@pytest.mark.parametrize("name", SUMS)
def test_c9_a_round_that_may_have_been_opened_is_void_and_its_clients_wait(
    name, tmp_path, monkeypatch
):
    first = federation(SUMS[name], n=N, changes=CHANGES, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    lost = set(first.last_sum.survivors)
    second, restart = restarted(tmp_path, SUMS[name])
    assert restart.opening == {1: tuple(sorted(lost))}
    rows = second.run(ROUNDS, restart)
    void = next(rows)
    assert (void.round, void.survivors) == (2, 0)
    assert "may have been open" in void.skipped
    assert second.last_sum is None
    assert {client for client, n in second._spending.participations.items() if n} >= lost
    after = next(rows)
    assert after.skipped is None
    assert not lost & set(second.last_sum.survivors)
    assert after.round == 3
    assert next(rows).skipped is None
    assert second._spent == frozenset()


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("bfv", KEY_HOLDER),
        ("ckks", KEY_HOLDER),
        ("masks under encryption", KEY_HOLDER),
        ("one-shot", MEMBER),
    ],
)
def test_c9_killed_while_an_opener_works_is_void_too(name, where, tmp_path, monkeypatch):
    first = federation(SUMS[name], n=N, changes=CHANGES, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, where)
    second, restart = restarted(tmp_path, SUMS[name])
    results = list(second.run(ROUNDS, restart))
    assert [result.skipped is None for result in results] == [False, True, True]


@pytest.mark.parametrize("name", ["bfv", "ckks", "secagg"])
def test_c9_with_noise_the_round_stays_charged_and_void(name, tmp_path, monkeypatch):
    changes = PRIVATE | {"limits": Limits(max_participations=4)}
    first = federation(SUMS[name], n=N, changes=changes, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    second, restart = restarted(tmp_path, SUMS[name], changes)
    results = list(second.run(ROUNDS, restart))
    assert "stays charged" in results[0].skipped
    assert [result.skipped is None for result in results] == [False, True, True]
    assert results[-1].epsilon_release > results[0].epsilon_release


@pytest.mark.parametrize("name", ["bfv", "secagg"])
def test_c9_a_round_that_cannot_have_been_opened_is_run_again(name, tmp_path, monkeypatch):
    changes = CHANGES | {"cohort": FixedCohort(N)}
    whole = federation(SUMS[name], n=N, changes=changes)
    list(whole.run(ROUNDS))
    first = federation(SUMS[name], n=N, changes=changes, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, (RunJournal, "opening"))  # the inputs are in, and nothing is opened
    second, restart = restarted(tmp_path, SUMS[name], changes)
    assert 1 not in restart.opening
    results = list(second.run(ROUNDS, restart))
    assert [result.round for result in results] == [2, 3, 4]
    assert all(result.skipped is None for result in results)
    assert np.array_equal(second.released, whole.released)


def test_c9_a_second_restart_still_spares_who_is_spent(tmp_path, monkeypatch):
    first = federation(SUMS["bfv"], n=N, changes=CHANGES, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    lost = set(first.last_sum.survivors)
    second, restart = restarted(tmp_path, SUMS["bfv"])
    rows = second.run(ROUNDS, restart)
    next(rows)
    with monkeypatch.context() as patch:
        patch.setattr(RunJournal, "finished", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            next(rows)
    more = set(second.last_sum.survivors)
    assert not lost & more
    third, restart = restarted(tmp_path, SUMS["bfv"])
    rows = third.run(ROUNDS, restart)
    assert next(rows).skipped
    assert third._spent == lost | more
    assert next(rows).skipped is None
    assert not (lost | more) & set(third.last_sum.survivors)


def test_c9_with_too_few_others_the_run_does_not_go_on_and_nothing_changes(tmp_path, monkeypatch):
    changes = CHANGES | {"cohort": FixedCohort(N)}
    first = federation(SUMS["bfv"], n=N, changes=changes, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(2):
        second, restart = restarted(tmp_path, SUMS["bfv"], changes)
        with pytest.raises(
            CheckpointError, match=r"sum of 20 clients' updates .* the other 0 clients"
        ):
            next(second.run(ROUNDS, restart))
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_c9_in_the_last_round_there_is_nothing_more_to_sum(tmp_path, monkeypatch):
    changes = CHANGES | {"cohort": FixedCohort(N)}
    first = federation(SUMS["bfv"], n=N, changes=changes, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT, rounds=2)
    second, restart = restarted(tmp_path, SUMS["bfv"], changes)
    (void,) = second.run(2, restart)
    assert "may have been open" in void.skipped
    assert second.stopped == "finished"
    assert Checkpoint.load(tmp_path / "checkpoint.safetensors").spent == tuple(range(N))


def difference(tmp_path, monkeypatch, secure_sum):
    """The broken round's sum over five clients less a later one over four of them; client 4's input."""
    sent = {}

    def noting(side):
        def session(self, spec, client_id, identity, opening):
            inner = side(self, spec, client_id, identity, opening)
            keep = inner.set_input

            def set_input(vector):
                sent[client_id] = np.array(vector)
                keep(vector)

            inner.set_input = set_input
            return inner

        return session

    kind = type(secure_sum.client_side(secure_sum.provision(spec_of(secure_sum), {}).clients))
    monkeypatch.setattr(kind, "session", noting(kind.session))
    cohorts = iter([(0, 1, 2, 3, 4)] * 2 + [(0, 1, 2, 3)] * 9)
    monkeypatch.setattr(FixedCohort, "draw", lambda *_: next(cohorts))
    monkeypatch.setattr(FixedCohort, "again", lambda *_: next(cohorts))
    first = federation(secure_sum, n=N, changes=CHANGES, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    whole, own = first.last_sum.total, sent[4]
    second, restart = restarted(tmp_path, secure_sum)
    rows = second.run(ROUNDS, restart)
    for _ in rows:
        if second.last_sum is not None:
            break
    return None if second.last_sum is None else whole - second.last_sum.total, own


def spec_of(secure_sum):
    run = federation(secure_sum, n=N, changes=CHANGES)
    return run.resolve(ROUNDS).spec(SIZE, b"x" * 32)


def test_c9_whoever_draws_the_cohorts_gets_no_difference(tmp_path, monkeypatch):
    found, _ = difference(tmp_path, monkeypatch, Bfv(dropout_rate=0.2))
    assert found is None


def test_c9_mutant_that_runs_the_round_again_shows_an_update_exactly(tmp_path, monkeypatch):
    """As it was: nothing is written before the sum is opened, by server or key holder."""
    monkeypatch.setattr(RunJournal, "opening", lambda *_: None)
    monkeypatch.setattr(KeyHolder, "_record", lambda *_: None)
    found, own = difference(tmp_path, monkeypatch, Bfv(dropout_rate=0.2))
    assert np.array_equal(found, own)


def test_c9_mutant_that_voids_the_round_and_asks_the_same_clients_shows_it_too(
    tmp_path, monkeypatch
):
    """From the same model the next round's updates are those of the void one."""
    monkeypatch.setattr(federation_module, "newly_spent", lambda *_, **__: ())
    found, own = difference(tmp_path, monkeypatch, Bfv(dropout_rate=0.2))
    assert np.array_equal(found, own)


def test_c9_the_key_holder_refuses_by_itself_what_the_server_asks_again(tmp_path, monkeypatch):
    """The server's record is gone, and the key is a new one: the key holder has its own."""
    first = federation(SUMS["bfv"], n=N, changes=CHANGES, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    (tmp_path / "round.json").unlink()
    second, restart = restarted(tmp_path, SUMS["bfv"])
    results = list(second.run(ROUNDS, restart))
    assert [result.round for result in results] == [2, 3, 4]
    assert results[0].skipped == "the key holder did not open the sum"
    assert any("before the key holder's restart" in why for why in results[0].failures.values())
    assert all(result.skipped is None for result in results[1:])


@pytest.mark.parametrize("journaled", [True, False])
def test_c9_of_two_processes_of_one_key_holder_one_opens_a_round(journaled, tmp_path):
    """This holds for each placement of the key and each attempt. Mutant: without a journal both answer."""
    resolution = federation(SUMS["bfv"], n=N, changes=CHANGES).resolve(ROUNDS)
    errors = []
    for attempt in range(2):
        provision = SUMS["bfv"].provision(resolution.spec(SIZE, b"x" * 32), {})
        side = SUMS["bfv"].key_holder_side(provision.key_holder)
        journal = RunJournal(tmp_path).opened if journaled else None
        request = OpenRequest(0, SIZE, b"first message %d" % attempt, (b"no sum",), attempt)
        with pytest.raises((LocalProtocolError, HeError)) as raised:
            KeyHolder(resolution, side, journal).handle(encode(request))
        errors.append(raised.type)
    assert errors[0] is WireFormatError  # it got as far as the sum, which is none
    assert errors[1] is (LocalProtocolError if journaled else WireFormatError)


def test_an_update_in_the_clear_has_nothing_to_hide(tmp_path, monkeypatch):
    """InsecurePlain: a second sum shows the server nothing new, so the round is run again."""
    first = federation(InsecurePlain(), n=N, changes=CHANGES, journal=RunJournal(tmp_path))
    killed(monkeypatch, first, CHECKPOINT)
    second, restart = restarted(tmp_path, InsecurePlain())
    assert restart.opening == {}
    assert all(result.skipped is None for result in second.run(ROUNDS, restart))
