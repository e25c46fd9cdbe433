"""E7: arrays and numbers in disguise at every public door of dp: an exact answer, or a typed refusal."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import dp
from dp import (
    Accountant,
    AdaptiveClipper,
    DiscreteGaussianSumEvent,
    DiscreteLaplaceEvent,
    FailureEvent,
    FixedSizeSampling,
    GaussianEvent,
    InvalidParameterError,
    LaplaceEvent,
    Ledger,
    NoSampling,
    PoissonSampling,
    RoundedGaussianSumEvent,
    SkellamEvent,
    TruncatedPoissonSampling,
    audit,
    calibrate_noise_multiplier,
    gaussian_delta,
    gaussian_epsilon,
    l2_clip,
    l2_norm,
)
from dp.checks import Checks

SUM = {"local_stddev": 3.0, "shares": 4, "dimension": 5}
NORMS = {"l2_sensitivity": 2.0, "l1_sensitivity": 4.0}

EVENTS = {
    "poisson": (PoissonSampling, {"rate": 0.5}),
    "truncated": (TruncatedPoissonSampling, {"rate": 0.5, "dataset_size": 9, "max_size": 8}),
    "fixed": (FixedSizeSampling, {"size": 2, "dataset_size": 9}),
    "gaussian": (GaussianEvent, {"noise_multiplier": 1.5}),
    "rounded": (RoundedGaussianSumEvent, {"noise_multiplier": 1.5, **SUM}),
    "skellam": (SkellamEvent, {"noise_multiplier": 1.5, **NORMS}),
    "discrete": (DiscreteGaussianSumEvent, {"noise_multiplier": 1.5, **SUM, **NORMS}),
    "laplace": (LaplaceEvent, {"noise_multiplier": 1.5}),
    "grid": (DiscreteLaplaceEvent, {"noise_multiplier": 1.5, "l1_sensitivity": 3}),
    "failure": (FailureEvent, {"probability": 0.125}),
    "clipper": (AdaptiveClipper, {"clip_norm": 1.5, "quantile": 0.5, "learning_rate": 0.25}),
}
"""Values whose numbers are exact in float32, so that every type of scalar holds them."""

ONE = Accountant().compose(GaussianEvent(1.5))
FUNCTIONS = {
    "gaussian_epsilon": (gaussian_epsilon, {"noise_multiplier": 1.5, "delta": 0.125}),
    "gaussian_delta": (gaussian_delta, {"noise_multiplier": 1.5, "epsilon": 0.5}),
    "epsilon": (ONE.epsilon, {"delta": 0.125}),
    "delta": (ONE.delta, {"epsilon": 0.5}),
    "upper_epsilon": (ONE.upper_epsilon, {"delta": 0.125}),
    "quick_epsilon": (ONE.quick_epsilon, {"delta": 0.125}),
    "compose": (lambda count: ONE.compose(GaussianEvent(1.5), count).epsilon(0.125), {"count": 3}),
    "ledger": (
        lambda epsilon, delta: Ledger(epsilon, delta).state_dict(),
        {"epsilon": 0.5, "delta": 0.125},
    ),
    "calibrate": (
        lambda **given: calibrate_noise_multiplier(sampling=NoSampling(), **given),
        {"epsilon": 0.5, "delta": 0.125, "steps": 3, "failure_probability": 0.0},
    ),
    "bit_weight": (dp.bit_weight, {"noise_multiplier": 1.5, "bit_stddev": 10.0}),
    "update": (dp.update_noise_multiplier, {"noise_multiplier": 1.5, "bit_stddev": 10.0}),
    "clipper": (
        lambda **given: AdaptiveClipper(1.0).update(**given),
        {"noised_sum": 3.0, "cohort": 10.0},
    ),
    "clip": (
        lambda clip_norm: l2_clip(np.array([3.0, 4.0]), clip_norm).tolist(),
        {"clip_norm": 1.5},
    ),
    "guesses": (audit.plan_guesses, {"canaries": 40, "mu": 1.5, "delta": 0.125}),
    "p_value": (
        lambda **given: audit.right_guesses_p_value(curve=audit.GaussianCurve(1.0), **given),
        {"canaries": 40, "guesses": 10, "correct": 8},
    ),
    "sampler": (lambda size: len(dp.sample_rounded_gaussian(3.0, size)), {"size": 7}),
    "uniform": (lambda size: len(dp.random_uniform(size)), {"size": 7}),
    "canaries": (
        lambda **given: audit.unit_canaries(**given).shape,
        {"count": 3, "dimension": 4},
    ),
}
DISGUISED = [True, "1", None, np.array(1), np.array([1]), np.ma.masked, np.timedelta64(1), 1j, [1]]


def scalars(value):
    """The same value as every NumPy scalar that holds it."""
    if isinstance(value, int):
        return [kind(value) for kind in (np.int8, np.uint16, np.int32, np.int64, np.uint64)]
    return [kind(value) for kind in (np.float16, np.float32, np.float64, np.longdouble)]


@pytest.mark.parametrize("build", EVENTS.values(), ids=EVENTS)
def test_e7_events_take_numpy_scalars_and_keep_plain_numbers(build):
    kind, values = build
    plain = kind(**values)
    for name, value in values.items():
        for scalar in scalars(value):
            event = kind(**values | {name: scalar})
            assert event == plain
            assert hash(event) == hash(plain)
            assert type(getattr(event, name)) in (int, float)


@pytest.mark.parametrize("call", FUNCTIONS.values(), ids=FUNCTIONS)
def test_e7_functions_answer_numpy_scalars_as_plain_numbers(call):
    function, values = call
    expected = function(**values)
    for name, value in values.items():
        for scalar in scalars(value):
            if name not in ("bit_stddev", "canaries") or type(scalar) is not np.float16:
                assert function(**values | {name: scalar}) == expected


@pytest.mark.parametrize("door", [*EVENTS.values(), *FUNCTIONS.values()], ids=[*EVENTS, *FUNCTIONS])
@pytest.mark.parametrize("disguise", DISGUISED, ids=repr)
def test_e7_what_is_no_number_is_a_typed_refusal(door, disguise):
    function, values = door
    for name in values:
        with pytest.raises(InvalidParameterError):
            function(**values | {name: disguise})


def test_e7_a_ledger_charged_with_numpy_scalars_can_be_saved(tmp_path):
    ledger = Ledger(np.float32(8.0), np.float32(2.0**-17))
    event = GaussianEvent(np.float32(1.5), PoissonSampling(np.float16(0.125)))
    ledger.charge(event, np.int16(3))
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.load(tmp_path / "ledger.json").state_dict() == ledger.state_dict()


def test_e7_mutant_that_keeps_the_scalar_cannot_save_what_it_charged(monkeypatch, tmp_path):
    monkeypatch.setattr("dp.events.gaussian.check_noise_multiplier", lambda value: value)
    ledger = Ledger(8.0, 1e-5)
    ledger.charge(GaussianEvent(np.float32(1.5)))
    with pytest.raises(TypeError, match="JSON"):
        json.dumps(ledger.state_dict())


HIDDEN = np.ma.array([3.0, 4e9, 4.0, 0.0], mask=[False, True, False, False])
COINS = np.array([True, False] * 2)
ARRAYS = {
    "l2_clip": lambda given: l2_clip(given, 1.0),
    "l2_norm": l2_norm,
    "bit": lambda given: AdaptiveClipper(1.0).bit(given),
    "one_run scores": lambda given: audit.one_run(given, COINS, delta=0.1, guesses=2),
    "one_run coins": lambda given: audit.one_run(np.ones(4), given > 3, delta=0.1, guesses=2),
    "claim": lambda given: audit.claim_p_value(given, COINS, audit.GaussianCurve(1.0), guesses=2),
    "worlds without": lambda given: audit.two_worlds(given, np.ones(4), delta=0.1),
    "worlds with": lambda given: audit.two_worlds(np.ones(4), given, delta=0.1),
    "one_shot": lambda given: audit.one_shot(given, np.eye(4)[:2], delta=0.1),
    "one_shot canaries": lambda given: audit.one_shot(
        np.ones(4), np.ma.stack([given, given]), delta=0.1
    ),
    "scores": lambda given: audit.canary_scores(given, np.eye(4)[:2], stddev=1.0),
    "check_noise": lambda given: audit.check_noise(np.ma.stack([given] * 4).reshape(1, 16), 1.0),
}


@pytest.mark.parametrize("function", ARRAYS.values(), ids=ARRAYS)
def test_e7_masked_arrays_are_refused(function):
    with pytest.raises(InvalidParameterError, match="MaskedArray.*fill its gaps"):
        function(HIDDEN)


def test_e7_mutant_without_the_door_reads_what_the_mask_hides(monkeypatch):
    monkeypatch.setattr(
        Checks, "plain_array", lambda _self, _name, value, _kinds="fiu": np.asarray(value)
    )
    monkeypatch.setattr("dp.clipping.clipping.plain_array", lambda _name, value: np.asarray(value))
    assert l2_norm(HIDDEN) > 1e9


@pytest.mark.parametrize("code", ["<f4", ">f4", ">f8", "<i8", ">i4", "<u2"])
def test_e7_clipping_is_exact_for_every_layout(code):
    assert np.array_equal(
        l2_clip(np.array([3, 4], dtype=code), 1.0), l2_clip(np.array([3.0, 4.0]), 1.0)
    )


def test_e7_every_public_function_is_on_the_lists():
    """A new public function must say here what it does with disguises, or share a door named here."""
    same_door = {
        "sample_discrete_gaussian",
        "sample_skellam",
        "fair_coins",
        "refutes",
        "register_event",
    }
    doors = [getattr(module, name) for module in (dp, audit) for name in module.__all__]
    names = {door.__name__ for door in doors if inspect.isfunction(door)}
    source = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in names if name not in source} <= same_door
