"""V10, V6: keys and errors of an upload have the law that its estimate is for, and no part serves twice."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import chi2

from he.errors import RemoteProtocolError
from he.onetime import Encryptor, Params
from he.onetime import client as client_module
from he.onetime.client import public_seed
from he.onetime.packing import carried, opened
from he.onetime.ring import KeyProducts
from he.onetime.wire import limbs_of, open_chunk
from he.rounds import hash_context
from tests.he.onetime.rounds import CONTEXT, encrypted
from tests.hostile.mutants import FOUND, without

PARAMS = Params(3, 1000, 40_000)
DEGREE = PARAMS.degree
FULL = PARAMS.polynomials - 1
"""Polynomials that are sent as a whole."""
EDGE = 10
LAW = np.array([comb(42, 21 + value) for value in range(-21, 22)]) / 2**42


def errors_of(chunks, key):
    """Whoever has a client's key reads its errors: c + a·s, where the vector is zero; int64[FULL, N]."""
    seed, context, found = public_seed(PARAMS, hash_context(CONTEXT)), hash_context(CONTEXT), []
    products, layout = KeyProducts(key), PARAMS.layout
    planes = (
        part for chunk in chunks for part in open_chunk(chunk, PARAMS, context, 1, None).planes
    )
    for number, part in zip(range(FULL), planes, strict=False):
        public = client_module.uniform_limbs(seed, number, layout.limbs, layout.degree)
        phase = products.multiply(public)
        phase += np.array([limb.astype(np.int64) for limb in limbs_of(part, layout)])
        # Nothing but small noise is there.
        opened(phase.copy(), layout, contributors=1, limit=0)
        low = carried(phase, layout)[0]
        found.append((low + 2**15) % 2**16 - 2**15)
    return np.array(found)


def drawn():
    """Keys and errors of five uploads: int64[5, N] and int64[5, FULL, N]."""
    uploads = [encrypted(PARAMS, 1, np.zeros(PARAMS.vector_length, np.int64)) for _ in range(5)]
    return np.array([key for _, key in uploads]), np.array([errors_of(*one) for one in uploads])


def check_law(values):
    """Pearson's statistic against the binomial of 42 coins, beyond ±10 in one cell each.

    Each cell expects 12 or more of the 10,240 values of keys, or 61,440 of errors. A draw from the law itself
    passes the threshold with probability 1e-8.
    """
    flat = np.clip(values.reshape(-1), -EDGE, EDGE)
    assert int(np.abs(values).max()) <= 21
    inner = LAW[21 - EDGE + 1 : 21 + EDGE]
    tail = LAW[: 21 - EDGE + 1].sum()
    expected = np.concatenate([[tail], inner, [tail]]) * flat.size
    assert expected.min() > 12
    counts = np.bincount(flat + EDGE, minlength=2 * EDGE + 1)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < chi2.isf(1e-8, 2 * EDGE)


def have_the_law():
    keys, errors = drawn()
    check_law(keys)
    check_law(errors)


def serve_once():
    """Neither a key nor the errors of a polynomial are those of another: correlations within 7 deviations.

    The correlation of N = 2,048 independent pairs passes 7/√N with probability below 1e-11. There are 595.
    """
    keys, errors = drawn()
    parts = [*keys, *errors.reshape(-1, DEGREE)]
    table = np.corrcoef(parts)
    limit = 7 / DEGREE**0.5
    assert all(abs(table[pair]) < limit for pair in combinations(range(len(parts)), 2))


def test_v10_keys_and_errors_have_the_law_of_the_estimate():
    have_the_law()


@pytest.mark.parametrize(
    ("owner", "name", "drawing", "instead"),
    [
        (client_module, "_encrypted", "sample_binomials(width)", "0"),
        (
            client_module,
            "_encrypted",
            "sample_binomials(width)",
            "np.sign(sample_binomials(width))",
        ),
        (client_module, "_encrypted", "sample_binomials(width)", "sample_binomials(width) // 2"),
        (
            Encryptor,
            "_chunks",
            "sample_binomials(params.degree)",
            "np.sign(sample_binomials(params.degree))",
        ),
        (
            Encryptor,
            "_chunks",
            "sample_binomials(params.degree)",
            "np.zeros(params.degree)",
        ),
    ],
    ids=["no errors", "errors of one", "errors of half the width", "ternary keys", "no key"],
)
def test_v10_mutant_of_another_law_is_found(monkeypatch, owner, name, drawing, instead):
    without(monkeypatch, owner, name, drawing, instead)
    with pytest.raises(FOUND):
        have_the_law()


def test_v10_no_key_and_no_errors_serve_twice():
    serve_once()


def test_v10_mutant_that_draws_its_errors_once(monkeypatch):
    """With equal errors, the difference of two uploads of one vector shows a·(s' − s) without noise."""
    kept = client_module.sample_binomials(DEGREE)
    without(monkeypatch, client_module, "_encrypted", "sample_binomials(width)", "KEPT[:width]")
    monkeypatch.setattr(client_module, "KEPT", kept, raising=False)
    with pytest.raises(FOUND):
        serve_once()


def test_v10_mutant_whose_errors_are_its_key(monkeypatch):
    without(monkeypatch, client_module, "_encrypted", "sample_binomials(width)", "KEPT[:width]")
    without(
        monkeypatch,
        Encryptor,
        "_chunks",
        "sample_binomials(params.degree)",
        "KEPT",
    )
    monkeypatch.setattr(
        client_module, "KEPT", client_module.sample_binomials(DEGREE), raising=False
    )
    with pytest.raises(FOUND):
        serve_once()


def subtract_two_polynomials():
    """All polynomials of an upload have one key: under one a their difference would show the vector's own."""
    step = DEGREE * PARAMS.fields
    vector = np.arange(PARAMS.vector_length) % 7
    vector[:step] += (
        100  # the first polynomial's integers are larger than those of the second by 100 or so
    )
    chunks, _ = encrypted(PARAMS, 1, vector)
    (planes,) = (
        open_chunk(chunk, PARAMS, hash_context(CONTEXT), 1, None).planes for chunk in chunks
    )
    one, other = (
        np.array([limb.astype(np.int64) for limb in limbs_of(part, PARAMS.layout)])
        for part in planes[:2]
    )
    try:
        shown = opened(one - other, PARAMS.layout, contributors=2, limit=2000)
    except RemoteProtocolError:
        return  # noise: all coefficients lie within ±42 with probability far below 1e-9
    assert not np.array_equal(shown, vector[:step] - vector[step : 2 * step]), (
        "the server reads both"
    )


def test_v6_two_polynomials_of_an_upload_show_no_difference():
    subtract_two_polynomials()


def test_v6_mutant_with_one_a_for_all_polynomials(monkeypatch):
    honest = client_module.uniform_limbs
    monkeypatch.setattr(
        client_module, "uniform_limbs", lambda seed, _, *size: honest(seed, 0, *size)
    )
    with pytest.raises(FOUND):
        subtract_two_polynomials()
