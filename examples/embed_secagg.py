"""The protocol inside another system: you carry the bytes, you decide when a phase closes.

Run: python examples/embed_secagg.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secagg import Aborted, Client, Directory, Identity, Params, RemoteProtocolError, Server

if TYPE_CHECKING:
    from collections.abc import Callable


def main(n: int = 8, length: int = 1000) -> None:
    """Sum eight vectors; client 5 falls silent after the key exchange, and a stranger knocks."""
    identities = {i: Identity.generate() for i in range(n)}
    directory = Directory({i: identity.public for i, identity in identities.items()})
    params = Params.for_cohort(n, length, max_abs=1000, dropout_rate=0.25, corrupt_rate=0.1)
    context = b"model digest, round 1"

    server = Server(params, context=context, directory=directory)
    offer = server.offer()  # send to every client
    clients = {
        i: Client.from_offer(offer, i, identities[i], directory, context=context) for i in range(n)
    }

    def carry(i: int, step: Callable[..., bytes | None], *message: bytes) -> None:
        """Bring the server what client i answers; a client that fails or lies is out alone."""
        try:
            if reply := step(*message):
                server.receive(i, reply)
        except (RemoteProtocolError, Aborted) as error:
            print(error)

    stranger = Identity.generate()  # in a directory of its own only
    alone = Directory({99: stranger.public})
    carry(99, lambda: Client.from_offer(offer, 99, stranger, alone, context=context).start())

    inputs = {i: np.arange(length) % 7 + i for i in range(n)}
    for i, client in clients.items():
        client.set_input(inputs[i])
        carry(i, client.start)
    silent: set[int] = set()
    while outgoing := server.advance():  # closes a phase; clients that did not answer drop out
        for i in outgoing.keys() - silent:
            carry(i, clients[i].receive, outgoing[i])
        silent = {5}
    result = server.result()
    expected = sum(inputs[i] for i in result.survivors)
    print(f"survivors {result.survivors}, exact: {np.array_equal(result.total, expected)}")


if __name__ == "__main__":
    main()
