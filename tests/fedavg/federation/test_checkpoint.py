"""Checkpoints: what they hold, in which order they reach the disk, and what a restart refuses."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save

from dp import FixedSizeSampling, GaussianEvent, Ledger
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import CheckpointError
from fedavg.federation import checkpoint
from fedavg.federation.checkpoint import Checkpoint, RunJournal, fingerprint
from fedavg.models import arrays as arrays_file
from fedavg.optimizers.server import FedAdam, FedAvg, FedMomentum, FedYogi
from fedavg.optimizers.wrapped import Averaged
from fedavg.plan.plan import Budget, Limits
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import CentralGaussian
from fedavg.privacy.sampling import FixedCohort
from fedavg.server.model import ModelState
from fedavg.sums.interface import Conviction
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import LENGTH, federation

PRIVATE = {
    "encoding": FixedPoint(1.0, 16),
    "noise": CentralGaussian(4.0),
    "budget": Budget(math.inf, 1e-5),
}


def point(**changes) -> Checkpoint:
    parts = {
        "fingerprint": "ab",
        "rounds_done": 2,
        "vector": np.arange(3.0),
        "released": np.arange(3.0) / 7,
        "optimizer": {"velocity": np.full(3, 0.1), "averaged.weight": 1.5, "averaged.models": 2},
        "clip": 0.3,
        "participations": {0: 1, 5: 2},
        "ledger": Ledger(2.0, 1e-5).state_dict(),
        "last": {"round": 2, "loss": math.nan},
    }
    parts |= changes
    model = {
        field.name: parts.pop(field.name) for field in fields(ModelState) if field.name in parts
    }
    return Checkpoint(model=ModelState(**model), **parts)


def test_convictions_come_back(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    found = (Conviction(5, "client 5 cheats", b"context", bytes(range(256))),)
    path.write_bytes(point(convictions=found).to_bytes())
    assert tuple(Checkpoint.load(path).convictions) == found
    assert "evidence" not in repr(found)


def federate(journal, *, changes=None, **options):
    return federation(
        InsecurePlain(), n=20, changes=PRIVATE if changes is None else changes, journal=journal
    )


def stop_in_round(model, journal, number, rounds=6):
    """Run until a round is charged, and die before its end."""

    class Killed(BaseException):
        pass

    def dying(*args):
        raise Killed

    run = model.run(rounds)
    done = [next(run) for _ in range(number - 1)]
    model._round = dying
    with pytest.raises(Killed):
        next(run)
    return done


@given(
    vector=arrays(np.float64, 4, elements=st.floats(-1e300, 1e300)),
    weight=st.floats(0, 1e9),
    clip=st.none() | st.floats(1e-100, 1e100),
    counts=st.dictionaries(st.integers(0, 10**6), st.integers(0, 10**6), max_size=5),
)
@settings(max_examples=30, deadline=None)
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path_factory, vector, weight, clip, counts):
    path = tmp_path_factory.mktemp("point") / "checkpoint.safetensors"
    state = {"first": vector, "averaged.mean": vector[::-1]}
    numbers = {"averaged.weight": weight, "averaged.models": 3}
    kept = point(
        vector=vector,
        released=vector[::-1],
        optimizer=state | numbers,
        clip=clip,
        participations=counts,
    )
    path.write_bytes(kept.to_bytes())
    back = Checkpoint.load(path)
    assert np.array_equal(back.model.vector, vector)
    assert np.array_equal(back.model.released, vector[::-1])
    assert all(np.array_equal(back.model.optimizer[name], state[name]) for name in state)
    assert {name: back.model.optimizer[name] for name in numbers} == numbers
    assert (back.model.clip, back.participations, back.ledger) == (clip, counts, kept.ledger)


@pytest.mark.parametrize(
    "changes",
    [
        {"vector": np.zeros(2)},
        {"released": np.array([0.0, np.nan, 0.0])},
        {"rounds_done": -1},
        {"participations": {0: -1}},
        {"clip": 0.0},
        {"clip": math.nan},
    ],
)
def test_values_that_no_run_has_are_refused(changes):
    with pytest.raises(CheckpointError, match="checkpoint"):
        point(**changes)


@pytest.mark.parametrize("keep", [0, 1, 9, 200, -1])
def test_half_a_checkpoint_is_refused(tmp_path, keep):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(point().to_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"damaged|version"):
        Checkpoint.load(path)


def test_other_safetensors_files_are_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(save({"vector": np.zeros(3)}, {"format": "other", "state": "{}"}))
    with pytest.raises(CheckpointError, match="no checkpoint of this version"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    "rule",
    [FedAvg(1.0), FedMomentum(0.5, 0.9), FedAdam(0.3), FedYogi(0.3)],
    ids=lambda r: type(r).__name__,
)
def test_without_noise_a_restart_ends_as_if_nothing_had_happened(tmp_path, rule):
    changes = {"server_optimizer": Averaged(rule, 0.5)}
    whole = federate(None, changes=changes)
    results = list(whole.run(6))
    journal = RunJournal(tmp_path)
    first = federate(journal, changes=changes)
    stop_in_round(first, journal, 5)
    second = federate(RunJournal(tmp_path), changes=changes)
    rest = list(second.run(6, RunJournal(tmp_path).load()))
    assert [r.round for r in rest] == [5, 6]
    assert np.array_equal(second.released, whole.released)
    assert [(r.accuracy, r.loss, r.survivors) for r in rest] == [
        (r.accuracy, r.loss, r.survivors) for r in results[4:]
    ]


def test_under_dp_the_round_that_was_running_stays_charged_and_gives_no_model(tmp_path):
    journal = RunJournal(tmp_path)
    first = federate(journal)
    done = stop_in_round(first, journal, 4)
    restart = RunJournal(tmp_path).load()
    assert restart.lost == 1
    assert sorted(restart.asked) == [3]
    second = federate(RunJournal(tmp_path))
    rest = list(second.run(6, restart))
    assert [r.round for r in rest] == [4, 5, 6]
    assert "stays charged" in rest[0].skipped
    assert rest[0].epsilon_release > done[-1].epsilon_release
    assert all(r.skipped is None for r in rest[1:])
    uninterrupted = federate(None)
    last = list(uninterrupted.run(6))[-1]
    assert rest[-1].epsilon_release == last.epsilon_release
    assert second.ledger.state_dict() == uninterrupted.ledger.state_dict()


def test_dying_again_and_again_never_gives_back_what_was_charged(tmp_path):
    """Each start dies in its first round of its own: six rounds, six charges, no model."""
    spent = []
    restart = None
    for number in range(1, 7):
        journal = RunJournal(tmp_path)
        model = federate(journal)
        run, model._round = model.run(6, restart), None  # calling None is the crash
        with pytest.raises(TypeError):
            list(run)
        restart = RunJournal(tmp_path).load()
        assert len(restart.ledger.history) == number + 1
        spent.append(restart.ledger.spent().high)
    assert spent == sorted(spent)
    last = list(federate(None).run(6, restart))
    assert [r.round for r in last] == [6]
    assert last[0].skipped is not None


def test_the_charge_is_on_disk_before_a_client_is_asked(tmp_path):
    seen = []
    model = federate(RunJournal(tmp_path))
    inner = model._round

    def spying(*arguments):
        seen.append(len(Ledger.load(tmp_path / "ledger.json").history))
        return inner(*arguments)

    model._round = spying
    for result in model.run(3):
        point_now = Checkpoint.load(tmp_path / "checkpoint.safetensors")
        assert point_now.rounds_done == result.round
        assert np.array_equal(point_now.model.released, model.released)
    assert seen == [2, 3, 4]


def test_the_adaptive_clip_norm_and_the_caps_go_on(tmp_path):
    changes = PRIVATE | {
        "clipping": AdaptiveClipping(quantile=0.3, bit_stddev=4.0),
        "limits": Limits(max_participations=3),
    }
    journal = RunJournal(tmp_path)
    stop_in_round(federate(journal, changes=changes), journal, 3)
    restart = RunJournal(tmp_path).load()
    assert restart.checkpoint.model.clip != 1.0
    model = federate(RunJournal(tmp_path), changes=changes)
    rest = list(model.run(6, restart))
    assert rest[0].clip == rest[1].clip == restart.checkpoint.model.clip
    # two rounds before, the lost one counts for all who were asked, so nobody is left
    assert set(Checkpoint.load(tmp_path / "checkpoint.safetensors").participations.values()) == {3}
    assert [r.survivors for r in rest] == [0, 0, 0, 0]


def test_without_the_carried_count_a_restart_would_pass_the_cap(tmp_path, monkeypatch):
    """Mutant: the simulation's new clients count from zero, and no other party keeps a count."""
    changes = PRIVATE | {"limits": Limits(max_participations=3)}
    journal = RunJournal(tmp_path)
    stop_in_round(federate(journal, changes=changes), journal, 3)
    model = federate(None, changes=changes)
    monkeypatch.setattr(model, "_asked", lambda resolution, cohort: cohort)
    rest = list(model.run(6, RunJournal(tmp_path).load()))
    assert [r.survivors > 0 for r in rest] == [False, True, True, True]


