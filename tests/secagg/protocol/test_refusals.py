"""Every message of the vector file that must be refused is: by its error, at its role, blaming who lied."""

from __future__ import annotations

import functools
import json
from collections import Counter

import pytest

from secagg import Phase, SecAggError
from secagg.testing import deterministic_entropy
from secagg.wire.codec import decode, decode_chunk, encode
from tests.secagg.support.make_vectors import PATH
from tests.secagg.support.recorder import STEPS, Session
from tests.secagg.support.snapshots import fork_client, fork_server, state_of

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["sessions"]}
REFUSED = VECTORS["refused"]


def parts(refusal):
    listed = refusal["bytes"]
    return [bytes.fromhex(part) for part in (listed if isinstance(listed, list) else [listed])]


class Stages:
    """A session of the file played honestly, with each phase as it was before its messages went out."""

    def __init__(self, case):
        self.clients, self.servers = {}, {}
        with Session(case) as self.session:
            self.missing = list(self.session.inputs)[1]
            for phase in STEPS:
                self.session.run_to(phase)
                self.clients[phase] = fork_client(self.session.clients[self.missing])
                self.servers[phase] = self.session.server_at(phase, self.missing)
            self.session.run_to(Phase.DONE)


@functools.cache
def stages(name):
    return Stages(CASES[name])


def select(*roles):
    return [refusal for refusal in REFUSED if refusal["at"] in roles]


def blamed(refusal, error):
    """Whether an error is the one that the file names."""
    kind, culprit = type(error).__name__, getattr(error, "culprit", None)
    return (kind, culprit) == (refusal["error"], refusal["culprit"])


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda r: r["name"])
def test_the_bytes_alone(refusal):
    *_, message = parts(refusal)
    chunk = refusal["at"] == "chunk"
    try:
        if chunk:
            decode_chunk(message)
        else:
            session, content = decode(message)
    except SecAggError as error:
        assert type(error).__name__ == refusal["alone"]  # noqa: PT017 - or none, below
    else:
        assert refusal["alone"] == "message"
        assert chunk or encode(content, session) == message


@pytest.mark.parametrize("refusal", select("server", "chunk"), ids=lambda r: r["name"])
def test_the_server_refuses_and_is_as_before(refusal):
    stage, phase = stages(refusal["session"]), Phase(refusal["phase"])
    server = fork_server(stage.servers[phase])
    *before, message = parts(refusal)
    for chunk in before:
        server.receive_chunk(refusal["client"], chunk)
    take = server.receive_chunk if refusal["at"] == "chunk" else server.receive
    state = state_of(server)
    with pytest.raises(SecAggError) as caught:
        take(refusal["client"], message)
    assert blamed(refusal, caught.value)
    if not before:
        assert state_of(server) == state
    server.receive(stage.missing, stage.session.said[phase][stage.missing])
    server.advance()


@pytest.mark.parametrize("refusal", select("client"), ids=lambda r: r["name"])
def test_the_client_refuses_and_is_done(refusal):
    stage, phase = stages(refusal["session"]), Phase(refusal["phase"])
    client, (message,) = fork_client(stage.clients[phase]), parts(refusal)
    with deterministic_entropy(b"refused"), pytest.raises(SecAggError) as caught:
        client.receive(message)
    assert blamed(refusal, caught.value)
    assert client.phase is Phase.ABORTED
    assert client._secrets is None


@pytest.mark.parametrize("refusal", select("offer"), ids=lambda r: r["name"])
def test_nobody_joins_such_an_offer(refusal):
    session = stages(refusal["session"]).session
    (message,) = parts(refusal)
    joined = set(session.identities[refusal["client"]]._joined)
    with pytest.raises(SecAggError) as caught:
        session.join(refusal["client"], message)
    assert blamed(refusal, caught.value)
    assert session.identities[refusal["client"]]._joined.keys() == joined


def test_the_list_is_long_and_its_names_differ():
    """At least 60; every phase and role; no two under one name, none of the same bytes."""
    assert len(REFUSED) >= 300
    assert {(r["at"], r["phase"]) for r in REFUSED} >= {("server", p.value) for p in STEPS}
    assert {(r["at"], r["phase"]) for r in REFUSED} >= {("client", p.value) for p in STEPS[1:]}
    names = Counter((r["at"], r["name"]) for r in REFUSED)
    assert max(names.values()) == 1
    same = Counter(
        (r["at"], r["phase"], r["session"], r["client"], str(r["bytes"])) for r in REFUSED
    )
    assert max(same.values()) == 1


MUTANTS = {
    "secagg.roles.server.admission.acceptable_agreement_key": "a mask key of order 8",
    "secagg.roles.server.admission.canonical": "an own share that is none",
    "secagg.crypto.keys.Directory.verify": "a signature by another",
    "secagg.roles.client.client.check_partners": "partners without this client",
    "secagg.roles.client.client.check_survivors": "inputs' signatures where none are",
    "secagg.roles.client.client.check_inputs": "an input's signature altered",
    "secagg.roles.client.client.check_quorum": "a signature too few",
    "secagg.roles.client.client.check_roster": "an identity exchanged",
}


@pytest.mark.parametrize(("check", "name"), MUTANTS.items(), ids=lambda x: x)
def test_mutants_without_a_check_take_what_they_must_refuse(check, name, monkeypatch):
    (refusal,) = (refusal for refusal in REFUSED if refusal["name"] == name)
    stages(refusal["session"])
    monkeypatch.setattr(check, lambda *_, **__: True)
    test = test_the_client_refuses_and_is_done
    if refusal["at"] != "client":
        test = test_the_server_refuses_and_is_as_before
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test(refusal)
