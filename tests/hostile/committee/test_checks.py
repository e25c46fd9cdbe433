"""V1, V8: check values, which the server has of every client, teach nothing about any client's vector."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.committee.arithmetic import sharing
from secagg.committee.arithmetic.field import lagrange
from tests.hostile.mutants import FOUND, without
from tests.secagg.committee.support.algebra import reduced
from tests.secagg.committee.support.lab import small

PARAMS = small(9, 1, 1, 6, 5, threshold=4)
(P,) = PARAMS.moduli
VECTOR = np.array([9, -9, 7, 1, -2, 5])
NAME = bytes(range(32))


def read_a_client():
    """The server takes one client's check values from R reports to the points of the secrets.

    Without masks it reads there, for each check row, the weighted sum of the client's blocks.
    """
    shares = sharing.deal(PARAMS, VECTOR)
    reports = range(PARAMS.rebuild)
    said = np.array([sharing.check_values(PARAMS, NAME, shares[j])[0] for j in reports])
    secrets = sharing.secret_points(PARAMS, P)
    read = lagrange(tuple(j + 1 for j in reports), secrets, P) @ said % P
    # The weights alone: what a share says whose check rows are zero.
    unit = np.zeros((PARAMS.blocks, 1, PARAMS.blocks + PARAMS.checks), np.int64)
    unit[range(PARAMS.blocks), 0, range(PARAMS.blocks)] = 1
    weights = np.array([sharing.check_values(PARAMS, NAME, one)[0] for one in unit])
    blocks = VECTOR.reshape(PARAMS.blocks, PARAMS.packing)
    agree = (read == blocks.T @ weights % P).mean()
    # With masks each agrees with probability 1 ÷ 4,093, so that a fifth of them do with less than 1e-15.
    assert agree < 0.2, "the server reads sums of blocks"


def everything_is_new():
    """The rank of what is drawn for one vector: R values for each check row, t for each block.

    For uniform and independent values a smaller rank than of all columns has probability below p^−20 (there
    are twenty deals more than columns), and p = 4,093.
    """
    t, rebuild = PARAMS.threshold, PARAMS.rebuild
    columns = 1 + PARAMS.checks * rebuild + PARAMS.blocks * t
    rows = []
    for _ in range(columns + 20):
        dealt = sharing.deal(PARAMS, VECTOR)[:, 0]
        blocks, checks = np.split(dealt, [PARAMS.blocks], axis=1)
        rows.append([1, *blocks[:t].reshape(-1).tolist(), *checks[:rebuild].reshape(-1).tolist()])
    assert len(reduced(rows, P)[0]) == columns


def test_v1_check_values_do_not_show_a_clients_blocks():
    read_a_client()


def test_v8_every_free_value_of_a_share_is_drawn_anew():
    everything_is_new()


MASKS = "np.concatenate([padded.reshape(-1, k) % modulus, masks])"
FREE = "uniform(modulus, len(secrets) * t).reshape(-1, t)"


@pytest.mark.parametrize(
    ("attack", "name", "drawing", "instead"),
    [
        (read_a_client, "check_values", "(combined + masks) % modulus", "combined"),
        (read_a_client, "deal", MASKS, MASKS.replace("masks", "0 * masks")),
        (everything_is_new, "deal", MASKS, MASKS.replace("masks", "0 * masks")),
        (
            everything_is_new,
            "deal",
            MASKS,
            MASKS.replace("masks", "masks[:1].repeat(len(masks), 0)"),
        ),
        (everything_is_new, "deal", FREE, FREE + " * (np.arange(len(secrets)) < 2)[:, None]"),
        (
            everything_is_new,
            "deal",
            FREE,
            "uniform(modulus, t).reshape(1, t).repeat(len(secrets), 0)",
        ),
    ],
    ids=[
        "no masks",
        "masks of nothing",
        "masks of nothing, by rank",
        "one mask",
        "no points",
        "one draw",
    ],
)
def test_mutant_that_draws_too_little_is_found(monkeypatch, attack, name, drawing, instead):
    without(monkeypatch, sharing, name, drawing, instead)
    with pytest.raises(FOUND):
        attack()
