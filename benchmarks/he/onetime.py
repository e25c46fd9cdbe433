"""Sums under one-time keys: what a client, the server and an opening cost, beside he's sum under one key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.measure import Measure
from he import Client, KeyHolder, SecretContext, Server, onetime
from he import Params as SharedKeyParams

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.kit.bench import Bench

__all__ = ["Case", "opening_of_ten", "run"]

_BITS = 16
_MAX_ABS = 1 << _BITS - 1
_CLIENTS = (10, 100, 1000)
_ADDED = 3  # uploads in the sum that is opened: an opening does not depend on their number
_UPLOAD_BARS = {100: (28.0, 26.0), 1000: (33.0, 30.0)}


@dataclass(frozen=True, slots=True)
class Case:
    """A sum of n clients, of which a few have sent.

    Args:
        params: of the sum.
        uploads: the chunks of each.
        key_sum: the sum of their keys.
    """

    params: onetime.Params
    uploads: list[list[bytes]]
    key_sum: NDArray[np.int64]

    @classmethod
    def of(cls, params: onetime.Params, vector: NDArray[np.int64]) -> Case:
        """A few clients, all with one vector."""
        sent = [_sent(params, vector, client) for client in range(_ADDED)]
        keys: NDArray[np.int64] = np.sum([key for _, key in sent], axis=0)
        return cls(params, [chunks for chunks, _ in sent], keys)

    def served(self, *, add: bool = True) -> onetime.Server:
        """A server that has received the uploads, and added them unless told otherwise."""
        server = onetime.Server(self.params, context=b"benchmark")
        for client, chunks in enumerate(self.uploads):
            for chunk in chunks:
                server.receive(client, chunk)
            if add:
                server.add(client)
        return server


def run(bench: Bench) -> None:
    """Client, server and opening for n = 10, 100 and 1,000; all take turns with he's opening for n = 10."""
    length = bench.pick(quick=50_000, default=1_000_000, full=1_000_000)
    vector = np.random.default_rng(3).integers(-_MAX_ABS, _MAX_ABS, length, endpoint=True)
    cases = {n: Case.of(onetime.Params(n, _MAX_ABS, vector.size), vector) for n in _CLIENTS}
    servers = {n: case.served() for n, case in cases.items()}
    contestants: dict[str, Callable[[], object]] = {"shared": opening_of_ten(vector)}
    for n, case in cases.items():
        contestants |= {
            f"client {n}": partial(_sent, case.params, vector),
            f"server {n}": case.served,
            f"opening {n}": partial(servers[n].open_with_key_sum, case.key_sum),
        }
    timings = bench.contest("one-time keys", contestants)
    for n, case in cases.items():
        name = f"one-time keys, n={n:,}, {length:,} parameters, {_BITS} bits"
        sent = sum(map(len, case.uploads[0]))
        limits = _UPLOAD_BARS.get(n)
        bar = limits and bench.bar(*limits, of="ours", at_most=True)
        bench.add(
            Measure(
                f"onetime_up_{n}", f"upload, {name}", "bits/parameter", 8 * sent / length, bar=bar
            ),
            Measure(f"onetime_client_{n}", f"client, {name}", "CPU s", timings[f"client {n}"]),
            Measure(
                f"onetime_server_{n}",
                f"server, {_ADDED} clients, {name}",
                "CPU s",
                timings[f"server {n}"],
                note="receiving and adding",
            ),
            Measure(
                f"onetime_opening_{n}",
                f"opening, {name}",
                "CPU s",
                timings[f"opening {n}"],
                timings["shared"],
                ratio=timings[f"opening {n}"].median / timings["shared"].median,
                bar=bench.bar(1.5, 1.1, at_most=True),
                note=f"beside the key holder's opening of a sum of ten under one key; {_ADDED} of the "
                "clients have sent, since the cost does not depend on their number",
            ),
        )


def _sent(
    params: onetime.Params, vector: NDArray[np.int64], client: int = 0
) -> tuple[list[bytes], NDArray[np.int64]]:
    encryptor = onetime.Encryptor(params, client, context=b"benchmark")
    return list(encryptor.encrypt(vector, copy=False)), encryptor.take_key()


def opening_of_ten(vector: NDArray[np.int64]) -> Callable[[], object]:
    """An opening by `he` of a sum of ten clients under one key, each time by a new key holder."""
    secret = SecretContext.generate(SharedKeyParams.for_sum(10, max_abs=_MAX_ABS, scheme="bfv"))
    server = Server(secret.public(), context=b"benchmark", vector_length=vector.size)
    for client in range(10):
        for chunk in Client(secret, client, context=b"benchmark").encrypt(vector, copy=False):
            server.receive(client, chunk)
    chunks, exported = list(server.result()), secret.export_secret_key()

    def opening() -> object:
        # A context opens a round once, so each opening has a context of its own; making it costs 2 ms.
        again = SecretContext.from_secret_key(secret.params, exported)
        return KeyHolder(again, min_clients=2, context=b"benchmark").decrypt(chunks)

    return opening
