"""A masked vector that was altered on its way is refused, wherever the alteration is."""

from __future__ import annotations

import pytest

from secagg import Phase, RemoteProtocolError
from secagg.wire.codec import decode
from secagg.wire.messages import MaskedInput
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab

LENGTH = 3000  # several of BLAKE3's chunks of 1,024 bytes
RATES = {
    "malicious": {},
    "malicious-local": {
        "dropout_rate": 0.1,
        "corrupt_rate": 0.05,
        "threat_model": "malicious-local",
    },
}
PLACES = [0.0, 0.3, 0.7, 1.0]
"""Shares of the vector before the byte that is altered."""


def altered_input(model, at):
    """The input of client 10 with one bit flipped in its vector, given to the server."""
    lab = Lab(24 if RATES[model] else 5, length=LENGTH, **RATES[model])
    reply = bytearray(lab.run_to(Phase.MASKED_INPUT).reply(10))
    size = len(decode(bytes(reply))[1].packed)
    reply[len(reply) - size + int(at * (size - 1))] ^= 1
    lab.server.receive(10, bytes(reply))


@pytest.mark.parametrize("model", RATES)
@pytest.mark.parametrize("at", PLACES)
def test_an_altered_vector_is_refused(model, at):
    with pytest.raises(RemoteProtocolError, match="altered on its way"):
        altered_input(model, at)


@pytest.mark.parametrize(
    ("instead", "at"),
    [("b''", 0.0), ("self.packed[:1024]", 0.7), ("self.packed[-1024:]", 0.3)],
    ids=["no vector", "its first chunk", "its last chunk"],
)
@pytest.mark.parametrize("model", RATES)
def test_the_mutant_that_signs_a_part_of_the_vector(model, instead, at, monkeypatch):
    without(monkeypatch, MaskedInput, "signed", "self.packed", instead)
    with pytest.raises(FOUND):
        test_an_altered_vector_is_refused(model, at)
