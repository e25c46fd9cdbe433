"""Sessions from injected entropy, step by step, with every byte kept: what the vectors are made of."""

from __future__ import annotations

import contextlib

import numpy as np

from secagg import Client, Directory, Identity, Params, Phase, Server
from secagg.testing import deterministic_entropy
from secagg.wire.codec import decode
from tests.secagg.support.lab import ANY_OFFER
from tests.secagg.support.snapshots import fork_client, fork_server

CONTEXT = b"secagg vectors: round 1 of model 0"
STEPS = (
    Phase.ADVERTISE_KEYS,
    Phase.SHARE_KEYS,
    Phase.CHECK_SHARES,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
)


class Session:
    """A case of the vector file, played honestly.

    `told` is what the server said when it entered a phase, `said` what clients answered in it; `secrets`
    is what each client drew: identity, channel, mask, self (the seed b), all 32 bytes.
    """

    def __init__(self, case):
        self.case = case
        self.inputs = {int(i): np.array(x, dtype=np.int64) for i, x in case["inputs"].items()}
        self.drop = {Phase(phase): set(ids) for phase, ids in case["drop"].items()}
        length = len(next(iter(self.inputs.values())))
        self.params = Params.for_cohort(len(self.inputs), length, **case["parameters"])
        self.gone: set[int] = set()
        self.told: dict[Phase, dict[int, bytes]] = {}
        self.said: dict[Phase, dict[int, bytes]] = {}
        self.held: dict[int, dict[int, bytes]] = {}
        self.entropy = deterministic_entropy(case["entropy"].encode())
        self.inside = contextlib.ExitStack()

    def __enter__(self):
        self.inside.enter_context(self.entropy)
        self.identities = {i: Identity.generate() for i in self.inputs}
        self.directory = Directory({i: x.public for i, x in self.identities.items()})
        self.server = Server(self.params, context=CONTEXT, directory=self.directory)
        self.offer = self.server.offer()
        self.session = decode(self.offer)[0]
        self.clients = {i: self.join(i) for i in self.inputs}
        for i, client in self.clients.items():
            client.set_input(self.inputs[i])
        self.secrets = {i: self._secrets(i) for i in self.inputs}
        return self

    def __exit__(self, *raised):
        return self.inside.__exit__(*raised)

    def join(self, client_id, offer=None):
        return Client.from_offer(
            offer or self.offer,
            client_id,
            self.identities[client_id],
            self.directory,
            context=CONTEXT,
            policy=ANY_OFFER,
        )

    def _secrets(self, client_id):
        held = self.clients[client_id]._secrets
        return {
            "identity": self.identities[client_id].private_bytes(),
            "channel": held.channel.private_bytes(),
            "mask": held.mask.private_bytes(),
            "self": held.seed,
        }

    def speakers(self):
        """Who answers in the server's phase, ascending."""
        phase = self.server.phase
        around = self.inputs if phase is Phase.ADVERTISE_KEYS else self.told[phase]
        gone = self.gone | self.drop.get(phase, set())
        return sorted(set(around) - gone)

    def answers(self):
        """The honest answers of the phase, for the server still to receive."""
        phase = self.server.phase
        if phase not in self.said:
            self.gone |= self.drop.get(phase, set())
            self.said[phase] = {i: self._answer(i) for i in self.speakers()}
        return self.said[phase]

    def _answer(self, client_id):
        phase, client = self.server.phase, self.clients[client_id]
        if phase is Phase.ADVERTISE_KEYS:
            return client.start()
        if phase is Phase.CONSISTENCY:
            self.held[client_id] = client._secrets.held
        return client.receive(self.told[phase][client_id])

    def step(self):
        """Answer, and close the phase."""
        for client_id, message in self.answers().items():
            self.server.receive(client_id, message)
        told = self.server.advance()
        if told:
            self.told[self.server.phase] = told

    def run_to(self, phase):
        while self.server.phase is not phase:
            self.step()
        return self

    def server_at(self, phase, missing):
        """A server that has heard everyone in a phase but one."""
        twin = fork_server(self.run_to(phase).server)
        for client_id, message in self.answers().items():
            if client_id != missing:
                twin.receive(client_id, message)
        return twin

    def client_at(self, client_id):
        """A client that is about to hear what the server says in its phase."""
        return fork_client(self.clients[client_id])

    def client_shares(self, client_id):
        """What a client opened of its partners, by position: its share of b, then of s."""
        return self.held[client_id]
