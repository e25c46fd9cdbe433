"""The examples of a run: a resumed run goes on with those that it began with."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg import Dataset
from fedavg.errors import CheckpointError
from fedavg.runs.files.content import keep_content
from fedavg.runs.files.directory import RunDirectory


def examples(weights=None):
    numbers = np.arange(12, dtype=np.float32).reshape(6, 2)
    return Dataset(numbers, np.array([0, 1, 0, 1, 0, 1]), weights=weights)


def begun(path, clients, test):
    directory = RunDirectory(path / "run")
    keep_content(directory, clients, test, begins=True)
    return directory


def test_the_same_examples_go_on_and_only_the_owner_reads_their_digests(tmp_path):
    clients = {3: examples(), 7: examples(np.arange(6, dtype=np.float32))}
    directory = begun(tmp_path, clients, examples())
    keep_content(directory, clients, examples(), begins=False)
    file = directory.path / "content.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = json.loads(file.read_text())
    assert list(kept["of"]) == ["client 3", "client 7", "held-out"]
    # Equal examples, and yet nobody sees that another run has the same: each has a key of its own.
    (tmp_path / "other").mkdir()
    other = begun(tmp_path / "other", clients, examples())
    again = json.loads((other.path / "content.json").read_text())
    assert not {*kept["of"].values()} & {*again["of"].values()}


@pytest.mark.parametrize("place", ["client 0", "client 1", "held-out"])
@given(row=st.integers(0, 5), column=st.integers(0, 1), what=st.sampled_from("flw"))
def test_any_changed_value_is_refused_and_its_part_named(
    tmp_path_factory, place, row, column, what
):
    parts = {
        name: examples(np.ones(6, np.float32)) for name in ("client 0", "client 1", "held-out")
    }

    def split():
        return {0: parts["client 0"], 1: parts["client 1"]}, parts["held-out"]

    directory = begun(tmp_path_factory.mktemp("run"), *split())
    features, labels, weights = (
        array.copy()
        for array in (parts[place].features, parts[place].labels, np.ones(6, np.float32))
    )
    if what == "f":
        features[row, column] = np.nextafter(features[row, column], np.float32(99))
    elif what == "l":
        labels[row] = 1 - labels[row]
    else:
        weights[row] = 2.0
    parts[place] = Dataset(features, labels, weights=weights)
    with pytest.raises(CheckpointError, match=rf"began with: {place} of 3 parts differ"):
        keep_content(directory, *split(), begins=False)


def test_clients_that_come_and_go_and_rows_that_move_are_named(tmp_path):
    clients = {i: examples() for i in range(9)}
    directory = begun(tmp_path, clients, examples())
    with pytest.raises(CheckpointError, match=r"client 8, client 9 of 10 parts"):
        keep_content(
            directory,
            {i: examples() for i in (*range(8), 9)},
            examples(),
            begins=False,
        )
    turned = {i: examples().subset(np.arange(6)[::-1].copy()) for i in clients}
    with pytest.raises(CheckpointError, match=r"client 5 and 3 more of 10 parts"):
        keep_content(directory, turned, examples(), begins=False)


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    directory = begun(tmp_path, {0: examples()}, examples())
    (directory.path / "content.json").unlink()
    keep_content(directory, {1: examples()}, examples(), begins=False)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-5],
        lambda text: text.replace('"key"', '"kex"'),
        lambda text: text.replace('"key": "', '"key": "z'),
        lambda _: "[]",
        lambda _: "",
    ],
)
def test_a_damaged_file_is_no_earlier_version(tmp_path, damage):
    """Mutant: a file that cannot be read counts as none, and any examples go on."""
    directory = begun(tmp_path, {0: examples()}, examples())
    path = directory.path / "content.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(CheckpointError, match=r"content\.json is damaged"):
        keep_content(directory, {0: examples()}, examples(), begins=False)
