"""A cluster of two nodes on this machine, which ends with its test."""

from __future__ import annotations

import pytest


@pytest.fixture
def cluster(monkeypatch):
    """A head with one processor and a node with one, on 127.0.0.1, without a dashboard."""
    pytest.importorskip("ray", minversion="2.55")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    # Ray then takes 127.0.0.1 for the address of this machine, and listens nowhere else.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    node = {"num_cpus": 1, "object_store_memory": 200 << 20}
    made = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        made.add_node(**node)
        ray.init(address=made.address, log_to_driver=False, logging_level="error")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
