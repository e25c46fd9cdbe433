"""Sessions stopped before each phase, to be forked for each input; all from injected entropy."""

from __future__ import annotations

import functools

from secagg import Directory, Phase
from tests.secagg.support.make_vectors import CASES, case_of
from tests.secagg.support.recorder import STEPS, Session
from tests.secagg.support.snapshots import fork_client, fork_server

SESSIONS = {"five": CASES[1], "local": CASES[-1]}


class Credulous(Directory):
    """Knows every identity and believes every signature, so that inputs reach what lies behind."""

    __slots__ = ()

    def __init__(self):
        super().__init__({})

    def check(self, client_id, public):
        pass

    def verify(self, public, signature, message):
        return len(signature) == 64


class Stages:
    """A session as it was before each phase: one client still to hear and to be heard."""

    def __init__(self, name):
        self.clients, self.servers = {}, {}
        with Session(case_of(*SESSIONS[name])) as session:
            self.missing = list(session.inputs)[1]
            for phase in STEPS:
                session.run_to(phase)
                self.clients[phase] = fork_client(session.clients[self.missing])
                self.servers[phase] = session.server_at(phase, self.missing)
            session.run_to(Phase.DONE)
        self.session = session

    def server(self, phase, *, credulous):
        """A server that has heard everyone else in this phase."""
        server = fork_server(self.servers[phase])
        if credulous:
            server._tally.directory = Credulous()
        return server

    def client(self, phase, *, credulous):
        """The client, about to hear the server."""
        client = fork_client(self.clients[phase])
        if credulous:
            client._directory = Credulous()
        return client


@functools.cache
def stages(name):
    return Stages(name)
