"""Clients on actors: the results of one process, and lost actors whose clients come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedavg.adapters.ray import RaySimulation
from fedavg.adapters.ray import letters as letters_module
from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.personal.ditto import Ditto
from fedavg.algorithms.scaffold import Scaffold
from fedavg.errors import LocalProtocolError
from fedavg.optimizers.local import LocalTraining
from fedavg.simulation.faults import Faults
from fedavg.simulation.population import InProcess, Population
from tests.e2e.small import MODEL, SUMS, clients, federation
from tests.fedavg.adapters.ray.fake import FakeEngine

N = 8


def on_actors(name, store, engine, *, rounds=3, actors=2, patience=0.0, **options):
    simulation = RaySimulation(actors=actors, patience=patience, joined=engine)
    made = federation(
        SUMS[name], n=N, model=MODEL, simulation=simulation, client_store=store, **options
    )
    return made, list(made.run(rounds))


class Without(InProcess):
    """One process, in which some clients are not heard from in some rounds."""

    def __init__(self, given, silent):
        super().__init__(Population(given.datasets, given.faults), given.model, given.layout)
        self.silent = silent

    def exchange(self, outgoing):
        away = self.silent.get(self.round_index, ())
        told = {to: sent for to, sent in outgoing.items() if to not in away}
        return super().exchange(told)


def facts(results):
    return [(r.survivors, r.cohort, r.accuracy, r.loss, r.bytes_up, r.bytes_down) for r in results]


@pytest.mark.parametrize("name", ["insecure-plain", "secagg", "bfv", "one-shot"])
def test_results_equal_those_of_one_process_to_the_bit(name, tmp_path):
    actors, results = on_actors(name, tmp_path, FakeEngine(), rounds=2)
    here = federation(SUMS[name], n=N, model=MODEL)
    expected = list(here.run(2))
    assert np.array_equal(actors.released, here.released)
    assert [r.survivors for r in results] == [N, N]
    if name == "insecure-plain":
        assert facts(results) == facts(expected)


def test_simulated_drop_outs_are_those_of_one_process(tmp_path):
    faults = Faults(0.3, seed=4)
    actors, results = on_actors("insecure-plain", tmp_path, FakeEngine(), faults=faults)
    here = federation(SUMS["insecure-plain"], n=N, model=MODEL, faults=faults)
    assert facts(results) == facts(here.run(3))
    assert np.array_equal(actors.released, here.released)


LOST = (1, 3, 5, 7)  # the clients of the second of two actors


@pytest.mark.parametrize("name", ["insecure-plain", "secagg"])
def test_clients_of_a_lost_actor_are_silent_in_that_round_and_then_come_back(name, tmp_path):
    engine = FakeEngine(room=4.0, doomed={3: (1, 1)})  # as the second round begins
    kind = on_actors(name, tmp_path, engine, actors=4, rounds=3)
    results = kind[1]
    assert [r.survivors for r in results] == [8, 6, 8]
    assert sorted(results[1].failures) == [3, 7]
    assert "its actor was lost (ActorDiedError: planted)" in results[1].failures[3]
    assert not results[2].failures
    assert [actor.processors for actor in engine.actors] == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert [actor.alive for actor in engine.actors] == [False] * 5  # all ended with the run
    assert engine.closed == 1


@pytest.mark.parametrize(
    ("stages", "personal"),
    [
        ((ErrorFeedback(),), None),
        ((Scaffold(),), None),
        ((), Ditto(LocalTraining(epochs=1, lr=0.1))),
    ],
    ids=["residuals", "controls", "personal models"],
)
def test_what_clients_keep_outlives_their_actor(stages, personal, tmp_path):
    """Mutant: a new actor with an empty memory gives another model from the third round on."""
    changes = {"stages": stages, "personalization": personal}
    engine = FakeEngine(doomed={1: (1, 1)})  # at the beginning of the second round
    actors, results = on_actors("insecure-plain", tmp_path, engine, changes=changes, rounds=4)
    assert [r.survivors for r in results] == [8, 4, 8, 8]
    here = federation(
        SUMS["insecure-plain"],
        n=N,
        changes=changes,
        simulation=lambda given: Without(given, {1: LOST}),
        client_store=tmp_path / "here",
    )
    assert [r.survivors for r in here.run(4)] == [8, 4, 8, 8]
    assert np.array_equal(actors.released, here.released)
    assert actors.scores == here.scores


def test_a_new_actor_that_is_late_is_waited_for_without_holding_rounds_up(tmp_path):
    engine = FakeEngine(doomed={1: (1, 1)}, lateness=2)
    _, results = on_actors("insecure-plain", tmp_path, engine, rounds=5)
    assert [r.survivors for r in results] == [8, 4, 4, 4, 8]
    assert "comes back in a later round" in results[3].failures[7]


def test_a_new_actor_may_be_lost_as_well(tmp_path):
    engine = FakeEngine(doomed={1: (1, 1), 2: (2, 1)})
    _, results = on_actors("insecure-plain", tmp_path, engine, rounds=4)
    assert [r.survivors for r in results] == [8, 4, 4, 8]
    assert len(engine.actors) == 4


@pytest.mark.parametrize(("dead", "survivors"), [(1, [8, 4, 8]), (3, [8, 4, 4])])
def test_a_new_actor_on_a_node_that_is_dead_already_is_replaced_in_the_same_round(
    dead, survivors, tmp_path
):
    doomed_at = dict.fromkeys(range(2, 2 + dead), "come_back")
    engine = FakeEngine(doomed={1: (1, 1)}, doomed_at=doomed_at)
    _, results = on_actors("insecure-plain", tmp_path, engine, patience=60.0)
    assert [r.survivors for r in results] == survivors


def test_an_actor_lost_while_models_are_scored_is_replaced(tmp_path):
    changes = {"personalization": Ditto(LocalTraining(epochs=1, lr=0.1))}
    engine = FakeEngine(doomed_at={1: "score"})
    actors, _ = on_actors("insecure-plain", tmp_path, engine, changes=changes, rounds=2)
    assert {score.client for score in actors.scores} == set(range(N))
    engine = FakeEngine(doomed_at={1: "score", 2: "score"})
    with pytest.raises(LocalProtocolError, match="4 clients did not score their models"):
        on_actors("insecure-plain", tmp_path, engine, changes=changes, rounds=2)


def test_without_a_folder_it_is_refused_before_any_round(tmp_path):
    engine = FakeEngine()
    with pytest.raises(LocalProtocolError, match="client_store= a folder that all nodes share"):
        on_actors("secagg", None, engine)
    assert [actor.alive for actor in engine.actors] == [False, False]


def test_a_node_that_does_not_share_the_folder_is_refused(tmp_path):
    class Elsewhere(FakeEngine):
        def call(self, actor, method, arguments):
            if method == "equip":
                arguments = (arguments[0], str(Path("/another/machine")))
            return super().call(actor, method, arguments)

    with pytest.raises(LocalProtocolError, match="a node of the cluster does not see"):
        on_actors("secagg", tmp_path, Elsewhere())


def test_keys_of_another_program_are_refused(tmp_path):
    """Mutant: without the comparison, a client with another's key would come back."""

    class Overwritten(FakeEngine):
        def call(self, actor, method, arguments):
            if method == "come_back":
                other = max(tmp_path.glob("keys-*/*.keys"))
                data = bytearray(other.read_bytes())
                data[-1] ^= 1
                other.write_bytes(data)
            return super().call(actor, method, arguments)

    _, results = on_actors("insecure-plain", tmp_path, Overwritten(doomed={1: (1, 1)}))
    assert [r.survivors for r in results] == [8, 4, 4]
    assert "are not those that were enrolled" in results[2].failures[7]


