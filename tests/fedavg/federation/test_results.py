"""Results together: data frame, callbacks, early stopping and the best round."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import fedavg
from fedavg.algorithms.personal.ditto import Ditto
from fedavg.algorithms.personal.fedrep import FedRep
from fedavg.algorithms.personal.finetune import FineTune
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import ConfigError, MissingExtraError, PlanError
from fedavg.federation.federation import Federation
from fedavg.optimizers.local import LocalTraining
from fedavg.privacy.noise import CentralGaussian
from fedavg.sums.plain import InsecurePlain
from fedavg.training.stopping import EarlyStopping
from tests.e2e.small import clients, examples, plan


def federation(evaluate=None, **changes):
    held = examples(60, 1) if evaluate is None else evaluate
    model = nn.Linear(12, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return Federation(model, clients(6), plan(InsecurePlain(), **changes), evaluate=held)


def test_rows_make_a_data_frame(monkeypatch):
    pandas = pytest.importorskip("pandas")
    results = fedavg.train(federation(), 3)
    frame = results.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["round"].tolist() == [1, 2, 3]
    assert frame["accuracy"].tolist() == [result.accuracy for result in results]
    assert frame["accuracy of majority class"].nunique() == 1
    assert (frame["contributors"] == 6).all()
    assert results.stopped == "finished"
    assert len(results[1:]) == 2
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        results.to_frame()


def test_callbacks_are_told_of_each_round_in_order():
    told = []
    fedavg.train(federation(), 3, callbacks=[lambda r: told.append(r.round), told.append])
    assert [entry if isinstance(entry, int) else entry.round for entry in told] == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]

    def failing(result):
        raise KeyError("of the callback")

    with pytest.raises(KeyError) as caught:
        fedavg.train(federation(), 1, callbacks=[failing])
    (note,) = caught.value.__notes__
    assert "failing raised this after round 1" in note
    with pytest.raises(ConfigError, match="a callback is a function"):
        fedavg.train(federation(), 1, callbacks=["print"])


def test_the_best_round_is_kept_and_the_run_ends_early():
    scores = iter([0.0, 1.0, 3.0, 2.0, 2.5, 9.0, 9.0])  # the first is the trial's
    seen = []

    def score(module):
        seen.append(module.weight.detach().numpy().copy())
        return next(scores)

    run = federation(score)
    results = fedavg.train(run, 6, stopping=EarlyStopping(patience=2))
    assert (results.stopped, len(results), results.best_round) == ("early", 4, 2)
    assert np.allclose(run.model(results.released).weight.detach().numpy(), seen[2], atol=1e-6)
    assert not np.allclose(results.released, run.released)


def test_without_best_the_last_model_stays():
    scores = iter([0.0, 1.0, 3.0, 2.0, 2.5, 9.0])
    run = federation(lambda module: next(scores))
    results = fedavg.train(run, 5, stopping=EarlyStopping(patience=2, best=False))
    assert (len(results), results.best_round) == (4, None)
    assert results.released is run.released or np.array_equal(results.released, run.released)


def test_under_noise_it_is_refused_before_any_charge():
    run = federation(noise=CentralGaussian(1.0), encoding=FixedPoint(0.5, 12))
    with pytest.raises(PlanError, match="under noise neither early stopping nor the best round"):
        fedavg.train(run, 3, stopping=EarlyStopping())
    with pytest.raises(PlanError, match="under noise"):
        next(run.run(3, until=lambda: False))
    assert run.ledger.history == ()


def test_an_error_says_that_the_smaller_value_is_better():
    scores = iter([0.0, 3.0, 1.0, 2.0, 2.5, 9.0])

    def error(module):
        return next(scores)

    error.greater_is_better = False
    results = fedavg.train(federation(error), 5, stopping=EarlyStopping(patience=2))
    assert (len(results), results.best_round) == (4, 2)
    assert results.kept is results[1]


def test_without_held_out_rows_nothing_can_be_watched():
    run = Federation(nn.Linear(12, 3), clients(6), plan(InsecurePlain()))
    with pytest.raises(ConfigError, match="give evaluate="):
        fedavg.train(run, 3, stopping=EarlyStopping())
    assert run.stopped == "unstarted"


def regressing(evaluate):
    """Clients that predict a number, whose errors tell any two models apart."""
    rng = np.random.default_rng(0)
    data = {
        i: fedavg.Dataset(x, x[:, :1] * 3 + i, "numbers")
        for i, x in enumerate(rng.standard_normal((6, 10, 12)).astype(np.float32))
    }
    model = nn.Linear(12, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    training = LocalTraining(epochs=1, lr=0.01)
    whole = plan(InsecurePlain(), personalization=FineTune(training), local_training=training)
    return Federation(model, data, whole, evaluate=evaluate)


def test_own_models_after_the_last_round_are_made_from_the_model_that_is_kept():
    """Fine-tuning begins at the best round's model; scores are those of a run that ended there."""
    scores = iter([0.0, 1.0, 3.0, 2.0, 2.5])
    run = regressing(lambda module: next(scores))
    results = fedavg.train(run, 4, stopping=EarlyStopping(patience=2))
    assert (len(results), results.best_round) == (4, 2)
    short, last = regressing(lambda module: 0.0), regressing(lambda module: 0.0)
    list(short.run(2))
    list(last.run(4))
    assert np.array_equal(results.released, short.released)
    assert [score.shared for score in run.scores] == [score.shared for score in short.scores]
    assert [score.shared for score in run.scores] != [score.shared for score in last.scores]


@pytest.mark.parametrize(
    ("personal", "stopping", "said"),
    [
        (Ditto(LocalTraining()), EarlyStopping(), "would be those of the last round"),
        (FedRep(LocalTraining(), ("weight",)), EarlyStopping(best=False), "predicts nothing"),
    ],
)
def test_own_models_of_other_rounds_and_models_in_parts_are_refused(personal, stopping, said):
    run = federation(personalization=personal)
    with pytest.raises(PlanError, match=said):
        fedavg.train(run, 3, stopping=stopping)
    assert run.stopped == "unstarted"


def test_with_ditto_a_run_may_end_early_with_its_last_model():
    scores = iter([0.0, 3.0, 2.0, 1.0, 1.0])
    run = federation(lambda module: next(scores), personalization=Ditto(LocalTraining()))
    results = fedavg.train(run, 4, stopping=EarlyStopping(patience=1, best=False))
    assert (len(results), len(run.scores)) == (2, 6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patience": 0}, "patience"),
        ({"patience": 1.5}, "patience"),
        ({"min_delta": -1}, "min_delta"),
        ({"patience": None, "best": False}, "changes nothing"),
    ],
)
def test_rules_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        EarlyStopping(**options)
