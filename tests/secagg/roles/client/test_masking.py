"""The admission of an input: narrow words, bands, the bound at both ends, and a copy of the array."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import CapacityError, Params
from secagg.crypto import ring
from secagg.roles.client import masking
from secagg.roles.client.masking import admit_input


def params_of(length, **ring_of):
    return Params.for_cohort(3, length, dropout_rate=0.0, corrupt_rate=0.0, **ring_of)


@pytest.mark.parametrize(
    ("max_abs", "dtype"), [(1000, np.uint16), (10**6, np.uint32), (10**12, np.uint64)]
)
def test_words_are_the_narrowest_and_sum_to_the_input(max_abs, dtype, monkeypatch):
    monkeypatch.setattr(masking, "_BAND", 5)
    params = params_of(12, max_abs=max_abs)
    vector = np.random.default_rng(0).integers(-max_abs, max_abs, 12, endpoint=True)
    words = admit_input(vector, params)
    assert words.dtype == dtype
    assert not np.shares_memory(words, vector)
    assert np.array_equal(ring.centre(words, params.ring_bits), vector)


@pytest.mark.parametrize("place", [0, 4, 5, 11])
@pytest.mark.parametrize("value", [22, -22, np.iinfo(np.int64).max, np.iinfo(np.int64).min])
def test_one_coordinate_beyond_the_bound_is_found_in_every_band(place, value, monkeypatch):
    monkeypatch.setattr(masking, "_BAND", 5)
    vector = np.full(12, -21)
    admit_input(vector, params_of(12, max_abs=21))
    vector[place] = value
    with pytest.raises(CapacityError, match="max_abs=21"):
        admit_input(vector, params_of(12, max_abs=21))


def test_without_a_bound_any_integer_is_taken_modulo_the_ring():
    vector = np.array([np.iinfo(np.int64).min, -1, np.iinfo(np.int64).max])
    words = admit_input(vector, params_of(3, ring_bits=20))
    assert words.tolist() == [0, 2**20 - 1, 2**20 - 1]


def test_an_array_that_is_mapped_or_strided_is_read_as_it_stands(tmp_path):
    np.save(tmp_path / "vector.npy", np.arange(6))
    params = params_of(3, max_abs=9)
    mapped = np.load(tmp_path / "vector.npy", mmap_mode="r")
    assert admit_input(mapped[:3], params).tolist() == [0, 1, 2]
    assert admit_input(mapped[::2], params).tolist() == [0, 2, 4]
