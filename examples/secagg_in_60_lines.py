"""Secure aggregation: a server adds vectors that it never sees. One client drops out in the middle.

Run: python examples/secagg_in_60_lines.py
"""

from __future__ import annotations

import numpy as np

from secagg import Client, Directory, Identity, Params, Server

CONTEXT = b"model 3f2a, round 1"  # clients of another round or model never enter the same sum


def main(n: int = 6, length: int = 10_000) -> None:
    """Sum six vectors of floats; client 4 vanishes after it has exchanged keys."""
    # Once: every client has a signing key, and everybody knows everybody's public key.
    identities = {i: Identity.generate() for i in range(n)}
    directory = Directory({i: identity.public for i, identity in identities.items()})

    # Updates are floats; a sum is exact over integers, so they are clipped, scaled and rounded.
    updates = {i: np.sin(np.arange(length) + i) for i in range(n)}
    clip, scale = 1.0, 2**15
    rounded = {
        i: np.rint(np.clip(x, -clip, clip) * scale).astype(np.int64) for i, x in updates.items()
    }

    params = Params.for_cohort(n, length, max_abs=scale, dropout_rate=0.2, corrupt_rate=0.1)
    server = Server(params, context=CONTEXT, directory=directory)
    offer = server.offer()
    clients: dict[int, Client] = {}
    for i in range(n):
        clients[i] = Client.from_offer(offer, i, identities[i], directory, context=CONTEXT)
        clients[i].set_input(rounded[i])
        server.receive(i, clients[i].start())

    # `advance` closes a phase and gives the next messages; you decide when, and carry the bytes.
    uploaded, silent = 0, set[int]()
    while messages := server.advance():
        for i, message in messages.items():
            if i not in silent and (reply := clients[i].receive(message)) is not None:
                server.receive(i, reply)
                uploaded += len(reply)
        silent = {4}

    result = server.result()
    mean = result.total / scale / len(result.survivors)
    plain = np.mean([updates[i] for i in result.survivors], axis=0)
    print(f"in the sum: {result.survivors}; client 4 is not, and its masks are gone")
    print(f"largest error of the mean: {np.abs(mean - plain).max():.1e}, by rounding alone")
    print(f"uploaded: {uploaded / n / length:.1f} bytes a number and client, all messages")


if __name__ == "__main__":
    main()
