"""E7: every public argument of secagg in disguise is taken for exactly what it says, or refused by type."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import numpy as np
import pytest

import secagg
import secagg.guards.checks
import secagg.params.derivation
import secagg.params.params
import secagg.roles.client.joining
import secagg.roles.client.masking
import secagg.roles.server.server
from secagg import (
    Client,
    Conviction,
    Directory,
    Identity,
    LocalProtocolError,
    Offence,
    Params,
    Phase,
    Policy,
    SecAggError,
    Server,
    TrustServerDirectory,
    requirements,
    simulate,
)
from tests.hostile.mutants import FOUND, without
from tests.secagg.guards.test_checks import INTEGERS, NO_NUMBERS, NO_VECTORS, PLAIN
from tests.secagg.support.lab import CONTEXT, Lab

PARAMS = Params.for_cohort(5, 3, max_abs=9)
KEYS = {i: Identity.generate() for i in range(5)}
KNOWN = Directory({i: key.public for i, key in KEYS.items()})


def cohort(**changes):
    told = {"n_clients": 5, "vector_length": 3, "max_abs": 9} | changes
    return Params.for_cohort(told.pop("n_clients"), told.pop("vector_length"), **told)


def server(**changes):
    told = {"params": PARAMS, "context": CONTEXT, "directory": KNOWN} | changes
    return Server(told.pop("params"), **told)


def join(**changes):
    own = Identity.from_private_bytes(KEYS[1].private_bytes())
    told = {"offer": server().offer(), "client_id": 1, "identity": own, "directory": KNOWN}
    told |= {"context": CONTEXT} | changes
    names = ("offer", "client_id", "identity", "directory")
    return Client.from_offer(*[told.pop(name) for name in names], **told)


def started():
    client = join()
    client.start()
    return client


def convict(**changes):
    told = {"client_id": 1, "offence": Offence.BAD_DEALER, "evidence": b""} | changes
    context = told.pop("context", CONTEXT)
    directory = told.pop("directory", KNOWN)
    secagg.check_conviction(Conviction(**told), context=context, directory=directory)


FIVE = dict.fromkeys(range(5), PLAIN)
SENT = join().start()


class Pairs(Mapping):
    """A mapping of one key, which need not hash."""

    def __init__(self, key, value):
        self.pair = key, value

    def __getitem__(self, key):
        return self.pair[1]

    def __iter__(self):
        return iter([self.pair[0]])

    def __len__(self):
        return 1


class Bag(AbstractSet):
    """A set of one element, which need not hash."""

    def __init__(self, element):
        self.element = element

    def __contains__(self, element):
        return element is self.element

    def __iter__(self):
        return iter([self.element])

    def __len__(self):
        return 1


SEVEN = Directory({7: KEYS[1].public, 8: KEYS[2].public})

WHOLE = {
    "n_clients": lambda x: cohort(n_clients=x).to_bytes(),
    "vector_length": lambda x: cohort(vector_length=x).to_bytes(),
    "max_abs": lambda x: cohort(max_abs=x).to_bytes(),
    "ring_bits": lambda x: cohort(max_abs=None, ring_bits=x).to_bytes(),
    "requirements": lambda x: requirements(x, 0.0, 0.0, "malicious"),
    "min_survivors": lambda x: Policy(min_survivors=x),
    "max_clients": lambda x: Policy(max_clients=x),
    "directory": lambda x: len(Directory(Pairs(x, KEYS[1].public))),
    "own id": lambda x: (
        join(
            client_id=x,
            identity=KEYS[1],
            directory=SEVEN,
        ).phase
    ),
    "sender": lambda x: server(directory=TrustServerDirectory()).receive(x, SENT),
    "sender in parts": lambda x: server().receive_chunk(x, b"x"),
    "input of": lambda x: simulate(Pairs(x, PLAIN), PARAMS),
    "drop-out": lambda x: simulate(FIVE, PARAMS, drop={Phase.UNMASK: Bag(x)}),
    "culprit": lambda x: convict(client_id=x),
}
NUMBERS = {
    "dropout_rate": lambda x: cohort(dropout_rate=x).to_bytes(),
    "corrupt_rate": lambda x: cohort(corrupt_rate=x).to_bytes(),
    "min_corrupt_rate": lambda x: Policy(min_corrupt_rate=x),
    "directory_corrupt_rate": lambda x: Policy(directory_corrupt_rate=x),
    "min_directory_share": lambda x: Policy(min_directory_share=x),
    "smallest cohort, dropout": lambda x: Params.smallest_cohort(dropout_rate=x, corrupt_rate=0.1),
    "smallest cohort, corrupt": lambda x: Params.smallest_cohort(dropout_rate=0.1, corrupt_rate=x),
}
OCTETS = {
    "context of the server": lambda x: server(context=x),
    "context of the client": lambda x: join(context=x),
    "context of a conviction": lambda x: convict(context=x),
    "offer": lambda x: join(offer=x),
    "message to the client": lambda x: started().receive(x),
    "reply in parts": lambda x: list(join().chunks(x)),
    "message to the server": lambda x: server().receive(1, x),
    "part to the server": lambda x: server().receive_chunk(1, x),
    "signature": lambda x: server().check_apart(1, x),
    "private key": Identity.from_private_bytes,
    "to be signed": KEYS[1].sign,
    "identity": lambda x: Directory({1: x}),
    "identity to check": lambda x: KNOWN.check(1, x),
    "evidence": lambda x: convict(evidence=x),
    "params": Params.from_bytes,
    "kind": secagg.message_kind,
    "vector": secagg.masked_vector,
    "input signature": secagg.input_signature,
}
OBJECTS = {
    "params": lambda x: server(params=x),
    "directory of the server": lambda x: server(directory=x),
    "executor": lambda x: server(executor=x),
    "identity": lambda x: join(identity=x),
    "directory": lambda x: join(directory=x),
    "policy": lambda x: join(policy=x),
    "executor of the client": lambda x: join(executor=x),
    "journal": lambda x: join(journal=[x] if type(x) is set else x),
    "inputs": lambda x: simulate(x, PARAMS),
    "params of a simulation": lambda x: simulate(FIVE, x),
    "drop": lambda x: simulate(FIVE, PARAMS, drop=x),
    "phase": lambda x: simulate(FIVE, PARAMS, drop=Pairs(x, {1})),
    "transcript": lambda x: simulate(FIVE, PARAMS, transcript=x),
    "identities": Directory,
    "key": Identity,
    "offence": lambda x: convict(offence=x),
    "conviction": lambda x: secagg.check_conviction(x, context=CONTEXT, directory=KNOWN),
    "signatures": lambda x: server().receive_sum(x, PLAIN),
    "threat model": lambda x: cohort(threat_model=x),
    "semi-honest": lambda x: Policy(allow_semi_honest=x),
    "local": lambda x: Policy(allow_local=x),
}
OPTIONAL = {
    "journal",
    "max_abs",
    "ring_bits",
    "drop",
    "transcript",
    "executor",
    "executor of the client",
}


def refused(call, value):
    with pytest.raises(SecAggError):
        call(value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 7.0, np.float64(7), float("nan")], ids=repr)
@pytest.mark.parametrize("door", WHOLE)
def test_e7_what_is_no_integer_is_refused(door, value):
    if not (value is None and door in OPTIONAL):
        refused(WHOLE[door], value)


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("door", WHOLE)
def test_e7_numpys_integers_are_integers(door, kind):
    """The same answer, or the same refusal, as for Python's own."""

    def answer(value):
        KEYS[1]._joined.clear()
        try:
            return WHOLE[door](value)
        except SecAggError as error:
            return str(error)

    expected = answer(7)
    assert answer(kind(7)) == expected
    assert "integer" not in str(expected)


