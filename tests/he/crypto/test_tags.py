import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he.crypto.tags import TagKey, UploadName
from he.params import DEGREE, MODULUS
from tests.he.support.rounds import tag_vector

KEY = TagKey(b"k" * 32, 2)
NAME = UploadName(b"c" * 32, 7, b"n" * 32, 1000)


def secret_vector(key):
    return [word for part in tag_vector(key).tolist() for word in part]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_inner_product_is_that_of_python_integers(seed):
    rng = np.random.default_rng(seed)
    parts = rng.integers(0, MODULUS, (2, 3, DEGREE), dtype=np.uint64)
    vector = secret_vector(KEY)
    expected = [
        sum(c * r for c, r in zip(parts[:, index].reshape(-1).tolist(), vector, strict=True))
        for index in range(3)
    ]
    assert KEY.inner(parts) == [value % MODULUS for value in expected]


def test_largest_coefficients_do_not_overflow():
    parts = np.full((2, 1, DEGREE), MODULUS - 1, np.uint64)
    assert KEY.inner(parts) == [(-sum(secret_vector(KEY))) % MODULUS]


def test_inner_products_are_exact_at_the_largest_limbs():
    """Every limb of r and of c at its bound: 2^12 terms of 40 bits, the most that a double must hold."""
    key = TagKey(b"k" * 32, 1)
    key._limbs[:] = 2**10 - 1
    parts = np.full((1, 6, DEGREE), 2**60 - 1, np.uint64)
    assert key.inner(parts) == [(2**60 - 1) ** 2 * DEGREE % MODULUS] * 6


def test_the_secret_vector_is_full_length_and_below_q():
    vector = secret_vector(KEY)
    assert len(set(vector)) == len(vector) == 2 * DEGREE
    assert max(vector) < MODULUS


def test_tags_add_as_coefficients_do():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, MODULUS, (2, 2, 3, DEGREE), dtype=np.uint64)
    total = (first + second) % np.uint64(MODULUS)
    other = UploadName(b"c" * 32, 8, b"m" * 32, 1000)
    tags = zip(KEY.expected(first, (NAME,), 5), KEY.expected(second, (other,), 5), strict=True)
    assert KEY.expected(total, (NAME, other), 5) == [(a + b) % MODULUS for a, b in tags]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        (UploadName(b"d" * 32, 7, b"n" * 32, 1000), 3),
        (UploadName(b"c" * 32, 8, b"n" * 32, 1000), 3),
        (UploadName(b"c" * 32, 7, b"m" * 32, 1000), 3),
        (UploadName(b"c" * 32, 7, b"n" * 32, 1001), 3),
        (NAME, 4),
    ],
)
def test_masks_depend_on_round_client_upload_length_and_chunk(name, index):
    assert KEY.masks(NAME, 3, 2) == KEY.masks(NAME, 3, 5)[:2]
    assert not {*KEY.masks(name, index, 2)} & {*KEY.masks(NAME, 3, 2)}


def test_keys_differ_by_secret():
    other = TagKey(b"l" * 32, 2)
    assert other.masks(NAME, 0, 1) != KEY.masks(NAME, 0, 1)
    assert secret_vector(other) != secret_vector(KEY)
