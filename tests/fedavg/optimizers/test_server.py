"""Server optimisers against Algorithm 2 written out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.errors import ConfigError, LocalProtocolError, NonFiniteError
from fedavg.optimizers import server as server_optim
from fedavg.optimizers.server import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedMomentum,
    FedYogi,
    Progress,
)

NOW = Progress(0, 1)

RULES = [FedAvg(), FedMomentum(), FedAdam(), FedYogi(), FedAdagrad()]


def _run(rule, deltas):
    vector, state = np.zeros(len(deltas[0])), rule.init(len(deltas[0]))
    for delta in deltas:
        vector, state = rule.step(vector, np.asarray(delta, float), state, NOW)
    return vector


def _sign(value):
    return (value > 0) - (value < 0)


def _by_hand(kind, deltas, lr, beta1, beta2, tau):
    """Reddi et al. 2021, Algorithm 2, one coordinate at a time in plain Python."""
    result = []
    for coordinate in zip(*deltas, strict=True):
        x, m, v = 0.0, 0.0, tau * tau
        for d in coordinate:
            m = beta1 * m + (1 - beta1) * d
            if kind == "adagrad":
                v = v + d * d
            elif kind == "yogi":
                v = v - (1 - beta2) * d * d * _sign(v - d * d)
            else:
                v = beta2 * v + (1 - beta2) * d * d
            x = x + lr * m / (math.sqrt(v) + tau)
        result.append(x)
    return result


DELTAS = st.lists(
    st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=3, max_size=3),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(deltas=DELTAS)
@pytest.mark.parametrize("kind", ["adam", "yogi", "adagrad"])
def test_adaptive_rules_are_algorithm_2(kind, deltas):
    lr, beta1, beta2, tau = 0.3, 0.8, 0.95, 0.01
    rule = {
        "adam": FedAdam(lr, beta1, beta2, tau),
        "yogi": FedYogi(lr, beta1, beta2, tau),
        "adagrad": FedAdagrad(lr, beta1, tau),
    }[kind]
    expected = _by_hand(kind, deltas, lr, beta1, beta2, tau)
    np.testing.assert_allclose(_run(rule, deltas), expected, rtol=1e-9, atol=1e-12)


def test_known_steps():
    """By hand: m = .1, v = .99e-6 + .01, Δ = 1 in Adam; w = 1 + 1.9 with momentum .9."""
    assert _run(FedAvg(0.5), [[2.0], [4.0]]).tolist() == [3.0]
    assert _run(FedMomentum(1.0, 0.9), [[1.0], [1.0]])[0] == pytest.approx(1 + 1.9)
    adam = 0.1 * 0.1 / (math.sqrt(0.99e-6 + 0.01) + 1e-3)
    assert _run(FedAdam(), [[1.0]])[0] == pytest.approx(adam, rel=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_arguments_are_left_as_they_were_and_state_is_plain(rule):
    vector, delta, state = np.ones(3), np.array([1.0, -2.0, 0.0]), rule.init(3)
    before = {name: np.copy(value) for name, value in state.items()}
    moved, after = rule.step(vector, delta, state, NOW)
    assert vector.tolist() == [1, 1, 1]
    assert delta.tolist() == [1, -2, 0]
    assert all((np.asarray(state[name]) == before[name]).all() for name in before)
    assert moved is not vector
    for value in after.values():
        assert isinstance(value, np.ndarray | float | int)
    again, _ = rule.step(vector, delta, dict(state), NOW)
    assert (again == moved).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_bad_update_is_refused(rule, monkeypatch):
    """Mutant: without the check NaN enters the model."""
    bad = np.array([0.0, np.nan])
    with pytest.raises(NonFiniteError, match="stays as it was"):
        rule.step(np.zeros(2), bad, rule.init(2), NOW)
    with pytest.raises(LocalProtocolError, match="does not fit"):
        rule.step(np.zeros(2), np.zeros(3), rule.init(2), NOW)
    monkeypatch.setattr(server_optim, "_check_step", lambda *_: None)
    moved, _ = rule.step(np.zeros(2), bad, rule.init(2), NOW)
    assert np.isnan(moved[1])


@pytest.mark.parametrize("rule", RULES[1:], ids=lambda rule: type(rule).__name__)
def test_a_foreign_state_is_refused(rule):
    for state in ({}, rule.init(3), dict.fromkeys(rule.init(2), 1.0)):
        with pytest.raises(LocalProtocolError, match="another optimiser or model"):
            rule.step(np.zeros(2), np.zeros(2), state, NOW)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: FedAvg(0.0), "lr"),
        (lambda: FedAvg(float("nan")), "lr"),
        (lambda: FedMomentum(-1.0), "lr"),
        (lambda: FedMomentum(1.0, 1.0), "momentum"),
        (lambda: FedAdam(tau=0.0), "tau"),
        (lambda: FedAdam(beta2=1.0), "beta2"),
        (lambda: FedYogi(beta1=-0.1), "beta1"),
        (lambda: FedAdagrad(lr=float("inf")), "lr"),
    ],
)
def test_values_outside_their_range_are_named(make, word):
    with pytest.raises(ConfigError, match=word):
        make()
