"""A client that lies on a shelf; attacks on it are in tests/hostile/exchange/test_suspended.py."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fedavg.adapters.exchange import Node
from fedavg.errors import ConfigError
from secagg import CapacityError
from tests.fedavg.adapters.exchange.parties import MASKED, MODEL, RUN, Parties, terms


@pytest.fixture
def parties():
    return Parties(agreed=terms(sum=MASKED))


def test_a_node_without_a_shelf_takes_no_part(parties):
    with pytest.raises(ConfigError, match="no place for its client"):
        Node(parties.agreement, parties.keys[0], parties.journals[0])


def test_no_client_is_copied(parties):
    client = parties.node(0)._suspended()
    assert repr(client) == "SuspendedClient(<redacted>)"
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            copied(client)


def test_a_vector_that_is_refused_leaves_room_for_another(parties):
    node = parties.node(0)
    part = node.join(*node.read(parties.server().request, run=RUN, kind="train"), MODEL)
    first = part._session
    with pytest.raises(CapacityError):
        first.set_input(np.full(part._at.length, 1 << 40))
    assert parties.shelves[0].state is None
    part.send_nothing()
    assert parties.shelves[0].state is not None
