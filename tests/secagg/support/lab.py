"""A session taken apart: honest clients and a server whose every message a test may replace."""

from __future__ import annotations

import numpy as np

from secagg import Client, Directory, Identity, Params, Phase, Policy, Server, TrustServerDirectory
from secagg.wire.codec import decode, encode
from tests.secagg.support.signing import signed

CONTEXT = b"lab"
ANY_OFFER = Policy(
    directory_corrupt_rate=0.0, min_directory_share=0.0, allow_semi_honest=True, allow_local=True
)
"""Floors of a client that takes every offer whose parameters can exist."""
SERVER_STEPS = (
    Phase.SHARE_KEYS,
    Phase.CHECK_SHARES,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
)


class Lab:
    """n clients with ids 10, 20, …; `next_messages` is what the honest server sends them now."""

    def __init__(self, n=5, *, length=4, params=None, **rates):
        rates = {"dropout_rate": 0.2, "corrupt_rate": 0.0} | rates
        self.params = params or Params.for_cohort(n, length, max_abs=1000, **rates)
        self.ids = [10 * (i + 1) for i in range(n)]
        self.identities = {i: Identity.generate() for i in self.ids}
        self.directory = Directory({i: x.public for i, x in self.identities.items()})
        self.server = Server(self.params, context=CONTEXT, directory=TrustServerDirectory())
        rng = np.random.default_rng(n)
        self.inputs = {i: rng.integers(-1000, 1001, self.params.vector_length) for i in self.ids}
        self.clients = {i: self.join(i) for i in self.ids}
        for i, client in self.clients.items():
            client.set_input(self.inputs[i])
        self.sent: dict[tuple[Phase, int], bytes] = {}
        self.next_messages: dict[int, bytes] = {}

    def join(self, client_id, *, offer=None, context=CONTEXT, policy=None, journal=None):
        return Client.from_offer(
            offer or self.server.offer(),
            client_id,
            self.identities[client_id],
            self.directory,
            context=context,
            policy=policy or ANY_OFFER,
            journal=journal,
        )

    def run_to(self, phase, *, silent=None, lies=None):
        """Play honestly until the server awaits `phase`.

        silent: client → first phase it misses; lies: client → phase → its message → what it says instead,
        which it signs.
        """
        order = list(Phase)
        while self.server.phase is not phase:
            now = self.server.phase
            for i in self.next_messages or self.ids:
                left = (silent or {}).get(i)
                if left is None or order.index(now) < order.index(left):
                    self.answer(i, (lies or {}).get(i, {}).get(now))
            self.next_messages = self.server.advance()
        return self

    def reply(self, client_id):
        """What a client answers to its next message."""
        if self.server.phase is Phase.ADVERTISE_KEYS:
            return self.clients[client_id].start()
        return self.clients[client_id].receive(self.next_messages[client_id])

    def answer(self, client_id, lie=None):
        reply = self.reply(client_id)
        if lie is not None:
            reply = self.signed(lie(decode(reply)[1]))
        self.sent[self.server.phase, client_id] = reply
        self.server.receive(client_id, reply)

    @property
    def session(self):
        return decode(self.server.offer())[0]

    @property
    def roster(self):
        return self.server._tally.roster

    @property
    def partner_root(self):
        return self.server._tally.partner_root

    def message(self, client_id):
        """The next message for a client, decoded."""
        return decode(self.next_messages[client_id])[1]

    def encode(self, message):
        return encode(message, self.session)

    def signed(self, message):
        """The bytes of a client's message, signed by that client."""
        return self.encode(signed(message, self.identities[message.client_id], self.server))

    def total(self, survivors):
        return sum(self.inputs[i] for i in survivors)
