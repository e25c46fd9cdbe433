"""What a report shows of the recorded round."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.protocol.transcript import Transcript
from fedavg.runs.server_view import server_view
from tests.e2e.small import LENGTH, SUMS, federation


@pytest.mark.parametrize("name", SUMS)
def test_the_view_counts_messages_and_shows_one_survivor(name):
    run = federation(SUMS[name], transcript=Transcript(frozenset({0})))
    result = next(run.run(1))
    view = server_view(run, run.resolve(1))
    assert view["round"] == 1
    assert view["backend"] == name
    assert view["hides_updates"] == (name != "insecure-plain")
    assert view["received"].endswith(".")
    assert len(view["aggregate"]) == LENGTH
    counts = {(row["kind"], row["direction"]): row["count"] for row in view["messages"]}
    assert counts["ready", "up"] == 20
    assert sum(row["bytes"] for row in view["messages"]) == result.bytes_up + result.bytes_down
    client = view["client"]
    assert client["update"] == client["noised"]  # no noise in this plan
    same = np.array_equal(client["masked"][: LENGTH + 1], client["update"])
    assert same == (name == "insecure-plain")


def test_nothing_recorded_gives_no_view():
    run = federation(SUMS["insecure-plain"])
    next(run.run(1))
    assert server_view(run, run.resolve(1)) is None
    other = federation(SUMS["insecure-plain"], transcript=Transcript(frozenset({5})))
    next(other.run(1))
    assert server_view(other, other.resolve(1)) is None
