"""Integers in fields of limbs and back, at the extremes of every width, with noise of either sign."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from he import RemoteProtocolError
from he.onetime.packing import add_fields, carried, opened
from he.onetime.params import Params

WIDTH = 5


def limbs_of(params, values, noise):
    limbs = np.zeros((params.layout.limbs, WIDTH), np.int64)
    limbs[0] += noise
    add_fields(limbs, values, params.layout)
    return limbs


@given(st.integers(2, 1560), st.integers(1, 50), st.integers(0, 2**32), st.sampled_from([-1, 0, 1]))
def test_sums_up_to_the_bounds_are_read_back(n, bits, seed, side):
    params = Params(n, 2**bits - 1, 10**6)
    limit = n * params.max_abs
    rng = np.random.default_rng(seed)
    values = rng.integers(-limit, limit, WIDTH * params.fields, endpoint=True)
    values[: WIDTH + 1] = [limit, -limit, 0, -limit, limit, 1][: min(WIDTH + 1, len(values))]
    noise = np.full(WIDTH, side * 21 * n)
    limbs = limbs_of(params, values, noise)
    assert np.array_equal(opened(limbs, params.layout, contributors=n, limit=limit), values)


@given(st.integers(0, 2**32))
def test_carrying_changes_no_value_modulo_q(seed):
    params = Params(100, 2**15, 10**6)
    modulus = 1 << 8 * params.word_bytes
    limbs = np.random.default_rng(seed).integers(-(2**47), 2**47, (params.layout.limbs, WIDTH))

    def value(column):
        return sum(int(limb) << 16 * index for index, limb in enumerate(column)) % modulus

    wanted = [value(column) for column in limbs.T]
    carried(limbs, params.layout)
    assert int(limbs.min()) >= 0
    assert int(limbs.max()) < 2**16
    assert [sum(int(x) << 16 * k for k, x in enumerate(c)) for c in limbs.T] == wanted


@pytest.mark.parametrize("side", [-1, 1])
def test_one_unit_of_noise_too_much_is_refused(side):
    params = Params(10, 100, 10**6)
    limbs = limbs_of(params, np.zeros(1, np.int64), np.array([0, 0, 0, 0, side * 211]))
    with pytest.raises(RemoteProtocolError, match="more noise than 10 honest clients"):
        opened(limbs, params.layout, contributors=10, limit=1000)


def test_a_sum_beyond_its_contributors_is_refused():
    params = Params(10, 100, 10**6)
    limbs = limbs_of(params, np.array([301], np.int64), np.zeros(WIDTH, np.int64))
    with pytest.raises(RemoteProtocolError, match="beyond what its contributors"):
        opened(limbs, params.layout, contributors=3, limit=300)
