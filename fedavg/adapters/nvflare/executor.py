"""A site's side of sums in NVFlare: a resident executor, which holds the parties that run at the site."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import make_reply

from fedavg.adapters.polling import open_party
from fedavg.errors import ConfigError
from fedavg.protocol.driver import PROTOCOL_ERRORS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from nvflare.apis.fl_context import FLContext
    from nvflare.apis.shareable import Shareable
    from nvflare.apis.signal import Signal

    from fedavg.adapters.polling import Party

__all__ = ["ANSWER", "PARTY", "QUESTION", "TASK", "SumExecutor"]

TASK = "secure_sum"
PARTY, QUESTION, ANSWER = "secure_sum_party", "secure_sum_question", "secure_sum_answer"


class SumExecutor(Executor):
    """Answers the questions of a `SumController`; derive from it and give `update`.

    Args:
        folder: folder on the site that holds one folder for each of its parties, as `open_party` reads it. It
            belongs to the site: no job may bring it along.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder  # NVFlare writes the argument into the job's configuration
        self._parties: dict[str, Party] = {}

    # Abstract, so that an executor without it is refused when the job begins, and not in each round.
    @abstractmethod
    def update(self, client_id: int, number: int, length: int, content: bytes) -> NDArray[np.int64]:
        """This client's vector, int64[length] within ±max_abs; called before the client joins the round.

        Args:
            client_id: id of the client.
            number: number of the round.
            length: number of coordinates.
            content: `SumController.content` of the round. Use nothing else of the server: what comes another
                way, such as a task of another workflow, is not in the name of the sum.
        """

    def execute(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> Shareable:
        """Answer one question; called by NVFlare."""
        del abort_signal
        name, question = shareable.get(PARTY), shareable.get(QUESTION)
        if task_name != TASK or type(name) is not str or type(question) is not bytes:
            return make_reply(ReturnCode.BAD_TASK_DATA)
        try:
            answer = self._party(name).answer(question)
        except PROTOCOL_ERRORS as error:
            self.log_error(fl_ctx, f"{name} gives no answer: {error}")
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        if answer is None:
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        reply = make_reply(ReturnCode.OK)
        reply[ANSWER] = answer
        return reply

    def _party(self, name: str) -> Party:
        """The party of a name, which stays in memory between the stages of a round."""
        if name not in self._parties:
            # The name comes from the server, so it must not lead out of the folder.
            present = {path.name: path for path in Path(self.folder).iterdir() if path.is_dir()}
            if name not in present:
                raise ConfigError(f"no party {name!r} runs at this site")
            self._parties[name] = open_party(present[name], self.update)
        return self._parties[name]