def rolled_back(folder):
    ledger = Ledger(math.inf, 1e-5)
    ledger.save(folder / "ledger.json")


def another_budget(folder):
    state = json.loads((folder / "ledger.json").read_text())
    del state["digest"]  # it would give the change away
    (folder / "ledger.json").write_text(json.dumps(state | {"epsilon": 50.0}))


def another_history(folder):
    ledger = Ledger(math.inf, 1e-5)
    for _ in range(9):
        ledger.charge(GaussianEvent(100.0))
    ledger.save(folder / "ledger.json")


def gone(folder):
    (folder / "ledger.json").unlink()


def garbage(folder):
    (folder / "ledger.json").write_text("{")


@pytest.mark.parametrize("harm", [rolled_back, another_budget, another_history, gone, garbage])
def test_a_ledger_that_shows_less_is_refused(tmp_path, harm):
    journal = RunJournal(tmp_path)
    stop_in_round(federate(journal), journal, 3)
    assert RunJournal(tmp_path).load() is not None
    harm(tmp_path)
    with pytest.raises(CheckpointError, match=r"less spent|damaged"):
        RunJournal(tmp_path).load()


def test_a_checkpoint_that_went_missing_is_not_a_fresh_start(tmp_path):
    journal = RunJournal(tmp_path)
    assert journal.load() is None
    stop_in_round(federate(journal), journal, 2)
    (tmp_path / "checkpoint.safetensors").unlink()
    with pytest.raises(CheckpointError, match="shows releases"):
        RunJournal(tmp_path).load()


