"""S14, E6, O2: the counts of a client in a training round, its refusals, and its noise."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from fedavg.client.client import Client
from fedavg.encoding import broadcast as download
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.errors import CapacityError, LocalProtocolError
from fedavg.plan.plan import Limits
from fedavg.privacy.noise import DistributedGaussian
from fedavg.protocol.messages import (
    Ready,
    RoundStart,
    SumOpen,
    decode,
    encode,
    round_context,
    start_digest,
)
from tests.e2e.small import LENGTH, SUMS
from tests.fedavg.protocol.test_client_server import MODEL_BYTES, client_of, resolution_of
from tests.hostile.mutants import FOUND, without

PLAIN = "insecure-plain"
PRIVATE = {"encoding": FixedPoint(0.5, 9), "noise": DistributedGaussian(1.0)}
ROSTER = 60


# S14: differencing over rounds --------------------------------------------------------------------


def times_served(client, provision, rounds):
    """How often a client lets itself be summed, by a server that asks about one frozen model."""
    resolution = client._ctx.resolution
    for index in range(rounds):
        start = RoundStart(index, MODEL_BYTES)
        replies = [decode(reply) for reply in client.handle(encode(start))]
        if replies != [Ready(index)]:
            continue
        context = round_context(resolution.digest, index, ROSTER, start_digest(start))
        side = SUMS[PLAIN].server_side(provision.server)
        opening = side.session(resolution.spec(ROSTER, context), range(ROSTER)).open()[0][0]
        client.handle(encode(SumOpen(index, ROSTER, opening)))
    return client.participations


def test_s14_a_client_counts_its_participations_itself():
    resolution = resolution_of(PLAIN, ROSTER, limits=Limits(max_participations=3), **PRIVATE)
    client, provision = client_of(PLAIN, resolution)
    assert times_served(client, provision, 8) == 3


def test_s14_mutant_without_the_count_serves_as_often_as_it_is_asked(monkeypatch):
    without(monkeypatch, Client, "_train", "limit is not None and self.participations >= limit")
    with pytest.raises(FOUND):
        test_s14_a_client_counts_its_participations_itself()


# E6: values beyond the clip range -----------------------------------------------------------------


def test_e6_two_updates_beyond_the_range_never_look_alike_in_silence():
    """Under an exact encoding they are refused; under noise they are to be clipped first, by their norm."""
    for scale in (1.01, 5.0, 1e6):
        with pytest.raises(CapacityError, match="range"):
            FixedPoint(1.0, 8, rounding="nearest").encode(np.array([scale, 0.1]))
        with pytest.raises(CapacityError, match="clip it first"):
            FixedPoint(1.0, 8).encode(np.array([scale, 0.1]))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        (
            "_encode_nearest",
            "not (-self.clip <= float(vector.min()) and float(vector.max()) <= self.clip)",
        ),
        ("encode", "float(np.linalg.norm(vector)) > self.clip * _ROUNDING_SLACK"),
    ],
)
def test_e6_mutant_without_the_range_takes_them(name, check, monkeypatch):
    without(monkeypatch, FixedPoint, name, check)
    with pytest.raises((*FOUND, LocalProtocolError)):
        test_e6_two_updates_beyond_the_range_never_look_alike_in_silence()


def clamped_in_a_round(caplog):
    """What a client's own log says of a round in which half of its coordinates lie beyond a tiny range."""
    resolution = resolution_of(PLAIN, encoding=Quantised(1e-9, 8))
    client, _ = client_of(PLAIN, resolution)
    with caplog.at_level(logging.INFO, logger="fedavg.client.update"):
        client.handle(encode(RoundStart(0, MODEL_BYTES)))
    return [record.getMessage() for record in caplog.records]


def test_e6_clamping_is_counted_at_the_client(caplog):
    assert Quantised(1.0, 8).clamped(np.array([0.5, 1.5, -2.0, 1.0])) == 2
    (line,) = clamped_in_a_round(caplog)
    assert line == f"round 0: {LENGTH} of {LENGTH} coordinates clamped"


def test_e6_mutant_that_counts_nothing_is_found(caplog, monkeypatch):
    monkeypatch.setattr(Quantised, "clamped", lambda *_: 0)
    with pytest.raises(FOUND):
        test_e6_clamping_is_counted_at_the_client(caplog)


# O2: a crafted but consistent model ---------------------------------------------------------------


def test_o2_a_model_of_another_shape_is_refused():
    """The architecture is the client's own; the server sends numbers for it and nothing else."""
    client, _ = client_of(PLAIN, resolution_of(PLAIN))
    shapes = (MODEL_BYTES[:-4], MODEL_BYTES + bytes(4), MODEL_BYTES * 2, b"")
    for index, crafted in enumerate(shapes):
        with pytest.raises(LocalProtocolError, match="the model's 39 parameters take"):
            client.handle(encode(RoundStart(index, crafted)))
    assert client.participations == 0


def test_o2_mutant_that_takes_models_as_they_come_is_found(monkeypatch):
    without(monkeypatch, download.ModelCodec, "decode", "len(data) != self.size")
    with pytest.raises((*FOUND, ValueError)):
        test_o2_a_model_of_another_shape_is_refused()


def noise_of_a_sum(copies=400):
    """Variances of the summed noise where one client has an update and where none has, over the claimed one.

    60 clients; client 0 alone moves coordinate 0 of each of 400 vectors, as under a trap model. 400
    draws at coordinate 0: a standard error of 7.1 %, and 38 · 400 elsewhere: 1.1 %.
    """
    resolution = resolution_of(PLAIN, ROSTER, **PRIVATE)
    client, _ = client_of(PLAIN, resolution)
    trap = np.zeros((copies, LENGTH), np.int64)
    trap[:, 0] = 200
    total = client._with_noise(trap.reshape(-1), ROSTER)
    for _ in range(ROSTER - 1):
        total = total + client._with_noise(np.zeros(trap.size, np.int64), ROSTER)
    noise = (total - trap.reshape(-1)).reshape(copies, LENGTH)
    claimed = (resolution.noise_multiplier * resolution.sensitivity.l2) ** 2
    return float(noise[:, 0].var()) / claimed, float(noise[:, 1:].var()) / claimed


def test_o2_a_coordinate_of_one_client_carries_the_whole_noise():
    """At least the claimed variance, less six standard errors: false-alarm rate 1e-9 each."""
    alone, none = noise_of_a_sum()
    assert alone > 1 - 6 * 0.071
    assert none > 1 - 6 * 0.0115


def test_o2_mutant_that_spares_the_zeros_leaves_it_bare(monkeypatch):
    honest = Client._with_noise

    def sparing(self, encoded, roster_size):
        return np.where(encoded == 0, 0, honest(self, encoded, roster_size))

    monkeypatch.setattr(Client, "_with_noise", sparing)
    alone, none = noise_of_a_sum()
    assert alone < 0.1
    assert none == 0
    with pytest.raises(FOUND):
        test_o2_a_coordinate_of_one_client_carries_the_whole_noise()
