"""S20 for one-time keys: no key, error or input is in reach of the frames of an exception."""

from __future__ import annotations

import numpy as np
import pytest

import he
import he.guards.calls
from he.onetime import Encryptor, Params
from he.onetime import client as client_module
from he.secrecy import Secret
from tests.hostile.leftovers import Leftovers, passed_on
from tests.hostile.mutants import FOUND

LEFTOVERS = Leftovers(he, he.HeError, (Encryptor, Secret))
INPUT = np.array([424, 717, 313, 999, 555])
PARAMS = Params(3, 1000, 5)


def encrypting(monkeypatch):
    """An upload and its key, of which every array that is drawn is a secret."""
    honest = client_module.sample_binomials

    def prepare():
        drawn = honest(PARAMS.degree)
        monkeypatch.setattr(client_module, "sample_binomials", lambda size: drawn[:size].copy())
        encryptor = Encryptor(PARAMS, 1, context=b"round 1")

        def call():
            list(encryptor.encrypt(INPUT))
            encryptor.take_key()

        return call, encryptor, [drawn.astype(np.int64)[:64].tobytes(), drawn[:64].tobytes()]

    return prepare


def test_s20_wherever_an_encryption_fails_nothing_is_left(monkeypatch):
    count = 0
    for place, _, error, secrets in LEFTOVERS.failures(encrypting(monkeypatch)):
        assert isinstance(error, he.HeError), place
        assert not LEFTOVERS.left_behind(error, secrets, INPUT), place
        count += 1
    assert count > 50


def test_s20_mutant_that_keeps_its_frames_is_found(monkeypatch):
    monkeypatch.setattr(he.guards.calls, "_empty", lambda *_: None)
    monkeypatch.setattr(he.guards.calls, "_named", passed_on(he.InternalError))
    with pytest.raises(FOUND):
        test_s20_wherever_an_encryption_fails_nothing_is_left(monkeypatch)
