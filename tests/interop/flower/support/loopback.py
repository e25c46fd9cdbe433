"""A Flower grid in one process: each message meets a new call of the ClientApp, as in a process of its own.

Messages go through Flower's own serialisation.  Nothing is kept between two calls but the folder of a node.
"""

from __future__ import annotations

import copy
import importlib.util
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fedavg.adapters.exchange import Stage
from fedavg.adapters.exchange.messages import read_request
from fedavg.adapters.flower import records, secure_mod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def stage_of(message: Message) -> str:
    """Which stage a message belongs to: contribute, name, or what the sum calls its message."""
    data = records.taken(message.content)
    if data is None:
        return "plain"
    request = read_request(data)
    if request.stage is Stage.OPEN:
        from fedavg import OneShot

        return OneShot().describe(request.body).removeprefix("committee ")
    if request.stage is Stage.CONTINUE:
        from fedavg import SecAgg

        return SecAgg().describe(request.body)
    return request.stage.value


class LoopbackGrid(Grid):
    """Nodes 1000, 1001, … with the partitions 0, 1, …

    Args:
        app: the ClientApp of every node.
        nodes: number of nodes.
        fails: (partition, stage, number of the sum) → whether the node dies with the message.
    """

    def __init__(
        self,
        app: ClientApp,
        nodes: int,
        fails: Callable[[int, str, int], bool] = lambda *_: False,
        run: int = 77,
    ) -> None:
        self.app, self.nodes, self.fails = app, nodes, fails
        self._run = SimpleNamespace(run_id=run)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, 1, 1
        self._ids = count(1)
        self._replies: dict[str, Message] = {}
        self.seen: list[tuple[str, int, Message]] = []  # everything that reaches the server

    def set_run(self, run) -> None:
        self._run = run

    @property
    def run(self):
        return self._run

    def create_message(self, *args, **kwargs):
        return Message(*args, **kwargs)

    def get_node_ids(self) -> list[int]:
        return [1000 + node for node in range(self.nodes)]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        pushed = []
        for message in messages:
            name = str(next(self._ids))
            message.metadata.__dict__["_message_id"] = name
            self._replies[name] = self._handled(message)
            pushed.append(name)
        return pushed

    def _handled(self, message: Message) -> Message | None:
        place = message.metadata.dst_node_id
        node, stage = place - 1000, stage_of(message)
        number = int(message.metadata.group_id or 0)
        if self.fails(node, stage, number):
            return None
        fresh = copy.deepcopy(message)
        context = Context(self._run.run_id, place, {"partition-id": node}, RecordDict(), {})
        try:
            reply = self.app(fresh, context)
        except Exception as error:  # noqa: BLE001 - as Flower's own runner
            reply = Message(Error(code=3, reason=f"{type(error)}:<'{error}'>"), reply_to=message)
        assert not context.state  # nothing is kept where Flower keeps it beyond the run
        self.seen.append((stage, node, reply))
        return reply

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        found = [self._replies.pop(name, None) for name in list(message_ids)]
        return [message for message in found if message is not None]

    def send_and_receive(self, messages, *, timeout=None):
        return self.pull_messages(self.push_messages(messages))


def client_app(folder, train, evaluate=None, mods=None) -> ClientApp:
    """An app whose functions take and return plain arrays and metrics.

    Args:
        folder: where the nodes' folders are.
        train: (partition, arrays) → (arrays, metrics).
        evaluate: (partition, arrays) → metrics.
    """
    app = ClientApp(mods=[secure_mod(f"{folder}/{{partition-id}}")] if mods is None else mods)

    def inputs(message: Message, context: Context):
        arrays = {k: a.numpy() for k, a in message.content["arrays"].items()}
        return context.node_config["partition-id"], arrays

    @app.train()
    def _fit(message: Message, context: Context) -> Message:
        arrays, metrics = train(*inputs(message, context))
        record = ArrayRecord({k: Array(a) for k, a in arrays.items()})
        content = RecordDict({"arrays": record, "metrics": MetricRecord(metrics)})
        return Message(content, reply_to=message)

    @app.evaluate()
    def _score(message: Message, context: Context) -> Message:
        metrics = MetricRecord(evaluate(*inputs(message, context)))
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app
