"""Fixed features in a run of records: computed once, and the same promise as without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedavg.data.dataset import Dataset
from fedavg.errors import DataError, PlanError
from fedavg.models.features import computed as module
from fedavg.models.features.images import Scattering
from fedavg.models.spec import ModelSpec
from fedavg.records.prepared import blank, featured, prepared
from fedavg.records.table import Silo
from tests.fedavg.records.small import federation, plan, resolved

SIZE, LENGTH = 8, 324
SPEC = ModelSpec("softmax", (LENGTH,), 3)


def images(count: int, seed: int) -> Dataset:
    """Stripes of three directions, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    y, x = np.mgrid[:SIZE, :SIZE]
    waves = np.stack([np.sin(2 * y), np.sin(2 * x), np.sin(2 * (x + y))])
    return Dataset(waves[labels] + rng.normal(0, 0.5, (count, SIZE, SIZE)), labels)


def silos(count: int = 4) -> dict[int, Dataset]:
    return {i: images(50, i) for i in range(count)}


def test_features_replace_examples_and_nothing_else():
    data = images(7, 0)
    people = np.arange(7) // 2
    silo = prepared(Silo(data, people), Scattering())
    assert silo.records.features.shape == (7, LENGTH)
    np.testing.assert_array_equal(silo.records.labels, data.labels)
    np.testing.assert_array_equal(silo.person, people)
    assert featured(data, None) is data
    assert blank(data, Scattering()).features.shape == (1, LENGTH)
    assert blank(data, None).features.shape == (1, SIZE, SIZE)


def test_a_run_learns_on_features_and_its_model_takes_images():
    test = images(200, 9)
    run = federation(
        silos(),
        SPEC,
        features=Scattering(),
        noise_multiplier=1e-3,
        steps=15,
        clip=1.0,
        evaluate=test,
    )
    *_, last = run.run()
    assert last.evaluation.accuracy > 0.9
    with torch.no_grad():
        predicted = run.model()(torch.from_numpy(test.features)).argmax(1).numpy()
    assert (predicted == test.labels).mean() == pytest.approx(last.evaluation.accuracy)
    assert run.resolution.vector_length == 3 * LENGTH + 3


def test_features_are_computed_once_for_each_row(monkeypatch):
    asked, real = [], module._check_alone
    monkeypatch.setattr(module, "_check_alone", lambda *given: (asked.append(1), real(*given)))
    list(federation(silos(), SPEC, features=Scattering(), steps=3).run())
    assert len(asked) == 4


def test_silos_and_server_agree_on_features():
    changed = [{}, {"features": Scattering()}, {"features": Scattering(angles=4, groups=1)}]
    assert len({resolved(**changes).digest for changes in changed}) == 3


def test_rows_that_are_no_images_are_refused_with_a_sentence():
    rows = {i: Dataset(np.zeros((5, 30)), np.zeros(5, int)) for i in range(4)}
    with pytest.raises(
        PlanError, match="scattering is of images, and an example of shape 30 is none"
    ):
        federation(rows, SPEC, features=Scattering())


def test_a_model_of_examples_behind_features_is_refused_before_they_are_computed(monkeypatch):
    monkeypatch.setattr("fedavg.records.enrolment.prepared", None)
    with pytest.raises(DataError, match="the model, given two made-up records"):
        federation(silos(), ModelSpec("softmax", (SIZE * SIZE,), 3), features=Scattering())


def test_a_name_in_place_of_features_is_refused():
    with pytest.raises(PlanError, match=r"features is a part such as fedavg.Scattering\(\)"):
        plan(features="scattering")
