"""Forks of a session in mid-air, so that every way on from one point can be tried.

A `Client` refuses to be copied, for a good reason; a test that enumerates what may happen next copies it
field by field instead.
"""

from __future__ import annotations

import copy

import numpy as np

from secagg import Client, Server
from secagg.crypto.ephemeral import Ephemeral
from secagg.roles.client.participation import Participation
from secagg.roles.server.staging import Staging
from secagg.roles.server.tally import Tally


def fork_client(client):
    """A client in the same state, independent from here on."""
    twin = object.__new__(Client)
    for name in Participation.__slots__:
        setattr(twin, name, getattr(client, name))
    if client._secrets is not None:
        twin._secrets = object.__new__(Ephemeral)
        for name in Ephemeral.__slots__:
            setattr(twin._secrets, name, _own(getattr(client._secrets, name)))
    return twin


def fork_server(server):
    """A server in the same state, independent from here on."""
    twin = object.__new__(Server)
    twin.__dict__.update({name: _own(value) for name, value in vars(server).items()})
    return twin


def state_of(server):
    """All that a server holds, comparable: a refusal must leave it as it was."""
    return {name: _plain(value) for name, value in vars(server).items()}


def _own(value):
    if isinstance(value, Tally):
        twin = object.__new__(Tally)
        twin.__dict__.update({name: _own(held) for name, held in vars(value).items()})
        return twin
    if isinstance(value, Staging):
        twin = Staging()
        twin._uploads = copy.deepcopy(value._uploads)
        return twin
    if isinstance(value, dict | set | np.ndarray):
        return copy.copy(value)  # what they hold is never changed in place
    return value


def _plain(value):
    if isinstance(value, Tally):
        return {name: _plain(held) for name, held in vars(value).items()}
    if isinstance(value, Staging):
        return {i: (u.parts, u.taken, bytes(u.data)) for i, u in value._uploads.items()}
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict | set):
        return copy.copy(value)
    return value
