"""A signed chunk under a one-time key that was altered on its way is refused, wherever it was altered."""

from __future__ import annotations

import numpy as np
import pytest

import he
from he.onetime import Encryptor, Params, Server, wire
from tests.he.onetime.rounds import CONTEXT
from tests.hostile.mutants import FOUND

PARAMS = Params(3, 1000, 500)
PLACES = [0.0, 0.5, 1.0]
"""Shares of the ciphertext before the byte that is altered."""


def altered_chunk(at):
    """A chunk with one bit flipped in its ciphertext, given to the server."""
    key = he.SigningKey.generate()
    encryptor = Encryptor(PARAMS, 7, context=CONTEXT, signing_key=key)
    (chunk,) = encryptor.encrypt(np.arange(500))
    start, end = wire._START, len(chunk) - wire.SIGNATURE_BYTES
    altered = bytearray(chunk)
    altered[start + int(at * (end - 1 - start))] ^= 1
    server = Server(PARAMS, context=CONTEXT, enrolled=he.Directory({7: key.public}))
    server.receive(7, bytes(altered))


@pytest.mark.parametrize("at", PLACES)
def test_an_altered_chunk_is_refused(at):
    with pytest.raises(he.AuthenticationError):
        altered_chunk(at)


@pytest.mark.parametrize("at", PLACES)
def test_the_mutant_that_signs_the_header_alone(at, monkeypatch):
    digest = wire.long_digest
    monkeypatch.setattr(wire, "long_digest", lambda message: digest(message[: wire._START]))
    with pytest.raises(FOUND):
        test_an_altered_chunk_is_refused(at)
