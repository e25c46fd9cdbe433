"""Encrypted averaging: clients encrypt under CKKS, a server adds ciphertexts, a key holder opens the sum.

Run: python examples/ckks_average.py
"""

from __future__ import annotations

import numpy as np

from he import Client, KeyHolder, Params, SecretContext, Server


def main(n: int = 5, length: int = 20_000) -> None:
    """Average five vectors of floats, with weights."""
    # The key holder makes the keys. Clients get the public key only, the server no key at all.
    scale = 2**12
    params = Params.for_sum(n, max_abs=40 * scale, scheme="ckks", public_key=True)
    secret = SecretContext.generate(params)
    context = b"model 3f2a, round 1"

    # Weighted mean: each client sends weight · update, and its weight as one more coordinate.
    updates = {i: np.cos(np.arange(length) * (i + 1)) for i in range(n)}
    weights = {i: 10 * (i % 4) + 5 for i in range(n)}

    server = Server(secret.public(), context=context)
    uploaded = 0
    for i in range(n):
        vector = np.append(weights[i] * updates[i], weights[i])
        client = Client(secret.encryptor(), i, context=context)
        for chunk in client.encrypt(np.rint(vector * scale).astype(np.int64)):
            server.receive(i, chunk)
            uploaded += len(chunk)

    # What the server has now is a sum under encryption. The key holder opens it, once.
    holder = KeyHolder(secret, min_clients=n, context=context)
    total = holder.decrypt(server.result()).total / scale
    mean = total[:-1] / total[-1]

    plain = np.average(list(updates.values()), axis=0, weights=list(weights.values()))
    print(f"largest error of the weighted mean: {np.abs(mean - plain).max():.1e}")
    print(f"uploaded: {uploaded / n / length:.1f} bytes a number and client (in the clear: 4)")


if __name__ == "__main__":
    main()
