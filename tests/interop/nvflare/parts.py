"""A site's executor for tests: its vectors are known, and its process may end at a stage."""

from __future__ import annotations

import os
import signal

import numpy as np

from fedavg.adapters.nvflare import SumController, SumExecutor
from fedavg.adapters.nvflare.executor import PARTY, QUESTION
from fedavg.adapters.polling import Letter


def known(client_id, number, length):
    return np.arange(length, dtype=np.int64) % 1000 - 30 * client_id + number


class ModelController(SumController):
    """Gives the clients of each round something."""

    def content(self, number):
        return b"model of round %d" % number


class KnownExecutor(SumExecutor):
    """Ends the process of one party before it answers one ticket.

    Args:
        folder: as for `SumExecutor`.
        dies: the party.
        at: the ticket.
        whole_site: whether the site's own process, which starts those of jobs, ends first.
    """

    def __init__(
        self, folder: str, dies: str = "", at: str = "", *, whole_site: bool = False
    ) -> None:
        super().__init__(folder)
        self.dies, self.at, self.whole_site = dies, at, whole_site

    def update(self, client_id, number, length, content):
        assert content == b"model of round %d" % number
        return known(client_id, number, length)

    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        ticket = Letter.from_bytes(shareable[QUESTION]).ticket
        if (shareable[PARTY], ticket) == (self.dies, self.at):
            if self.whole_site:
                os.kill(os.getppid(), signal.SIGKILL)
            os._exit(9)
        return super().execute(task_name, shareable, fl_ctx, abort_signal)
