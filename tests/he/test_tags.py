import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he.params import DEGREE, MODULUS
from he.tags import TagKey, UploadName

KEY = TagKey(b"k" * 32)
NAME = UploadName(b"c" * 32, 7, b"n" * 16, 1000)


def secret_vector(key):
    low, high = key._limbs
    return [int(a) + (int(b) << 30) for a, b in zip(low, high, strict=True)]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_inner_product_is_that_of_python_integers(seed):
    rng = np.random.default_rng(seed)
    coefficients = rng.integers(0, MODULUS, 2 * DEGREE, dtype=np.uint64)
    expected = sum(int(c) * r for c, r in zip(coefficients, secret_vector(KEY), strict=True))
    assert KEY.inner(coefficients) == expected % MODULUS


def test_largest_coefficients_do_not_overflow():
    coefficients = np.full(2 * DEGREE, MODULUS - 1, np.uint64)
    assert KEY.inner(coefficients) == (-sum(secret_vector(KEY))) % MODULUS


def test_the_secret_vector_is_full_length_and_below_q():
    vector = secret_vector(KEY)
    assert len(set(vector)) == len(vector) == 2 * DEGREE
    assert max(vector) < MODULUS


def test_tags_add_as_coefficients_do():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, MODULUS, (2, 2 * DEGREE), dtype=np.uint64)
    total = (first + second) % np.uint64(MODULUS)
    other = UploadName(b"c" * 32, 8, b"m" * 16, 1000)
    tags = KEY.tag(first, NAME, 3) + KEY.tag(second, other, 3)
    assert (tags - KEY.inner(total) - KEY.mask(NAME, 3) - KEY.mask(other, 3)) % MODULUS == 0


@pytest.mark.parametrize(
    ("name", "index"),
    [
        (UploadName(b"d" * 32, 7, b"n" * 16, 1000), 3),
        (UploadName(b"c" * 32, 8, b"n" * 16, 1000), 3),
        (UploadName(b"c" * 32, 7, b"m" * 16, 1000), 3),
        (UploadName(b"c" * 32, 7, b"n" * 16, 1001), 3),
        (NAME, 4),
    ],
)
def test_masks_depend_on_round_client_upload_length_and_chunk(name, index):
    assert KEY.mask(NAME, 3) == KEY.mask(NAME, 3)
    assert KEY.mask(name, index) != KEY.mask(NAME, 3)


def test_keys_differ_by_secret():
    other = TagKey(b"l" * 32)
    assert other.mask(NAME, 0) != KEY.mask(NAME, 0)
    assert secret_vector(other) != secret_vector(KEY)
