"""What outlives a sum at the server: where nodes are, numbers of sums, and what was spent."""

from __future__ import annotations

import importlib.util

import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import Error, Message, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg

from fedavg import OneShot
from fedavg.adapters.exchange import enrol_here
from fedavg.adapters.flower import SecureGrid
from fedavg.adapters.flower import rounds as rounds_module
from fedavg.errors import ConfigError
from tests.hostile.mutants import FOUND, without
from tests.interop.flower.support.loopback import LoopbackGrid, client_app
from tests.interop.flower.test_noise import folder as noisy_folder  # noqa: F401
from tests.interop.flower.test_strategies import _NODES, fit, numbers, record, score, secure, terms

_MORE = 8


class Restarting(LoopbackGrid):
    """A node that is started again has another id; Flower answers for the old one that it is gone."""

    def __init__(self, app) -> None:
        super().__init__(app, _MORE)
        self.moved: dict[int, int] = {}

    def get_node_ids(self) -> list[int]:
        return [self.moved.get(place, place) for place in super().get_node_ids()]

    def restart(self, node: int) -> None:
        self.moved[1000 + node] = 2000 + node

    def _handled(self, message):
        place = message.metadata.dst_node_id
        if place in self.moved:
            # What Flower makes up.
            return Message(Error(code=2, reason="Node Unavailable"), reply_to=message)
        return super()._handled(message)


@pytest.fixture
def eight(tmp_path):
    """Eight nodes, six of them in the committee, of which one may be absent."""
    committee = OneShot(committee=6, corrupt_members=1, absent_members=1)
    enrol_here(tmp_path, _MORE, terms(sum=committee))
    return tmp_path


def test_members_that_were_started_again_are_found(eight):
    """Nobody asks two members for records, and both have new ids since the last round."""
    app = client_app(eight, fit, score)

    def placed(message, context):
        context.node_config["partition-id"] %= 1000
        return app(message, context)

    plain = Restarting(placed)
    grid = SecureGrid(plain, eight / "agreement.json", {}, stage_timeout=0.2)
    for others in ([0, 1], []):
        nodes = [*others, 2, 3, 4, 5, 6, 7]
        content = RecordDict({"arrays": record()})
        grid.send_and_receive([Message(content, 1000 + node, "train") for node in nodes], timeout=5)
        assert grid.outcomes[-1].contributors == tuple(nodes)
        plain.restart(0)
        plain.restart(1)
    assert [received for _, received, *_ in grid.outcomes[-1].stages[-3:]] == [6, 6, 6]


def test_mutant_that_remembers_old_places(eight, monkeypatch):
    without(monkeypatch, rounds_module.SecureRound, "_here", "if place not in here", "if False")
    with pytest.raises(FOUND):
        test_members_that_were_started_again_are_found(eight)


def test_a_second_strategy_goes_on_with_a_second_grid(tmp_path):
    """An app makes the grid where it starts a strategy, and starts two."""
    enrol_here(tmp_path, _NODES, terms())
    first, plain = secure(tmp_path)
    result = FedAvg(**numbers(fraction_evaluate=0.0)).start(first, record(), num_rounds=1)
    second = SecureGrid(plain, tmp_path / "agreement.json", {}, stage_timeout=0.2)
    FedAdam(**numbers(fraction_evaluate=0.0)).start(second, result.arrays, num_rounds=1)
    assert [one.number for one in (*first.outcomes, *second.outcomes)] == [1, 2]
    assert second.outcomes[0].contributors == tuple(range(_NODES))


def test_a_second_grid_states_what_the_first_has_cost(noisy_folder):  # noqa: F811
    grids = []
    plain = None
    for _ in range(2):
        grid = SecureGrid(plain, noisy_folder / "agreement.json", {}) if plain else None
        if grid is None:
            grid, plain = secure(noisy_folder)
        content = RecordDict({"arrays": record()})
        grid.send_and_receive([Message(content, 1000 + n, "train") for n in range(_NODES)])
        grids.append(grid)
    costs = [grid.outcomes[-1].epsilons.release for grid in grids]
    assert costs[1] > 1.2 * costs[0]


@pytest.mark.parametrize("wrong", [None, "grid"])
def test_a_grid_is_one_of_flowers(wrong, tmp_path):
    with pytest.raises(ConfigError, match="must be the one that Flower gives"):
        SecureGrid(wrong, tmp_path / "agreement.json", {})


def test_a_secure_grid_is_made_once_around_a_grid(tmp_path):
    enrol_here(tmp_path, _NODES, terms())
    grid, _ = secure(tmp_path)
    with pytest.raises(ConfigError, match="not a SecureGrid"):
        SecureGrid(grid, tmp_path / "agreement.json", {})
