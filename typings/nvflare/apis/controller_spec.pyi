from collections.abc import Callable

from nvflare.apis.client import Client
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

class ClientTask:
    client: Client
    result: Shareable | None

class Task:
    def __init__(
        self,
        name: str,
        data: Shareable,
        *,
        timeout: int = ...,
        result_received_cb: Callable[[ClientTask, FLContext], None] | None = ...,
    ) -> None: ...