def test_keys_that_are_gone_keep_their_clients_away_and_say_so(tmp_path):
    class Deleted(FakeEngine):
        def call(self, actor, method, arguments):
            if method == "come_back":
                max(tmp_path.glob("keys-*/*.keys")).unlink(missing_ok=True)
            return super().call(actor, method, arguments)

    _, results = on_actors("insecure-plain", tmp_path, Deleted(doomed={1: (1, 1)}), rounds=3)
    assert [r.survivors for r in results] == [8, 4, 4]
    assert "are missing or damaged" in results[2].failures[1]


def test_keys_are_private_to_their_owner_and_deleted_at_the_end(tmp_path):
    modes = []

    class Looks(FakeEngine):
        def close(self):
            super().close()
            modes.append(len(list(tmp_path.glob("keys-*"))))

        def call(self, actor, method, arguments):
            modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.glob("keys-*/*.keys"))
            return super().call(actor, method, arguments)

    on_actors("secagg", tmp_path, Looks(), rounds=1)
    assert set(modes[:-1]) == {0o600}
    assert modes[-1] == 0


def test_the_model_goes_through_the_store_once_a_round(tmp_path, monkeypatch):
    monkeypatch.setattr(letters_module, "_LONG", 100)
    engine = FakeEngine(room=4.0)
    _, results = on_actors("insecure-plain", tmp_path, engine, actors=4, rounds=3)
    model = [data for data in engine.stored if len(data) > 150 and b"stored" not in data]
    assert len(engine.stored) == 1 + 3  # the plan, and a model each round
    assert len(model) == 4
    assert [r.survivors for r in results] == [8, 8, 8]


