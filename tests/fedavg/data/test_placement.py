"""Placement: the configured clients, and which statistics may scale their tables."""

import numpy as np
import pytest

from fedavg.config.build import load_config
from fedavg.data.loading.loading import load
from fedavg.data.placement import place
from fedavg.errors import ConfigError, DataError, FedAvgError
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.support.tables import write


def _data(**options):
    return load_config(None, {f"data.{key}": value for key, value in options.items()}).data


@pytest.mark.parametrize("scheme", ["iid", "shards", "dirichlet", "quantity", "noisy-sort"])
def test_every_partition_gives_all_training_examples(scheme):
    placed = place(_data(name="digits", clients=20, partition=scheme), None, seed=0)
    task, clients = placed.task, placed.clients
    assert sorted(clients) == list(range(20))
    assert sum(len(data) for data in clients.values()) == len(task.train)


def test_natural_clients_and_a_column_of_owners_go_together():
    with pytest.raises(ConfigError, match="give both or neither"):
        place(_data(name="digits", clients=20, partition="natural"), None, seed=0)


def test_a_built_in_table_is_scaled_by_bounds_or_by_its_clients():
    data = _data(name="breast-cancer", clients=10, partition="iid")
    public = place(data, None, seed=0)
    assert np.abs(public.task.train.features).max() <= 1
    summed = place(data, InsecurePlain(), seed=0)
    inputs = np.concatenate([rows.features for rows in summed.clients.values()])
    np.testing.assert_allclose(inputs.std(0), 1, atol=1e-3)
    assert summed.task.label_names == ("malignant", "benign")
    assert summed.names == tuple(map(str, range(10)))


def test_feature_skew_changes_clients_and_not_the_test_set():
    plain = place(_data(name="digits", clients=5, partition="iid"), None, seed=0)
    options = {"name": "digits", "clients": 5, "partition": "iid", "feature_skew": "rotation"}
    skewed = place(_data(**options), None, seed=0)
    assert (skewed.task.test.features == plain.task.test.features).all()
    for i, data in plain.clients.items():
        assert (skewed.clients[i].features != data.features).any()


def test_runs_of_another_seed_are_scored_on_the_same_examples():
    """Another split alone moves accuracy by a per cent; it has a seed of its own."""
    options = {"name": "digits", "clients": 10, "partition": "iid"}
    first, second = (place(_data(**options), None, seed=seed) for seed in (0, 1))
    assert (first.task.test.features == second.task.test.features).all()
    pairs = [(first.clients[i].features, second.clients[i].features) for i in range(10)]
    assert any(not np.array_equal(*pair) for pair in pairs)
    other = place(_data(split_seed=1, **options), None, seed=0).task
    assert (first.task.test.labels != other.test.labels).any()


ROWS = "".join(
    f"{n % 60},{n * 7 % 11},w{n % 10},p{n % 37},{'ny'[n % 3 == 0]}\n" for n in range(400)
)


@pytest.fixture
def csv(tmp_path):
    return str(write(tmp_path / "t.csv", "age,x,ward,person,sick\n" + ROWS))


def test_a_column_that_says_whose_rows_these_are_makes_natural_clients(csv):
    placed = place(_data(name=csv, target="sick", client="ward"), InsecurePlain(), seed=0)
    assert placed.names == tuple(f"w{n}" for n in range(10))
    assert sorted(placed.clients) == list(range(10))
    assert placed.config.columns["age"] == {"kind": "number"}
    assert placed.proposal is not None
    for partition in ("iid", "dirichlet"):
        with pytest.raises(ConfigError, match="give both or neither"):
            place(
                _data(name=csv, target="sick", client="ward", partition=partition),
                InsecurePlain(),
            )


def test_a_number_of_clients_beside_their_column_is_no_silence(csv):
    data = _data(name=csv, target="sick", client="ward", clients=5)
    with pytest.raises(ConfigError, match=r"'ward' .* of 10 clients .* asks for 5: leave one of"):
        place(data, InsecurePlain())
    placed = place(_data(name=csv, target="sick", client="ward", clients=10), InsecurePlain())
    assert len(placed.clients) == 10  # as a run's own configuration says it


@pytest.mark.parametrize("scheme", ["iid", "shards", "dirichlet", "quantity", "noisy-sort"])
@pytest.mark.parametrize("target", ["age", ["sick", "two"]])
def test_numbers_and_several_labels_are_spread_too(tmp_path, scheme, target):
    rows = "".join(f"{n % 60},{n * 7 % 11},{n % 2},{n % 5 == 0}\n" for n in range(400))
    path = str(write(tmp_path / "t.csv", "age,x,sick,two\n" + rows))
    data = _data(name=path, target=target, clients=8, partition=scheme)
    placed = place(data, InsecurePlain(), seed=0)
    assert len(placed.clients) == 8
    assert sum(map(len, placed.clients.values())) == len(placed.task.train)


