"""The server's side of sums in NVFlare: each open question is a task for the site of its party."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable

from fedavg import checks
from fedavg.adapters.nvflare.executor import ANSWER, PARTY, QUESTION, TASK
from fedavg.adapters.polling import Board, begin_round, read_agreement
from fedavg.errors import ConfigError
from fedavg.protocol.driver import PROTOCOL_ERRORS

if TYPE_CHECKING:
    from nvflare.apis.client import Client
    from nvflare.apis.fl_context import FLContext
    from nvflare.apis.signal import Signal

    from fedavg.sums.interface import SumResult

__all__ = ["SumController"]

_LOOK = 0.05  # seconds between two looks at whether a stage is over; NVFlare's default is 0.2


class SumController(Controller):
    """Runs sums of integers among sites, one after another.

    Derive from it and override `summed` to use the sums; by default they are written to the folder. Override
    `content` if clients are given a model.

    Args:
        folder: the server's folder, with the operator's `agreement.json`. The number of the last round is
            kept there, so that a restarted job opens the next one.
        sites: name of a site to the names of the parties that run there, such as
            {"site-1": ["client-1", "member-0"]}.
        rounds: number of rounds to run.
        stage_timeout: seconds after which a stage goes on without the sites that have not answered; longer
            than the slowest training.

    Raises:
        LocalProtocolError: a number is none, or below 1.
        ConfigError: a party of the agreement has no site, or a site has an unknown party.
    """

    def __init__(
        self, folder: str, sites: dict[str, list[str]], rounds: int = 1, stage_timeout: int = 60
    ) -> None:
        super().__init__(task_check_period=_LOOK)
        # NVFlare writes the arguments into the job's configuration from fields of the same names.
        self.folder, self.sites = folder, sites
        self.rounds = checks.usage.whole("rounds", rounds)
        self.stage_timeout = checks.usage.whole("stage_timeout", stage_timeout)

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the agreement; errors end the job before any task."""
        del fl_ctx
        self._agreed = read_agreement(Path(self.folder))
        self._side = self._agreed.server_side()
        self._site_of = {party: site for site, parties in self.sites.items() for party in parties}
        if set(self._site_of) != set(self._agreed.addresses):
            odd = sorted(set(self._site_of) ^ set(self._agreed.addresses))
            raise ConfigError(f"sites must run each party of the agreement once; look at {odd[0]}")
        self._turn = threading.Lock()

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is left to stop."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Run the rounds; called by NVFlare."""
        for _ in range(self.rounds):
            number = begin_round(Path(self.folder))
            content = self.content(number)
            spec = self._agreed.spec(number, content)
            session = self._side.session(spec, sorted(self._agreed.clients))
            board, going = Board(session, number, content), True
            try:
                while going:
                    self._stage(board, abort_signal, fl_ctx)
                    if abort_signal.triggered:
                        return
                    with self._turn:
                        going = board.advance()
                self.summed(number, board.result(), fl_ctx)
            except PROTOCOL_ERRORS as error:
                self.log_info(fl_ctx, f"round {number}: no sum: {error}")

    def content(self, number: int) -> bytes:
        """What each client is given in a round, such as a model; nothing by default.

        It reaches `SumExecutor.update` in the task of the first stage, and is part of the name of the sum:
        clients with different contents enter no common sum.
        """
        del number
        return b""

    def summed(self, number: int, found: SumResult, fl_ctx: FLContext) -> None:
        """Use a sum: int64[d] and the clients whose vectors are in it."""
        np.savez(Path(self.folder) / f"sum-{number}", total=found.total, survivors=found.survivors)
        self.log_info(fl_ctx, f"round {number}: {len(found.survivors)} clients in the sum")

    def _stage(self, board: Board, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Send every open question, and wait until all are answered or the time is over."""
        names = {address: name for name, address in self._agreed.addresses.items()}
        began, ticket = time.monotonic(), board.ticket
        for address in board.asked:
            self._send(board, names[address], address, fl_ctx)
        while not board.complete and time.monotonic() - began < self.stage_timeout:
            if abort_signal.triggered:
                break
            time.sleep(_LOOK)
        self.cancel_all_tasks(fl_ctx=fl_ctx)
        self.log_info(fl_ctx, f"stage {ticket}: {time.monotonic() - began:.2f} s")

    def _send(self, board: Board, name: str, address: int, fl_ctx: FLContext) -> None:
        # A broadcast carries one payload, and each party's question is another one: a task for each.
        data = Shareable()
        data[PARTY], data[QUESTION] = name, board.question(address)

        def received(client_task: ClientTask, fl_ctx: FLContext) -> None:
            result = client_task.result
            if result is not None and result.get_return_code() == ReturnCode.OK:
                with self._turn:
                    verdict = board.answer(address, result[ANSWER])
                self.log_debug(fl_ctx, f"{name}: {verdict.value}")
            client_task.result = None  # NVFlare keeps results of standing tasks in memory

        task = Task(TASK, data, timeout=self.stage_timeout, result_received_cb=received)
        self.broadcast(task, fl_ctx, targets=[self._site_of[name]], min_responses=1)

    def process_result_of_unknown_task(
        self,
        client: Client,
        task_name: str,
        client_task_id: str,
        result: Shareable,
        fl_ctx: FLContext,
    ) -> None:
        """An answer after its stage: it is not used."""
        del client_task_id, result
        self.log_info(fl_ctx, f"a late answer of {client.name} to {task_name} was not used")
