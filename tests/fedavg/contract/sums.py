"""Runs a secure sum over bytes, for every backend alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.interface import SumSpec
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from fedavg.sums.plain import InsecurePlain
from fedavg.sums.sides.others import other_parties
from secagg import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

RATES = {"dropout_rate": 0.33, "corrupt_rate": 0.0}
BACKENDS = {
    "insecure-plain": InsecurePlain(dropout_rate=0.33),
    "secagg": SecAgg(dropout_rate=0.33, corrupt_rate=0.0),
    "one-shot": OneShot(dropout_rate=0.33, corrupt_rate=0.0),
    "one-shot, keys by secagg": OneShot(dropout_rate=0.33, corrupt_rate=0.0, keys="secagg"),
    "ckks": Ckks(**RATES),
    "bfv": Bfv(**RATES),
    "ckks, the holder's key": Ckks(**RATES, key_at="holder"),
    "bfv, the holder's key": Bfv(**RATES, key_at="holder"),
    "encrypted-secagg": EncryptedSecAgg(**RATES),
    "encrypted-secagg, all hold the key": EncryptedSecAgg(**RATES, scheme="ckks", key_at="clients"),
}
IDENTITIES = [Identity.generate() for _ in range(64)]


def spec_for(vectors: Mapping[int, np.ndarray], *, max_abs=None, ring_bits=None) -> SumSpec:
    length = len(next(iter(vectors.values())))
    return SumSpec(length, max_abs, ring_bits, len(vectors), b"contract suite, one round......")


def secure_sum(
    backend,
    vectors: Mapping[int, np.ndarray],
    spec: SumSpec,
    *,
    silent_from: Mapping[int, int] | None = None,
    record: list[bytes] | None = None,
):
    """Sum `vectors`; client c stops answering at its silent_from[c]-th message (0 is the first)."""
    directory = {client: IDENTITIES[client % 64].public for client in vectors}
    provision = backend.provision(spec, directory)
    side = backend.client_side(provision.clients)
    server = backend.server_side(provision.server).session(spec, sorted(vectors))
    others = other_parties(backend, provision, spec)
    sessions: dict[int, object] = {}
    answered = dict.fromkeys(vectors, 0)
    silent = silent_from or {}
    outgoing: Mapping[int, Sequence[bytes]] = server.open()
    while outgoing:
        for party, messages in outgoing.items():
            if party in others:
                replies = others[party].receive(messages)
            else:
                if answered[party] >= silent.get(party, 10**9):
                    continue
                answered[party] += 1
                if party not in sessions:
                    session = side.session(spec, party, IDENTITIES[party % 64], messages[0])
                    session.set_input(vectors[party])
                    sessions[party] = session
                    replies = session.start()
                else:
                    replies = [r for m in messages for r in sessions[party].receive(m)]
            for reply in replies:
                if record is not None:
                    record.append(reply)
                server.receive(party, reply)
        outgoing = server.advance()
    return server.result()
