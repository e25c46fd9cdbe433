"""Tasks: each is answered once, losses and errors stay with their task, and no more run than asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedavg.adapters.ray import RayTasks
from fedavg.adapters.ray.place import Place
from fedavg.adapters.ray.tasks import TaskAnswer
from fedavg.errors import ConfigError
from tests.fedavg.adapters.ray.fake import FakeEngine

PAYLOADS = {name: name.encode() for name in "abcde"}


def upper(data):
    if data == b"c":
        raise ValueError("no c")
    return data.upper()


def answers(engine, **options):
    return {told.key: told for told in RayTasks(upper, joined=engine, **options).work(PAYLOADS)}


def test_every_task_is_answered_and_an_error_stays_with_its_task():
    found = answers(FakeEngine())
    assert found.keys() == PAYLOADS.keys()
    assert {key: told.data for key, told in found.items() if key != "c"} == {
        key: key.upper().encode() for key in "abde"
    }
    assert found["c"] == TaskAnswer("c", None, "a process of Ray: ValueError: no c")


@pytest.mark.parametrize(("at_once", "most"), [(None, 5), (1, 1), (3, 3)])
def test_no_more_run_at_a_time_than_asked(at_once, most):
    engine = FakeEngine()
    answers(engine, at_once=at_once)
    assert engine.most == most


def test_a_lost_task_is_retried_and_then_reported():
    found = answers(FakeEngine(losses={0: 2, 1: 3}))
    assert found["a"].data == b"A"
    assert found["b"].data is None
    assert "lost 3 times; at last ActorDiedError: planted" in found["b"].failure


@pytest.mark.parametrize(
    ("at_once", "room", "width"), [(None, 2.0, 2), (5, 2.0, 2), (1, 2, 1), (4, 0, 1)]
)
def test_the_width_is_what_the_cluster_has_room_for(at_once, room, width):
    assert RayTasks(upper, at_once=at_once, joined=FakeEngine(room=room)).width == width


def test_closing_stops_what_runs_and_leaves_the_cluster_once():
    engine = FakeEngine()
    tasks = RayTasks(upper, joined=engine)
    rounds = tasks.work(PAYLOADS)
    next(rounds)
    tasks.close()
    tasks.close()
    assert (len(engine.cancelled), engine.closed) == (4, 1)


def test_a_cluster_that_nobody_needs_is_not_joined():
    def joined():
        raise RuntimeError

    RayTasks(upper, joined=joined).close()


@pytest.mark.parametrize("jobs", [0, -1, True, 1.5, "2"])
def test_the_number_at_a_time_is_checked(jobs):
    with pytest.raises(ConfigError, match="jobs"):
        RayTasks(upper, at_once=jobs)


def test_a_node_of_other_versions_is_refused_by_name(monkeypatch):
    here = Place.here()
    monkeypatch.setattr(
        Place, "here", lambda: Place(here.folder, here.path, here.versions | {"numpy": "0.1"})
    )
    tasks = RayTasks(upper, joined=FakeEngine())
    rounds = tasks.work({"a": b"a"})
    monkeypatch.setattr(FakeEngine, "answer", _at_home(here))
    assert "numpy" in next(rounds).failure


def _at_home(here):
    answer = FakeEngine.answer

    def answered(engine, ticket):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Place, "here", lambda: here)
            return answer(engine, ticket)

    return answered


def test_a_process_takes_on_the_folder_and_the_modules_of_the_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "mine")])
    place = Place.here()
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", ["/installed", *sys.path[:-1]])
    place.enter()
    assert Path.cwd() == tmp_path
    assert (sys.path[0], sys.path[-1]) == ("/installed", str(tmp_path / "mine"))


def test_a_folder_that_a_node_lacks_is_named():
    here = Place.here()
    gone = Place("/no/such/folder", here.path, here.versions)
    with pytest.raises(Exception, match="cannot use the program's folder /no/such/folder"):
        gone.enter()
