"""State that clients keep between rounds: a repeated round reads the same state as the first attempt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from fedavg.algorithms.state import FolderStore, MemoryStore
from fedavg.errors import CheckpointError


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "clients")


def test_a_client_starts_with_nothing(store):
    assert store.load(3, 0) == {}


def test_a_round_finds_the_state_before_it_even_when_it_is_run_again(store):
    for index in (0, 4, 9):
        store.save(3, index, {"x": np.full(2, float(index))})
    assert store.load(3, 10)["x"].tolist() == [9.0, 9.0]
    assert store.load(3, 9)["x"].tolist() == [4.0, 4.0]
    assert store.load(4, 10) == {}


def test_what_is_stored_is_a_copy(store):
    array = np.zeros(2)
    store.save(0, 0, {"x": array})
    array += 1
    assert store.load(0, 1)["x"].tolist() == [0.0, 0.0]


@given(st.lists(st.integers(0, 20), unique=True, min_size=1), st.integers(1, 22))
def test_the_newest_of_the_two_kept_is_found(indices, asked):
    store = MemoryStore()
    for index in sorted(indices):
        store.save(0, index, {"x": np.array([float(index)])})
    kept = [index for index in sorted(indices)[-2:] if index < asked]
    found = store.load(0, asked)
    assert found == {} if not kept else found["x"].tolist() == [float(max(kept))]


def test_states_outlive_the_store_and_are_the_owners_alone(tmp_path):
    folder = tmp_path / "clients"
    FolderStore(folder).save(5, 1, {"x": np.arange(3.0)})
    assert FolderStore(folder).load(5, 2)["x"].tolist() == [0.0, 1.0, 2.0]
    file = folder / "5" / "1.safetensors"
    assert file.stat().st_mode & 0o077 == 0


def test_a_damaged_state_is_refused_by_name(tmp_path):
    store = FolderStore(tmp_path)
    store.save(5, 1, {"x": np.arange(3.0)})
    (tmp_path / "5" / "1.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="1.safetensors is damaged"):
        store.load(5, 2)


def test_a_flipped_bit_of_a_state_is_refused_and_an_older_file_is_read(tmp_path):
    """A client's control variate with a flipped bit was another control variate."""
    store = FolderStore(tmp_path)
    store.save(5, 1, {"x": np.arange(3.0)})
    path = tmp_path / "5" / "1.safetensors"
    data = bytearray(path.read_bytes())
    for place in range(1, 25):  # the numbers stand last
        path.write_bytes(data[:-place] + bytes([data[-place] ^ 1]) + data[len(data) - place + 1 :])
        with pytest.raises(CheckpointError, match="does not agree with its digest"):
            store.load(5, 2)
    path.write_bytes(save({"x": np.arange(3.0)}))
    assert store.load(5, 2)["x"].tolist() == [0.0, 1.0, 2.0]


def test_a_run_that_goes_on_earlier_forgets_what_came_later(tmp_path):
    store = FolderStore(tmp_path / "clients")
    store.rewind(0)
    for client, numbers in ((1, (2, 5)), (2, (6,)), (3, (1,))):
        for number in numbers:
            store.save(client, number, {"x": np.full(1, float(number))})
    store.rewind(5)
    left = {client: store.load(client, 100).get("x") for client in (1, 2, 3)}
    assert left == {1: 2.0, 2: None, 3: 1.0}