def test_a_module_cannot_be_built_elsewhere(tmp_path):
    simulation = RaySimulation(actors=1, joined=FakeEngine())
    made = federation(
        SUMS["insecure-plain"],
        model=MODEL.build(),
        simulation=simulation,
        client_store=tmp_path,
    )
    with pytest.raises(LocalProtocolError, match="give a ModelSpec"):
        next(made.run(1))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"actors": 3}, "3 actors of 1 processors do not fit the cluster's 2"),
        ({"processors": 3.0}, "1 actors of 3 processors do not fit the cluster's 2"),
    ],
)
def test_actors_that_do_not_fit_are_refused(options, told, tmp_path):
    engine = FakeEngine()
    made = federation(
        SUMS["insecure-plain"],
        simulation=RaySimulation(**options, joined=engine),
        client_store=tmp_path,
    )
    with pytest.raises(LocalProtocolError, match=told):
        next(made.run(1))
    assert engine.closed == 1


@pytest.mark.parametrize(
    "options",
    [{"actors": 0}, {"actors": True}, {"actors": 1.5}, {"processors": 0}, {"patience": -1.0}],
)
def test_numbers_are_checked_when_given(options):
    with pytest.raises(LocalProtocolError, match=next(iter(options))):
        RaySimulation(**options)


def test_more_actors_than_clients_are_not_started(tmp_path):
    engine = FakeEngine(room=64.0)
    on_actors("insecure-plain", tmp_path, engine, actors=64, rounds=1)
    assert len(engine.actors) == N


def test_a_client_that_came_back_answers_no_round_that_it_was_in(tmp_path):
    from fedavg.adapters.ray.clients import ActorClients
    from fedavg.protocol.messages import RoundStart, encode

    held = {}

    class Kept(ActorClients):
        def begin_round(self, round_index, attempt=0):
            held["clients"] = self
            super().begin_round(round_index, attempt)
            if round_index == 2:
                (population,) = {home.actor.held._population for home in list(self._homes)[1:]}
                start = RoundStart(1, np.zeros(39, "<f4").tobytes(), None)
                held["told"] = population.deliver(1, 3, [encode(start)])
                held["count"] = population._clients[3].participations

    engine = FakeEngine(doomed={1: (1, 2)})
    made = federation(
        SUMS["insecure-plain"],
        n=N,
        client_store=tmp_path,
        simulation=lambda given: Kept(given, engine, actors=2, processors=1.0, patience=0.0),
    )
    list(made.run(2 + 1))
    assert "client 3 was in round 1 before" in held["told"].failure
    assert held["count"] == 2  # the sums of two rounds, the second of them lost


def test_data_of_clients_is_theirs(tmp_path):
    """Every client is on one actor, with its own examples."""
    engine = FakeEngine()
    on_actors("insecure-plain", tmp_path, engine, rounds=1)
    data = clients(N)
    for index, actor in enumerate(engine.actors):
        held = actor.held._population._datasets
        assert sorted(held) == list(range(index, N, 2))
        assert all(np.array_equal(held[i].features, data[i].features) for i in held)