@pytest.mark.parametrize("value", [*NO_NUMBERS, float("nan"), float("inf"), -0.1], ids=repr)
@pytest.mark.parametrize("door", NUMBERS)
def test_e7_what_is_no_rate_is_refused(door, value):
    refused(NUMBERS[door], value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, float])
@pytest.mark.parametrize("door", NUMBERS)
def test_e7_numpys_floats_are_rates(door, kind):
    assert NUMBERS[door](kind(0.25)) == NUMBERS[door](0.25)


@pytest.mark.parametrize("value", [None, "text", 5, 5.0, [1], np.arange(3), ...], ids=repr)
@pytest.mark.parametrize("door", OCTETS)
def test_e7_what_is_no_bytes_is_refused(door, value):
    refused(OCTETS[door], value)


@pytest.mark.parametrize("value", [None, "text", 5, 5.0, [1], {1}, np.arange(3), object], ids=repr)
@pytest.mark.parametrize("door", OBJECTS)
def test_e7_what_is_another_object_is_refused(door, value):
    if not (value is None and door in OPTIONAL) and not (
        door == "transcript" and type(value) is list
    ):
        refused(OBJECTS[door], value)


@pytest.mark.parametrize("name", NO_VECTORS)
def test_e7_arrays_in_disguise_are_refused_and_change_nothing(name):
    client = join()
    with pytest.raises(secagg.CapacityError):
        client.set_input(NO_VECTORS[name])
    client.set_input(PLAIN)
    with pytest.raises(SecAggError):
        simulate(FIVE | {2: NO_VECTORS[name]}, PARAMS)


