"""Files of named arrays: what is written comes back, and what was changed since is refused."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save

from fedavg.models.arrays import arrays_bytes, read_arrays

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0), "c": np.array(1, np.float32)}


def test_arrays_and_texts_come_back(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(arrays_bytes(ARRAYS, {"format": "1", "state": "é"}))
    arrays, texts = read_arrays(path, older=())
    assert texts == {"format": "1", "state": "é"}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


@pytest.mark.parametrize("older", [(), ("format",), ("format", "state", "more")])
def test_a_file_without_a_digest_is_taken_with_exactly_the_texts_of_older_ones(tmp_path, older):
    path = tmp_path / "file"
    path.write_bytes(save(ARRAYS, {"format": "1", "state": "x"}))
    assert read_arrays(path, older=("format", "state"))[1]["state"] == "x"
    with pytest.raises(ValueError, match="does not agree with its digest"):
        read_arrays(path, older=older)


@pytest.mark.parametrize("data", [b"", b"torn", bytes(100)])
def test_what_is_no_such_file_is_a_value_error(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"\S"):
        read_arrays(path, older=())
