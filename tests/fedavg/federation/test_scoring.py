"""What released models are scored on, and the module that is handed out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, DataError
from fedavg.federation.federation import Federation
from fedavg.sums.plain import InsecurePlain
from fedavg.training.evaluation import Scoring
from tests.e2e.small import clients, examples, plan

HELD = examples(60, 1)


def federation(evaluate, **options):
    torch.manual_seed(0)
    return Federation(
        nn.Linear(12, 3), clients(6), plan(InsecurePlain()), evaluate=evaluate, **options
    )


def test_every_round_has_the_headline_beside_the_majority_class():
    run = federation(HELD, scoring=Scoring(("log-loss",)))
    results = list(run.run(3))
    last = results[-1]
    assert [figure.name for figure in last.figures] == ["accuracy", "log_loss"]
    majority = np.bincount(HELD.labels).max() / len(HELD)
    assert last.headline.value == last.accuracy > last.headline.baseline.value
    assert last.headline.baseline.value == pytest.approx(majority)
    assert last.headline.baseline.rule == "majority class"
    assert not last.headline.covered_by_epsilon


def test_the_module_handed_out_is_the_released_one_and_a_copy():
    torch.manual_seed(0)
    mine = nn.Linear(12, 3)
    before = mine.weight.detach().clone()
    run = Federation(mine, clients(6), plan(InsecurePlain()))
    assert [result.figures for result in run.run(2)] == [(), ()]
    given = run.model()
    assert torch.equal(mine.weight, before)
    assert np.allclose(run.layout.flatten(given), run.released, atol=1e-6)
    with torch.no_grad():
        given.weight.zero_()
    assert np.allclose(run.layout.flatten(run.model()), run.released, atol=1e-6)
    assert run.evaluation() is None
    assert run.predictions() is None
    assert run.client_evaluations() == {}


def test_a_finished_run_has_all_figures_that_fit():
    run = federation(HELD)
    list(run.run(3))
    found = {figure.name: figure for figure in run.evaluation().figures}
    assert {"accuracy", "balanced_accuracy", "roc_auc", "log_loss", "recall/0"} <= found.keys()
    assert found["roc_auc"].baseline.value == 0.5
    predicted = run.predictions()
    assert predicted.predicted.shape == (60, 3)
    right = (predicted.predicted.argmax(1) == HELD.labels).mean()
    assert found["accuracy"].value == pytest.approx(right)


def test_examples_by_client_are_pooled_and_told_apart():
    own = {client: examples(10 + client, 500 + client) for client in range(6)}
    run = federation(own)
    (result,) = run.run(1)
    by_client = run.client_evaluations()
    assert [found.examples for found in by_client.values()] == [10, 11, 12, 13, 14, 15]
    pooled = sum(found.headline.value * found.examples for found in by_client.values()) / 75
    assert result.accuracy == pytest.approx(pooled)


def test_weights_of_some_clients_count_when_held_rows_are_pooled():
    heavy = Dataset(HELD.features, HELD.labels, weights=np.full(60, 3, np.float32))
    other = Dataset(HELD.features, (HELD.labels + 1) % 3)
    run = federation({0: heavy, 1: other})
    (result,) = run.run(1)
    alone = federation(HELD)
    (single,) = alone.run(1)
    wrong = federation(other)
    (shifted,) = wrong.run(1)
    assert result.accuracy == pytest.approx((3 * single.accuracy + shifted.accuracy) / 4)


def test_a_function_scores_a_copy_in_evaluation_mode():
    seen = []

    def score(module):
        seen.append(module.training)
        with torch.no_grad():
            module.weight.zero_()  # its own copy
        return {"norm": torch.tensor(2.5), "none": float("nan")}

    run = federation(score)
    results = list(run.run(2))
    assert [(f.name, f.value) for f in results[-1].figures] == [("norm", 2.5), ("none", None)]
    assert results[-1].headline.beats_baseline is None
    assert (results[-1].accuracy, results[-1].loss) == (None, None)
    assert not any(seen)
    assert run.released.any()
    assert run.predictions() is None


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (lambda module: {}, "returned no figure"),
        (lambda module: "good", "returned a str for 'score'"),
        (lambda module: 1 / 0, "function that scores models raised ZeroDivisionError"),
        (np.zeros((3, 12)), "or by a function: a ndarray is no data set"),
        ({0: HELD, 1: Dataset(np.zeros((2, 5)), np.array([0, 1]))}, "different shapes"),
        ({"a": HELD}, "whole numbers"),
        (Dataset(np.zeros((2, 12)), np.zeros(2), "numbers"), "evaluation set has labels of kind"),
    ],
)
def test_what_cannot_score_is_refused_before_any_round(held, said):
    with pytest.raises(DataError, match=said):
        federation(held).resolve(1)


def test_a_metric_of_other_labels_is_refused_at_once():
    with pytest.raises(ConfigError, match="'rmse' needs labels of kind numbers"):
        federation(HELD, scoring=Scoring(("rmse",)))


def test_numbers_are_scored_in_their_own_unit():
    """y = 1000 + 50·x: trained on (y − 1000) ÷ 50, and wrong by 1 there is wrong by 50."""
    features = np.linspace(-1, 1, 20, dtype=np.float32).reshape(-1, 1)
    data = Dataset(features, features + 1, "numbers")
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(1.0)
        module.bias.zero_()
    scoring = Scoring(("mae",), label_centre=(1000.0,), label_scale=(50.0,))
    run = Federation(module, {0: data}, plan(InsecurePlain()), evaluate=data, scoring=scoring)
    found = {figure.name: figure.value for figure in run.evaluation().figures}
    assert found["rmse"] == pytest.approx(50, rel=1e-5)
    assert found["mae"] == pytest.approx(50, rel=1e-5)


def test_a_run_to_which_nobody_contributed_says_so():
    from fedavg.encoding.fixed_point import FixedPoint
    from fedavg.optimizers.local import LocalTraining
    from fedavg.privacy.noise import CentralGaussian

    for noise in (None, CentralGaussian(1.0)):
        hot = LocalTraining(epochs=3, lr=1e30)
        changes = {"local_training": hot}
        if noise is not None:
            changes |= {"noise": noise, "encoding": FixedPoint(0.5, 12)}
        deep = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
        run = Federation(deep, clients(20), plan(InsecurePlain(), **changes))
        run._tried = (
            True  # one step alone is finite for some rates; here the run itself is looked at
        )
        results = list(run.run(2))
        assert run.stopped == "nothing-learnt"
        assert [result.contributors for result in results] == [0, 0]
        assert len(results[0].failures) == 20
