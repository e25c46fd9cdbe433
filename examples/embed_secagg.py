"""The protocol inside another system: you carry the bytes, you decide when a phase closes.

Run: python examples/embed_secagg.py
"""

from __future__ import annotations

import numpy as np

from secagg import Client, Directory, Identity, Params, RemoteProtocolError, Server


def main(n: int = 8, length: int = 1000) -> None:
    """Sum eight vectors; client 5 falls silent after the key exchange."""
    identities = {i: Identity.generate() for i in range(n)}
    directory = Directory({i: identity.public for i, identity in identities.items()})
    params = Params.for_cohort(n, length, max_abs=1000, dropout_rate=0.25, corrupt_rate=0.1)
    context = b"model digest, round 1"

    server = Server(params, context=context, directory=directory)
    offer = server.offer()  # send to every client
    clients = {
        i: Client.from_offer(offer, i, identities[i], directory, context=context) for i in range(n)
    }

    def arrived(i: int, message: bytes) -> None:
        try:
            server.receive(i, message)
        except RemoteProtocolError as error:  # names the client; nothing changed, the others go on
            print(error)

    inputs = {i: np.arange(length) % 7 + i for i in range(n)}
    for i, client in clients.items():
        client.set_input(inputs[i])
        arrived(i, client.start())
    silent: set[int] = set()
    while outgoing := server.advance():  # closes a phase; whoever was silent is out
        for i, message in outgoing.items():
            reply = None if i in silent else clients[i].receive(message)
            if reply is not None:
                arrived(i, reply)
        silent = {5}
    result = server.result()
    expected = sum(inputs[i] for i in result.survivors)
    print(f"survivors {result.survivors}, exact: {np.array_equal(result.total, expected)}")


if __name__ == "__main__":
    main()
