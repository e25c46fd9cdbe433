"""Products by the key equal those of exact integers, at the largest values that the parameters allow."""

import numpy as np
import pytest

from he.crypto.streams import sample_binomials, uniform_limbs
from he.onetime.ring import KeyProducts

DEGREES = (2048, 4096, 8192)


def packed(values, bits=64):
    """Σ v_j·2^(bits·j), from signed integers."""
    return sum(int(v) << bits * j for j, v in enumerate(values.tolist()))


def exact_product(one, other):
    """The product modulo x^N + 1 by one product of long integers (Kronecker's substitution)."""
    degree, bits = len(one), 64
    # Coefficients of the whole product are below 2^43·2: 64 bits hold them, with a bias against borrows.
    whole = packed(one) * packed(other) + sum(1 << bits * j + bits - 1 for j in range(2 * degree))
    octets = whole.to_bytes(16 * degree + 8, "little")[: 16 * degree]
    digits = np.frombuffer(octets, "<u8").astype(np.int64) ^ np.int64(-(2**63))
    return digits[:degree] - digits[degree:]


@pytest.mark.parametrize("degree", DEGREES)
def test_a_clients_products_are_exact(degree):
    limbs = uniform_limbs(bytes(32), 5, 3, degree)
    key = sample_binomials(degree).astype(np.int64)
    found = KeyProducts(key).multiply(limbs)
    for row, product in zip(limbs, found, strict=True):
        assert np.array_equal(product, exact_product(row.astype(np.int64), key))


@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("pattern", ["constant", "alternating", "random signs"])
def test_products_of_the_largest_values_are_exact(degree, pattern):
    places = np.arange(degree)
    signs = {
        "constant": np.ones(degree, np.int64),
        "alternating": 1 - 2 * (places % 2),
        "random signs": 1 - 2 * (places * places // 7 % 2),
    }[pattern]
    largest_limbs = np.where(signs > 0, 2**15 - 1, -(2**15))
    sum_of_keys = signs[::-1] * 32760
    (found,) = KeyProducts(sum_of_keys).multiply(largest_limbs.astype(np.int16)[None])
    assert np.array_equal(found, exact_product(largest_limbs, sum_of_keys))


def test_the_error_is_far_below_its_proven_bound():
    # The bound is 0.21 at the largest values; the transforms here are as good as their theory at worst.
    degree, rng = 8192, np.random.default_rng(1)
    limbs = rng.integers(-(2**15), 2**15, (1, degree)).astype(np.int16)
    key = rng.choice([-32760, 32760], degree)
    products = KeyProducts(key)
    values = products._transformed(limbs) * products._key
    folded = np.fft.ifft(values) * products._untwist
    assert float(np.abs(folded.real - np.rint(folded.real)).max()) < 0.02
