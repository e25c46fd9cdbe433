"""What each secure sum costs: bytes and CPU seconds for one sum of ten clients.

Run: python examples/encryption_overhead.py
"""

from __future__ import annotations

import time

import numpy as np

import he
import secagg


def encrypted(vectors: dict[int, np.ndarray], scheme: str) -> tuple[int, np.ndarray]:
    """Upload bytes of one client, and the sum, under CKKS or BFV."""
    params = he.Params.for_sum(len(vectors), max_abs=2**15, scheme=scheme)
    secret = he.SecretContext.generate(params)
    server = he.Server(secret.public(), context=b"one round", vector_length=len(vectors[0]))
    size = 0
    for client_id, vector in vectors.items():
        for chunk in he.Client(secret, client_id, context=b"one round").encrypt(vector):
            size += len(chunk) if client_id == 0 else 0
            server.receive(client_id, chunk)
    holder = he.KeyHolder(secret, min_clients=3, context=b"one round")
    return size, holder.decrypt(server.result()).total


def masked(vectors: dict[int, np.ndarray]) -> tuple[int, np.ndarray]:
    """Bytes that client 0 sent, and the sum, under pairwise masks."""
    length = len(vectors[0])
    params = secagg.Params.for_cohort(len(vectors), length, max_abs=2**15)
    transcript: list[tuple[str, int, bytes]] = []
    result = secagg.simulate(vectors, params, transcript=transcript)
    size = sum(len(message) for _, client_id, message in transcript if client_id == 0)
    return size, result.total


def main(length: int = 100_000) -> None:
    """Print one line a method; all sums are equal."""
    rng = np.random.default_rng(0)
    vectors = {i: rng.integers(-(2**15), 2**15, length) for i in range(10)}
    expected = sum(vectors.values())
    methods = {
        "secagg": lambda: masked(vectors),
        "bfv": lambda: encrypted(vectors, "bfv"),
        "ckks": lambda: encrypted(vectors, "ckks"),
    }
    for name, method in methods.items():
        start = time.process_time()
        size, total = method()
        seconds = time.process_time() - start
        exact = "exact" if np.array_equal(total, expected) else "WRONG"
        print(f"{name:7s} {size / length:6.2f} bytes a value up   {seconds:6.2f} CPU s   {exact}")


if __name__ == "__main__":
    main()
