"""Ckks and Bfv as secure sums: who can decrypt, and whose length counts."""

from __future__ import annotations

import numpy as np
import pytest

import he
from fedavg.config.build import build_plan, load_config
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.interface import KEY_HOLDER
from fedavg.sums.masked import SecAgg
from fedavg.sums.once import sum_once
from fedavg.sums.sides.he_keys import HeMaterial
from tests.fedavg.contract.sums import IDENTITIES, secure_sum, spec_for

N, LENGTH, BOUND = 6, 3000, 1000
BACKENDS = {
    f"{kind.kind}, {key_at}": kind(0.34, 0.0, key_at)
    for kind in (Bfv, Ckks)
    for key_at in ("clients", "holder")
}


def vectors_of(n=N, length=LENGTH):
    rng = np.random.default_rng(n)
    return {i: rng.integers(-BOUND, BOUND + 1, length) for i in range(n)}


@pytest.mark.parametrize("name", BACKENDS)
def test_the_key_is_where_key_at_says(name):
    backend, vectors = BACKENDS[name], vectors_of()
    spec = spec_for(vectors, max_abs=BOUND)
    given = backend.provision(spec, {})
    side = backend.client_side(given.clients)
    shared = backend.key_at == "clients"
    assert type(side.keys) is (he.SecretContext if shared else he.EncryptContext)
    assert (given.clients == given.key_holder) is shared
    assert backend.params(spec).public_key is not shared
    assert backend.params(spec) == HeMaterial.from_bytes(given.key_holder).secret().params
    said = " ".join(backend.assumptions(spec))
    assert ("All clients hold the same secret key" in said) is shared
    assert ("Only the key holder can decrypt" in said) is not shared


@pytest.mark.parametrize("scheme", [Bfv, Ckks])
def test_a_clients_keys_open_nothing_where_the_holder_has_the_key(scheme):
    vectors = vectors_of()
    given = scheme(key_at="holder").provision(spec_for(vectors, max_abs=BOUND), {})
    with pytest.raises(he.WireFormatError, match="no exported keys of this kind"):
        HeMaterial.from_bytes(given.clients).secret()


@pytest.mark.parametrize("key_at", ["server", "", None, 1])
def test_the_key_is_nowhere_else(key_at):
    with pytest.raises(PlanError, match="key_at must be"):
        Bfv(key_at=key_at)


@pytest.mark.parametrize("encrypted", [Bfv(key_at="holder"), Ckks(key_at="holder")])
def test_chosen_coordinates_may_be_under_the_holders_key(encrypted):
    vectors = {i: np.arange(40) + i for i in range(5)}
    chosen = SensitivityMap.from_scores(np.arange(40.0), 0.3)
    total = secure_sum(
        Selective(encrypted, SecAgg(), chosen), vectors, spec_for(vectors, max_abs=99)
    )
    assert np.array_equal(total.total, sum(vectors.values()))


@pytest.mark.parametrize("kind", ["bfv", "ckks"])
@pytest.mark.parametrize("key_at", ["holder", "clients", None])
def test_a_configuration_says_who_can_decrypt(kind, key_at):
    changes = {"secure_sum.kind": kind} | ({"secure_sum.key_at": key_at} if key_at else {})
    found = build_plan(load_config(None, changes), 100).secure_sum
    assert (found.kind, found.key_at) == (kind, key_at or "clients")


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("length", [LENGTH + 1, LENGTH - 1, 1])
def test_c8_a_first_upload_of_another_length_is_refused_and_the_others_are_summed(name, length):
    backend, vectors = BACKENDS[name], vectors_of()
    spec = spec_for(vectors, max_abs=BOUND)
    given = backend.provision(spec, {})
    side = backend.client_side(given.clients)
    server = backend.server_side(given.server).session(spec, sorted(vectors))
    server.open()
    bad = next(he.Client(side.keys, 0, context=spec.context).encrypt(np.zeros(length, np.int64)))
    with pytest.raises(he.RemoteProtocolError, match=f"client 0 sent a vector of {length}"):
        server.receive(0, bad)
    for client in range(1, N):
        for chunk in he.Client(side.keys, client, context=spec.context).encrypt(vectors[client]):
            server.receive(client, chunk)
    (request,) = (messages for messages in server.advance().values())
    for answer in backend.key_holder_side(given.key_holder).session(spec).receive(request):
        server.receive(KEY_HOLDER, answer)
    assert server.advance() == {}
    assert server.result().survivors == tuple(range(1, N))
    assert np.array_equal(server.result().total, sum(vectors[i] for i in range(1, N)))


@pytest.mark.parametrize("name", BACKENDS)
def test_the_key_holder_opens_no_sum_of_another_length(name):
    backend, vectors = BACKENDS[name], vectors_of()
    spec = spec_for(vectors, max_abs=BOUND)
    given = backend.provision(spec, {})
    keys = backend.client_side(given.clients).keys
    server = he.Server(he.PublicContext.from_bytes(given.server), context=spec.context)
    for client in range(N):
        for chunk in he.Client(keys, client, context=spec.context).encrypt(np.zeros(7, np.int64)):
            server.receive(client, chunk)
    holder = backend.key_holder_side(given.key_holder).session(spec)
    with pytest.raises(he.RemoteProtocolError, match=f"vectors of 7 integers, not of {LENGTH}"):
        holder.receive(tuple(server.result()))


def test_a_sum_by_itself_names_the_lengths_that_differ():
    vectors = {i: np.zeros(5, np.int64) for i in range(9)} | {0: np.zeros(4, np.int64)}
    with pytest.raises(PlanError, match="4 of client 0; 5 of clients 1, 2, 3 and 5 more"):
        sum_once(Bfv(), vectors, max_abs=1, context=b"one")


def test_only_the_key_holder_answers_once():
    backend, vectors = Bfv(0.34, 0.0), vectors_of()
    spec = spec_for(vectors, max_abs=BOUND)
    given = backend.provision(spec, {c: IDENTITIES[c].public for c in vectors})
    server = backend.server_side(given.server).session(spec, sorted(vectors))
    server.open()
    with pytest.raises(LocalProtocolError, match="does not belong"):
        server.receive(KEY_HOLDER, b"HES1")
    with pytest.raises(LocalProtocolError, match="has not been opened"):
        server.result()