def test_whole_clients_or_groups_are_held_out(csv):
    base = {"name": csv, "target": "sick"}
    clients = place(_data(**base, client="ward", split="client"), InsecurePlain(), seed=0)
    assert len(clients.clients) < 10
    assert clients.task.split == "whole clients, by a keyed hash of their names"
    groups = place(_data(**base, group="person", split="group", clients=4), InsecurePlain(), seed=0)
    assert groups.task.split == "whole groups, by a keyed hash of their names"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (
            {"name": "digits", "target": "y"},
            "digits is no table of your own .*leave out data.target",
        ),
        ({"name": "digits", "split": "client"}, "leave out data.split"),
        ({"name": "digits", "columns": {"a": {"kind": "number"}}}, "leave out data.columns"),
        ({"name": "breast-cancer", "target": "y"}, "built in.*leave out data.target"),
    ],
)
def test_what_is_of_tables_is_refused_elsewhere(options, word):
    with pytest.raises(ConfigError, match=word):
        place(_data(**options), None, seed=0)


def test_classes_of_a_table_and_of_a_built_in_one(csv):
    part = place(_data(name=csv, target="ward", classes=["w3", "w1"], clients=4), InsecurePlain())
    assert part.task.label_names == ("w3", "w1")
    built_in = _data(name="breast-cancer", classes=["benign", "malignant"], clients=4)
    assert place(built_in, None).task.label_names == ("benign", "malignant")


@pytest.mark.parametrize("fraction", [0.0, 1.0, float("nan")])
def test_a_test_fraction_outside_its_range(csv, fraction):
    with pytest.raises(FedAvgError, match="test_fraction"):
        place(_data(name=csv, target="sick", test_fraction=fraction), InsecurePlain())


def test_under_noise_it_is_said_that_labels_of_arrays_are_taken_for_public(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.arange(90.0).reshape(30, 3), y=np.arange(30) % 3)
    said = place(_data(name=str(path), clients=3), None).task.notes
    assert any("3 classes or outputs, are taken for public" in note for note in said)
    named = place(_data(name=str(path), clients=3, classes=[0, 1, 2]), None).task.notes
    assert not any("taken for public" in note for note in named)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image_size": [8, 8]}, "data.image_size is for a folder of images"),
        ({"channels": 3}, "data.channels is for a folder of images"),
        ({"test_fraction": 0.3}, "leave out data.test_fraction"),
        ({"split_seed": 3}, "leave out data.split_seed"),
    ],
)
def test_settings_that_arrays_do_not_read_are_refused_by_name(tmp_path, given, said):
    path = tmp_path / "t.npz"
    x, y = np.arange(90.0).reshape(30, 3), np.arange(30) % 3
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    assert place(_data(name=str(path), clients=3), InsecurePlain())
    with pytest.raises(ConfigError, match=said):
        place(_data(name=str(path), clients=3, **given), InsecurePlain())


def test_a_built_in_set_and_a_folder_of_images_say_what_is_predicted(tmp_path):
    with pytest.raises(ConfigError, match="digits is built in.*leave out data.task"):
        place(_data(name="digits", clients=3, task="numbers"), InsecurePlain())
    with pytest.raises(ConfigError, match="folders of images are classes"):
        place(_data(name=str(tmp_path), clients=3, task="numbers"), InsecurePlain())


def test_later_rows_are_held_out_by_a_column_of_dates(tmp_path):
    lines = "".join(f"{n},{1 + n % 12}/2020,{'ny'[n % 5 == 0]}\n" for n in range(120))
    path = str(write(tmp_path / "t.csv", "x,month,sick\n" + lines))
    columns = {"month": {"kind": "date", "pattern": "%m/%Y", "parts": ["month"]}}
    asked = {"name": path, "target": "sick", "clients": 3, "columns": columns}
    asked["test_from"] = "2020-10-01"
    with pytest.raises(ConfigError, match="name the column of their dates"):
        load(_data(**asked), private=False)
    for key, value in (("split_seed", 1), ("test_fraction", 0.3), ("split", "group")):
        with pytest.raises(ConfigError, match=f"leave out data.{key}"):
            load(_data(**asked, time="month", **{key: value}), private=False)
    with pytest.raises(DataError, match="no column 'mnth'; .* Do you mean 'month'"):
        load(_data(**asked, time="mnth"), private=False)
    placed = place(_data(**asked, time="month"), InsecurePlain(), seed=0)
    assert (len(placed.task.train), len(placed.task.test)) == (90, 30)
    assert (placed.config.time, placed.config.test_from) == ("month", "2020-10-01")
    assert placed.task.split == "rows from 2020-10-01 on"


def test_a_day_is_refused_for_data_without_dates():
    with pytest.raises(ConfigError, match=r"leave out data\.test_from"):
        load(_data(name="digits", test_from="2020-01-01"), private=False)


@pytest.mark.parametrize("name", ["digits", "breast-cancer"])
@pytest.mark.parametrize("partition", ["auto", "iid", "quantity"])
def test_a_built_in_set_gives_each_client_a_row_by_default(name, partition):
    """Breast-cancer has 456 rows to train on, which cannot lie on 1,000 clients."""
    config = load_config(None, {"data.name": name, "data.partition": partition})
    placed = place(config.data, InsecurePlain())
    assert min(map(len, placed.clients.values())) >= 1
    counted = [choice for choice in placed.chosen if choice.key == "data.clients"]
    assert len(placed.clients) == (22 if name == "breast-cancer" else 1000)
    assert bool(counted) == (name == "breast-cancer")
