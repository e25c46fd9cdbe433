"""Only what fedavg.adapters.flower uses of Flower 1.42."""

from abc import ABC
from collections.abc import Callable, Iterable

from flwr.app import Context, Message, RecordDict
from flwr.supercore.run import Run

class Grid(ABC):
    def set_run(self, run: Run) -> None: ...
    @property
    def run(self) -> Run: ...
    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message: ...
    def get_node_ids(self) -> Iterable[int]: ...
    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]: ...
    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]: ...
    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]: ...

class ServerApp:
    def main(self) -> Callable[[Callable[[Grid, Context], None]], object]: ...