@pytest.mark.parametrize(
    "other",
    [
        {"noise": CentralGaussian(3.0)},
        {"budget": Budget(90.0, 1e-5)},
        {"limits": Limits(max_participations=5)},
        {"server_optimizer": FedMomentum(1.0, 0.5)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_plan_is_refused_and_nothing_changes(tmp_path, other):
    journal = RunJournal(tmp_path)
    stop_in_round(federate(journal), journal, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = federate(RunJournal(tmp_path), changes=PRIVATE | other)
    with pytest.raises(CheckpointError, match="another plan"):
        next(model.run(6, RunJournal(tmp_path).load()))
    assert (model.stopped, model.ledger.history) == ("unstarted", ())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rounds_that_were_charged_for_undrawn_clients_are_not_continued(tmp_path, monkeypatch):
    """An older run with cohorts of fixed size: its ledger has another event, and no field for it."""
    changes = PRIVATE | {"cohort": FixedCohort(5)}
    with monkeypatch.context() as older:
        older.setattr(checkpoint, "arrays_bytes", save)
        older.setattr(FixedCohort, "scheme", lambda self, n: FixedSizeSampling(self.size, n))
        journal = RunJournal(tmp_path)
        stop_in_round(federate(journal, changes=changes), journal, 3)
    for path in (tmp_path / "ledger.json", tmp_path / "checkpoint.safetensors"):
        # Padded, since a tensor file states the length of its header.
        field = re.compile(rb',\s*(?:\\*"enrolled\\*": false|"digest": "\w{64}")')
        data = field.sub(lambda found: b" " * len(found[0]), path.read_bytes())
        assert b"enrolled" not in data
        path.write_bytes(data)
    restart = RunJournal(tmp_path).load()
    assert restart.ledger.history[-1].event.sampling == FixedSizeSampling(5, 20)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = federate(RunJournal(tmp_path), changes=changes)
    with pytest.raises(CheckpointError, match=r"not drawn.*begin the run anew; 'fedavg budget"):
        next(model.run(6, restart))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    # Mutant: without the check the run goes on, and its ledger counts two kinds of absent clients.
    monkeypatch.setattr(checkpoint, "charged_undrawn", lambda _ledger: False)
    list(model.run(6, restart))
    assert len(model.ledger.accountant.counts) == 3


def test_a_run_with_fixed_cohorts_goes_on(tmp_path):
    changes = PRIVATE | {"cohort": FixedCohort(5)}
    journal = RunJournal(tmp_path)
    stop_in_round(federate(journal, changes=changes), journal, 3)
    second = federate(RunJournal(tmp_path), changes=changes)
    assert len(list(second.run(6, RunJournal(tmp_path).load()))) == 4


def test_another_length_or_population_is_refused(tmp_path):
    journal = RunJournal(tmp_path)
    stop_in_round(federate(journal), journal, 3)
    with pytest.raises(CheckpointError, match="another plan"):
        next(federate(None).run(7, RunJournal(tmp_path).load()))
    fewer = federation(InsecurePlain(), n=19, changes=PRIVATE)
    with pytest.raises(CheckpointError, match="another plan"):
        next(fewer.run(6, RunJournal(tmp_path).load()))


def test_an_open_cap_and_the_cap_that_it_resolves_to_are_one_plan():
    model = federate(None)
    resolution = model.resolve(6)
    limits = Limits(max_participations=resolution.max_participations)
    named = replace(resolution.plan, limits=limits)
    assert resolution.digest != replace(resolution, plan=named).digest
    marks = {fingerprint(r, model.layout, 0) for r in (resolution, replace(resolution, plan=named))}
    assert len(marks) == 1
    assert fingerprint(resolution, model.layout, 1) not in marks
    assert model.layout.size == LENGTH


def test_a_full_disk_stops_before_anything_is_asked(tmp_path):
    asked = []
    model = federate(RunJournal(tmp_path / "not there"))
    model._round = asked.append
    with pytest.raises(CheckpointError, match="nothing is released"):
        next(model.run(3))
    assert not asked


def test_each_flipped_bit_of_a_checkpoint_is_refused_or_changes_nothing(tmp_path):
    """A flipped bit of a weight gave another model. Only the header's padding may differ."""
    path = tmp_path / "checkpoint.safetensors"
    data = point(vector=np.arange(3.0), spent=(3, 4)).to_bytes()
    path.write_bytes(data)
    whole = sorted(Checkpoint.load(path).to_bytes())  # sorted, as metadata has no order
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = Checkpoint.load(path)
        except CheckpointError:
            continue
        assert sorted(found.to_bytes()) == whole, place


def test_mutant_without_the_digest_takes_another_model(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays_file, "_digest", lambda *_: "")
    with pytest.raises(AssertionError):
        test_each_flipped_bit_of_a_checkpoint_is_refused_or_changes_nothing(tmp_path)


@pytest.mark.parametrize("name", ["asked", "opening"])
def test_each_flipped_bit_of_the_running_round_is_refused(tmp_path, name):
    """A flipped digit of an id let a client be asked again whose update may have been in an opened sum."""
    journal, path = RunJournal(tmp_path), tmp_path / "round.json"
    if name == "asked":
        journal.charged(Ledger(2.0, 1e-5), 3, (5, 17))
    else:
        journal.opening(3, (5, 17))
    data = path.read_bytes()
    assert journal._running(name) == {3: (5, 17)}
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match="damaged"):
            journal._running(name)
