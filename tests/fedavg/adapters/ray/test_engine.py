"""How a cluster is joined, and what its errors become, over a module that stands in for Ray."""

from __future__ import annotations

import os
import sys
import types

import pytest

from fedavg.adapters.engines import Engine
from fedavg.adapters.ray.engine import join
from fedavg.adapters.ray.interface import LostError
from fedavg.errors import LocalProtocolError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


@pytest.fixture
def ray(monkeypatch):
    """A stand-in that writes down how it was used."""
    module = types.ModuleType("ray")
    module.began, module.options, module.ended = [], [], 0
    module.joined, module.there = False, True

    def init(**options):
        if not module.there and options["address"] != "local":
            raise ConnectionError
        module.began.append(options)

    def shutdown():
        module.ended += 1

    def remote(**options):
        module.options.append(options)
        return lambda kind: types.SimpleNamespace(remote=lambda *given: (kind, given))

    def get(ticket):
        if isinstance(ticket, Exception):
            raise ticket
        return ticket

    module.init, module.shutdown, module.remote, module.get = init, shutdown, remote, get
    module.util = types.SimpleNamespace(get_node_ip_address=lambda: module.address)
    module.address = "127.0.0.1"
    module.is_initialized = lambda: module.joined
    module.cluster_resources = lambda: {"CPU": 3.0, "memory": 1e9}
    module.exceptions = types.SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setattr(Engine, "version", lambda _: "2.55.1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    return module


def test_without_an_address_a_cluster_is_started_for_this_machine_alone(ray):
    """Another program's cluster, which Ray itself would join, is left alone."""
    engine = join()
    (options,) = ray.began
    assert options["address"] == "local"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert options["include_dashboard"] is False
    assert options["object_store_memory"] == 512 << 20
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    engine.close()
    assert ray.ended == 1


def test_a_cluster_that_would_listen_elsewhere_is_not_started(ray):
    ray.address = "192.0.2.7"
    with pytest.raises(LocalProtocolError, match="would listen on every address"):
        join()
    assert not ray.began


def test_the_cluster_of_the_address_is_joined_as_it_is(ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    join().close()
    (options,) = ray.began
    assert options == {
        "address": "head:6379",
        "log_to_driver": False,
        "logging_level": "error",
    }
    assert ray.ended == 1


@pytest.mark.parametrize(
    ("address", "there", "told"),
    [
        ("head:6379", False, "there is no Ray cluster at RAY_ADDRESS=head:6379"),
        ("ray://head:10001", True, "a proxy of Ray Client"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(address, there, told, ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    ray.there = there
    with pytest.raises(LocalProtocolError, match=told):
        join()
    assert not ray.began


def test_the_callers_own_cluster_is_used_and_left_running(ray):
    ray.joined = True
    engine = join()
    assert engine.processors() == 3.0
    engine.close()
    assert (ray.began, ray.ended) == ([], 0)


def test_a_lost_process_and_an_error_are_told_apart(ray):
    engine = join()
    assert engine.answer(b"answer") == b"answer"
    with pytest.raises(LostError, match="^RayError: The node died.$"):
        engine.answer(RayError("The node died.\nOf this there is more to say."))
    missing = "ModuleNotFoundError: No module named 'fedavg'"
    with pytest.raises(LostError, match=f"^RayError: The actor died.; {missing}$"):
        engine.answer(RayError(f"The actor died.\n  Traceback …\n{missing}\n"))
    error = RayTaskError(
        "Traceback:\n  File …\nfedavg.errors.LocalProtocolError: enrolment comes first"
    )
    with pytest.raises(
        LocalProtocolError, match="LocalProtocolError: enrolment comes first"
    ) as told:
        engine.answer(error)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__


def test_actors_and_tasks_are_never_restarted_by_ray_unasked(ray):
    engine = join()
    engine.start(dict, 0.5)
    engine.submit(len, (b"abc",), 2)
    engine.submit(len, (b"abc",), 2)
    actor, task = ray.options  # a function is announced once
    assert (actor["max_restarts"], actor["max_task_retries"], actor["num_cpus"]) == (0, 0, 0.5)
    assert (task["max_retries"], task["num_cpus"]) == (2, 1)