def test_e7_a_mask_hides_no_value_from_the_bound():
    """As it was: a masked entry passed the check, was summed all the same, and the sum wrapped."""
    hidden = np.ma.array([1, 10**6, 3], mask=[0, 1, 0])
    with pytest.raises(secagg.CapacityError, match="MaskedArray, which may mean other values"):
        simulate(FIVE | {2: hidden}, PARAMS)


def test_e7_mutant_that_takes_subclasses_sums_what_it_has_not_checked(monkeypatch):
    source = "type(value) not in _PLAIN"
    anything = without(monkeypatch, secagg.guards.checks, "plain_array", source)
    monkeypatch.setattr(secagg.roles.client.masking, "plain_array", anything)
    with pytest.raises((*FOUND, LocalProtocolError)):
        test_e7_arrays_in_disguise_are_refused_and_change_nothing("masked")


def test_e7_what_the_caller_does_to_its_array_later_does_not_matter():
    lab, mine = Lab(5), np.ones(4, np.int64)
    client = lab.clients[10]
    client._secrets.input = None
    client.set_input(mine)
    mine[:] = 50
    lab.run_to(Phase.DONE)
    others = lab.total(lab.ids[1:])
    assert np.array_equal(lab.server.result().total, others + 1)


def test_e7_a_refused_number_spoils_nothing_for_the_next_call():
    """As it was: 3.0 == 3 found the entry that a float had left in a cache, with floats for counts."""
    secagg.params.derivation._derive.cache_clear()
    with pytest.raises(LocalProtocolError, match="n_clients must be an integer, not a float"):
        Params.for_cohort(3.0, 3, ring_bits=9)
    for value in (3, np.int64(3)):
        params = Params.for_cohort(value, 3, ring_bits=9)
        assert all(type(x) is not float for x in (params.threshold, params.degree))
        assert simulate(dict.fromkeys(range(3), PLAIN), params).total.tolist() == [3, -6, 9]


def test_e7_mutant_without_the_door_poisons_the_cache(monkeypatch):
    for owner in (secagg.params.derivation, secagg.params.params):
        monkeypatch.setattr(owner, "whole", lambda _, value: value)
    with pytest.raises((*FOUND, SecAggError, TypeError)):
        test_e7_a_refused_number_spoils_nothing_for_the_next_call()
    secagg.params.derivation._derive.cache_clear()


@pytest.mark.parametrize("door", [door for door in OCTETS if door.startswith("context")])
def test_s13_a_context_names_something(door):
    """Clients without a context would be in one sum even if their models differ."""
    with pytest.raises(LocalProtocolError, match="non-empty bytes that name this round"):
        OCTETS[door](b"")


def test_s13_mutant_that_takes_an_empty_context_sums_what_nobody_named(monkeypatch):
    without(monkeypatch, secagg.guards.checks, "context_of", "not named")
    for module in (secagg.roles.server.server, secagg.roles.client.joining):
        monkeypatch.setattr(module, "context_of", secagg.guards.checks.context_of)
    assert server(context=b"").phase is Phase.ADVERTISE_KEYS
    with pytest.raises(FOUND):
        test_s13_a_context_names_something("context of the server")


def test_e7_every_public_name_is_behind_a_door():
    """A new function or class has to be added to the tables above, or here if it takes no arguments."""
    doors = {"Client", "Directory", "Identity", "Params", "Policy", "Server", "check_conviction"}
    doors |= {"input_signature", "masked_vector", "message_kind", "requirements", "simulate"}
    values = {"Conviction", "Offence", "Phase", "AbortReason", "SumResult", "Requirements"}
    values |= {"TrustServerDirectory", "Journal"}
    errors = {
        n
        for n in secagg.__all__
        if isinstance(v := getattr(secagg, n), type) and issubclass(v, Exception)
    }
    assert set(secagg.__all__) == doors | values | errors
