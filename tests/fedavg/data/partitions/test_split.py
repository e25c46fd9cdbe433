"""Held-out rows: chosen by each row alone, evenly, and the same however the file is ordered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.data.partitions import split
from fedavg.data.partitions.split import held_out, mixed, rows_hash, stratified, words_hash
from fedavg.errors import DataError

RNG = np.random.default_rng(0)


def _nobodys(count):
    return np.zeros(count, np.int64), ("",)


def _hashed(count):
    return rows_hash(RNG.standard_normal((count, 3)))


def test_the_share_is_the_expected_one():
    """4,000 rows at 0.2: six standard deviations are 0.038; false alarms below 1e-8."""
    held = held_out(_hashed(4000), _nobodys(4000), fraction=0.2, seed=0)
    assert abs(held.mean() - 0.2) < 0.038


@given(drop=st.integers(0, 99), seed=st.integers(0, 5))
def test_a_row_that_goes_changes_no_other_rows_part(drop, seed):
    contents = words_hash([str(n % 60) for n in range(100)])  # with copies
    whole = held_out(contents, _nobodys(100), fraction=0.4, seed=seed)
    kept = np.delete(np.arange(100), drop)
    less = held_out(contents[kept], _nobodys(99), fraction=0.4, seed=seed)
    # Copies are alike, so what counts is how many of each content are held out.
    before = np.bincount(np.arange(100)[whole] % 60, minlength=60)
    after = np.bincount(kept[less] % 60, minlength=60)
    changed = np.flatnonzero(before != after)
    assert set(changed.tolist()) <= {drop % 60}


def test_order_of_the_file_does_not_matter():
    contents, order = _hashed(200), RNG.permutation(200)
    one = held_out(contents, _nobodys(200), fraction=0.3, seed=1)
    two = held_out(contents[order], _nobodys(200), fraction=0.3, seed=1)
    assert (one[order] == two).all()


def test_a_client_that_joins_changes_nobody_elses_split_whatever_its_place():
    contents = _hashed(120)
    owners = np.repeat([0, 1, 2], 40)
    alone = held_out(contents, (owners, ("b", "c", "d")), fraction=0.3, seed=0)
    more = np.concatenate([words_hash(["x"] * 7), contents])
    renumbered = np.concatenate([np.zeros(7, np.int64), owners + 1])
    joined = held_out(more, (renumbered, ("a", "b", "c", "d")), fraction=0.3, seed=0)
    assert (joined[7:] == alone).all()


def test_the_same_row_of_two_clients_is_drawn_anew():
    contents = words_hash(["same"] * 400)
    held = held_out(contents, (np.arange(400), tuple(map(str, range(400)))), fraction=0.5, seed=0)
    assert 130 < held.sum() < 270  # seven standard deviations


def test_whole_clients_are_held_out_by_name():
    owners = np.repeat(np.arange(50), 4)
    names = tuple(f"site {n}" for n in range(50))
    held = held_out(None, (owners, names), fraction=0.3, seed=0)
    by_client = held.reshape(50, 4)
    assert (by_client.all(axis=1) | ~by_client.any(axis=1)).all()
    fewer = held_out(None, (owners[4:] - 1, names[1:]), fraction=0.3, seed=0)
    assert (held[4:] == fewer).all()


def test_a_seed_draws_other_rows():
    contents = _hashed(300)
    one, two = (held_out(contents, _nobodys(300), fraction=0.5, seed=s) for s in (0, 1))
    assert (one != two).any()


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_nothing_left_is_refused_with_what_to_change(fraction):
    with pytest.raises(DataError, match="leaves nothing to (train|score) on: choose another"):
        held_out(_hashed(5), _nobodys(5), fraction=fraction, seed=0)


def test_the_owners_key_is_what_keeps_clients_apart(monkeypatch):
    """Mutant: without it, the copies of one row at all clients are counted together."""

    def splits():
        owners = np.repeat(np.arange(11), 10)
        names = tuple(map(str, range(11)))
        whole = held_out(words_hash(["same"] * 110), (owners, names), fraction=0.5, seed=0)
        rest = (owners[10:] - 1, names[1:])
        return whole[10:], held_out(words_hash(["same"] * 100), rest, fraction=0.5, seed=0)

    with_neighbour, without = splits()
    assert (with_neighbour == without).all()
    monkeypatch.setattr(split, "_key", lambda name, seed: 0)
    with_neighbour, without = splits()
    assert (with_neighbour != without).any()


def test_known_answers_of_splitmix():
    """SplitMix64 from seed 0: the published sequence (prng.di.unimi.it/splitmix64.c)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = np.arange(3, dtype=np.uint64) * step
    assert [hex(value) for value in mixed(states).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_rows_are_hashed_over_all_their_arrays():
    x, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
    assert len(set(rows_hash(x, y).tolist())) == 3
    assert rows_hash(x, y)[0] != rows_hash(x, 1 - y)[0]
    assert rows_hash(x[1:], y[1:])[0] == rows_hash(x, y)[1]


def test_a_public_set_keeps_the_same_share_of_every_class():
    labels = np.repeat([0, 1], [90, 10])
    train, test = stratified(labels, fraction=0.2, seed=3, name="t")
    assert np.bincount(labels[test]).tolist() == [18, 2]
    assert sorted([*train, *test]) == list(range(100))
    with pytest.raises(DataError, match="leaves nothing to score on"):
        stratified(np.zeros(2, int), fraction=0.1, seed=0, name="t")
