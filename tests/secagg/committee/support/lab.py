"""A small committee with its clients, whose messages tests may drop, alter and answer again."""

from __future__ import annotations

import hashlib

import numpy as np

from secagg import Directory, Identity
from secagg.committee import (
    Collector,
    Committee,
    CommitteeParams,
    CommitteePhase,
    Contributor,
    Member,
    SealingKey,
)
from secagg.committee.wire.codec import decode, encode

CONTEXT = b"round 1, model 7, n = 5"
DIGEST = hashlib.sha256(b"ciphertext").digest()
Phase = CommitteePhase


class Facts:
    """A journal in memory; `copy` is what a restored backup would be."""

    def __init__(self, facts=()):
        self.facts = set(facts)

    def add(self, fact):
        new = fact not in self.facts
        self.facts.add(fact)
        return new

    def copy(self):
        return Facts(self.facts)


def small(m=7, c=1, absent=1, d=5, n=5, *, floor=3, **more):
    numbers = {"vector_length": d, "max_clients": n, "max_abs": 9, "min_clients": floor} | more
    return CommitteeParams.for_committee(m, corrupt=c, absent=absent, **numbers)


class Lab:
    """All parties of one context."""

    def __init__(self, params=None, n=None, *, context=CONTEXT, first=0):
        self.params = params or small()
        self.context = context
        n = self.params.max_clients if n is None else n
        self.identities = {j: Identity.generate() for j in range(self.params.n_members)}
        self.keys = {j: SealingKey.generate(i, j, epoch=1) for j, i in self.identities.items()}
        known = Directory({j: i.public for j, i in self.identities.items()})
        self.committee = Committee(known, [key.card for key in self.keys.values()], epoch=1)
        self.people = {i: Identity.generate() for i in range(first, first + n)}
        self.clients = Directory({i: who.public for i, who in self.people.items()})
        self.journals = {j: Facts() for j in self.identities}
        self.members = {j: self.member(j) for j in self.identities}
        self.server = self.collector()
        self.sent = {}  # the messages that `until` has got last
        self.session = self.committee.session(self.params, context)
        rng = np.random.default_rng(1)
        bound = self.params.max_abs
        shape = self.params.vector_length
        self.inputs = {i: rng.integers(-bound, bound + 1, shape) for i in self.people}

    def collector(self):
        return Collector(self.params, self.committee, self.clients, context=self.context)

    def member(self, j, *, journal=None, context=None):
        return Member(
            self.params, j, self.identities[j], self.keys[j], self.committee, self.clients,
            context=context or self.context, journal=journal or self.journals[j],
        )  # fmt: skip

    def contributor(self, i, *, context=None):
        context = context or self.context
        return Contributor(self.params, i, self.people[i], self.committee, context=context)

    def contribution(self, i, vector=None, *, context=None, digest=DIGEST):
        vector = self.inputs[i] if vector is None else vector
        return self.contributor(i, context=context).contribute(vector, message_digest=digest)

    def contribute(self, clients=None):
        for i in self.people if clients is None else clients:
            self.server.receive(i, self.contribution(i))
        return self

    def ask(self, messages, *, silent=(), alter=None):
        """Each member that is not silent answers; `alter(member, reply)` may change the answer."""
        for j, message in messages.items():
            if j not in silent:
                reply = self.members[j].receive(message)
                self.server.receive_member(j, alter(j, reply) if alter else reply)

    def finish(self, messages=None, *, silent=(), alter=None):
        """The phases that are left; `silent` and `alter` may be dicts by phase."""
        messages = self.server.advance() if messages is None else messages
        while self.server.phase is not Phase.DONE:
            phase = self.server.phase
            quiet = silent.get(phase, ()) if isinstance(silent, dict) else silent
            change = alter.get(phase) if isinstance(alter, dict) else alter
            self.ask(messages, silent=quiet, alter=change)
            messages = self.server.advance()
        return self.server.result()

    def until(self, phase):
        """Honest parties up to the beginning of a phase; the messages that begin it."""
        if self.server.phase is Phase.CONTRIBUTE and not self.server._accepted:
            self.contribute()
        while self.server.phase is not phase:
            self.ask(self.sent)
            self.sent = self.server.advance()
        return self.sent

    def total(self, clients):
        return sum((self.inputs[i] for i in clients), np.zeros(self.params.vector_length, np.int64))

    def read(self, data):
        return decode(data, self.params)[1]

    def write(self, message):
        return encode(message, self.session)
