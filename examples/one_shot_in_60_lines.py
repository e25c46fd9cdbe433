"""Clients speak once: each encrypts under a key of its own, and a committee opens only the sum of keys.

Run: python examples/one_shot_in_60_lines.py
"""

import hashlib

import numpy as np

from he import onetime
from secagg import Directory, Identity
from secagg.committee import Collector, Committee, CommitteeParams, Contributor, Member, SealingKey

ROUND = b"model 3f2a, round 1, n = 30"  # all must agree on it; a message counts in no other round


class Journal(set[bytes]):
    """What a member must not do twice; use `fedavg.FileJournal` where processes end between messages."""

    def add(self, fact: bytes, /) -> bool:  # type: ignore[override]
        """Record a fact; False if it was there."""
        new = fact not in self
        super().add(fact)
        return new


def main(n: int = 30, m: int = 9, length: int = 10_000) -> None:
    """Sum the vectors of thirty clients, of which one is offline, by a committee of which two are."""
    keys = onetime.Params(n_clients=n, max_abs=2**15, vector_length=length)
    sizes = {"vector_length": keys.degree, "max_clients": n, "max_abs": onetime.KEY_BOUND}
    params = CommitteeParams.for_committee(m, corrupt=1, absent=2, min_clients=n - 3, **sizes)
    who = {i: Identity.generate() for i in range(n)}  # the members are the clients 0 … m − 1
    clients = Directory({i: who[i].public for i in range(n)})
    sealing = [SealingKey.generate(who[j], j, epoch=1) for j in range(m)]
    pinned = Directory({j: who[j].public for j in range(m)})
    committee = Committee(pinned, [key.card for key in sealing], epoch=1)
    adder, inputs = onetime.Server(keys, context=ROUND), {}
    collector = Collector(params, committee, clients, context=ROUND)

    for i in range(n - 1):  # each client sends both parts as one message, and is done
        inputs[i] = np.arange(length) % 1000 - 30 * i
        encryptor = onetime.Encryptor(keys, i, context=ROUND)
        chunks = list(encryptor.encrypt(inputs[i]))
        digest = hashlib.sha256(b"".join(chunks)).digest()
        client = Contributor(params, i, who[i], committee, context=ROUND)
        collector.receive(i, client.contribute(encryptor.take_key(), message_digest=digest))
        for chunk in chunks:
            adder.receive(i, chunk)

    members = [
        Member(params, j, who[j], sealing[j], committee, clients, context=ROUND, journal=Journal())
        for j in range(m)
    ]
    while messages := collector.advance():
        for j in messages.keys() - {2, 5}:
            collector.receive_member(j, members[j].receive(messages[j]))
    for i in collector.survivors:
        adder.add(i)
    total = adder.open_with_key_sum(collector.result().total).total
    print(f"{len(collector.survivors)} clients in the sum, one message each")
    print(f"exact: {np.array_equal(total, sum(inputs[i] for i in collector.survivors))}")


if __name__ == "__main__":
    main()
