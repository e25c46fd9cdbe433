"""Arrays at unit scale: by bounds, by sums over the clients, or as they are with a word."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.data.placement import place
from fedavg.data.settings import DataConfig
from fedavg.errors import ConfigError, DataError, PlanError
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 3)).astype(np.float32)
PRICES = 200_000 + 50_000 * X[:, 0].astype(np.float64)


def file_of(folder, **arrays):
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return str(path)


def placed(name, statistics, **options):
    return place(DataConfig(name=name, clients=8, partition="iid", **options), statistics)


@pytest.mark.parametrize("secure_sum", [InsecurePlain(), SecAgg()])
def test_numbers_and_far_features_are_scaled_by_what_the_clients_sum(tmp_path, secure_sum):
    found = placed(file_of(tmp_path, x=X * 1000 + 5000, y=PRICES), secure_sum)
    train = found.task.train
    assert np.abs(train.features.mean(axis=0)).max() < 1e-4
    assert train.features.std(axis=0) == pytest.approx(1, abs=1e-3)
    assert train.labels.std() == pytest.approx(1, abs=1e-3)
    (centre,), (scale,) = found.task.label_centre, found.task.label_scale
    back = np.sort(train.labels[:, 0] * scale + centre)
    everything = np.concatenate([train.labels, found.task.test.labels])[:, 0] * scale + centre
    assert np.sort(everything) == pytest.approx(np.sort(PRICES), rel=1e-5)
    assert centre == pytest.approx(back.mean(), rel=1e-5)
    assert sum(len(data) for data in found.clients.values()) == len(train)
    assert len([note for note in found.task.notes if "sum securely" in note]) == 2


def test_features_of_about_unit_scale_and_classes_stay_as_they_are(tmp_path):
    found = placed(file_of(tmp_path, x=X, y=(X[:, 0] > 0).astype(int)), InsecurePlain())
    everything = np.concatenate([found.task.train.features, found.task.test.features])
    assert np.array_equal(np.sort(everything, axis=None), np.sort(X, axis=None))
    assert found.task.label_scale == ()
    assert not found.task.notes


@pytest.mark.parametrize(
    "features",
    [np.abs(X.reshape(100, 1, 3, 4) * 80) + 60, (np.abs(X) * 1000).astype(np.int32)],
    ids=["images of floats", "whole numbers, which may be tokens"],
)
def test_what_is_not_scaled_is_said(tmp_path, features):
    labels = (np.arange(len(features)) % 2).astype(int)
    found = placed(file_of(tmp_path, x=features, y=labels), InsecurePlain())
    assert found.task.train.features.max() > 100
    (note,) = found.task.notes
    assert "are taken as they are" in note
    assert "bounds = { x = [low, high] }" in note


def test_declared_bounds_go_first_and_clamp(tmp_path):
    name = file_of(tmp_path, x=X * 1000, y=PRICES)
    bounds = {"x": (-1000.0, 1000.0), "y": (100_000.0, 300_000.0)}
    for statistics in (None, InsecurePlain()):
        found = placed(name, statistics, bounds=bounds)
        assert np.abs(found.task.train.features).max() == 1
        assert found.task.train.features[0, 0] != 0
        assert (found.task.label_centre, found.task.label_scale) == ((200_000.0,), (100_000.0,))
        beyond = int((np.abs(X * 1000) > 1000).sum())
        assert any("lie beyond and are clamped" in note for note in found.task.notes)
        assert 0 < np.count_nonzero(np.abs(found.task.train.features) == 1) <= beyond


def test_under_noise_numbers_need_bounds_and_nothing_is_read_off_the_rows(tmp_path):
    name = file_of(tmp_path, x=X * 1000, y=PRICES)
    with pytest.raises(PlanError, match=r"bounds = \{ y = \[low, high\] \}"):
        placed(name, None)
    found = placed(name, None, bounds={"y": (100_000.0, 300_000.0)})
    assert found.task.train.features.max() > 1000
    assert any("are taken as they are" in note for note in found.task.notes)


@pytest.mark.parametrize(
    ("bounds", "error", "said"),
    [
        ({"z": (0.0, 1.0)}, ConfigError, "arrays have no data.bounds.z"),
        ({"x": (1.0, 1.0)}, ConfigError, "the lower one first"),
        ({"x": (0.0, np.inf)}, ConfigError, "the lower one first"),
        ({"y": (0.0, 1.0)}, ConfigError, "classes are predicted"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(tmp_path, bounds, error, said):
    name = file_of(tmp_path, x=X, y=(X[:, 0] > 0).astype(int))
    with pytest.raises(error, match=said):
        placed(name, InsecurePlain(), bounds=bounds)


def test_a_number_that_does_not_vary_is_refused(tmp_path):
    name = file_of(tmp_path, x=X, y=np.full(400, 2.5))
    with pytest.raises(DataError, match="does not vary"):
        placed(name, InsecurePlain(), task="numbers")


def test_keys_of_tables_mean_nothing_for_arrays(tmp_path):
    name = file_of(tmp_path, x=X, y=PRICES)
    with pytest.raises(ConfigError, match="leave out data.target"):
        placed(name, InsecurePlain(), target="y")
