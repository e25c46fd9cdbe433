"""The suites of `fedavg.testing` pass for every part of ours, and each test fails for a broken one."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.interface import PlainHalf
from fedavg.algorithms.random_k import RandomK
from fedavg.algorithms.scaffold import Scaffold
from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.errors import PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import register
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from fedavg.sums.plain import InsecurePlain
from fedavg.testing import NoiseContract, SecureSumContract, UpdateStageContract

RATES = {"dropout_rate": 0.33, "corrupt_rate": 0.0}


def suite(contract, value, **settings):
    """A suite for one part."""
    return type("Suite", (contract,), {"part": lambda _: value, **settings})()


def names_of(contract):
    return [name for name in vars(contract) if name.startswith("test_")]


SUMS = [
    InsecurePlain(0.33),
    SecAgg(**RATES),
    Ckks(**RATES),
    Bfv(**RATES),
    EncryptedSecAgg(**RATES),
    OneShot(**RATES),
]
NOISES = [
    CentralGaussian(1.0),
    DistributedGaussian(1.0),
    DistributedSkellam(1.0),
    DistributedDiscreteGaussian(1.0),
]
STAGES = [
    (Scaffold(), LocalTraining(lr=0.1)),
    (Scaffold(), LocalTraining(steps=2, lr=0.1)),
    (ErrorFeedback(), LocalTraining(lr=0.1)),
    (RandomK(0.3), LocalTraining(lr=0.1)),
]


def named(part):
    return part.kind


@pytest.mark.parametrize("name", names_of(SecureSumContract))
@pytest.mark.parametrize("secure_sum", SUMS, ids=named)
def test_sums_of_ours_pass(secure_sum, name):
    getattr(suite(SecureSumContract, secure_sum), name)()


@pytest.mark.parametrize("name", names_of(NoiseContract))
@pytest.mark.parametrize("noise", NOISES, ids=named)
def test_noises_of_ours_pass(noise, name):
    getattr(suite(NoiseContract, noise), name)()


@pytest.mark.parametrize("name", names_of(UpdateStageContract))
@pytest.mark.parametrize(("stage", "training"), STAGES, ids=str)
def test_stages_of_ours_pass(stage, training, name):
    getattr(suite(UpdateStageContract, stage, training=training), name)()


# --- broken sums


class _Session:
    """A plain session with one fault."""

    def __init__(self, inner, fault):
        self._inner, self._fault = inner, fault

    def __getattr__(self, name):
        return getattr(self._inner, name)

    @property
    def collecting(self):
        return self._fault != "blind" and self._inner.collecting

    def result(self):
        found = self._inner.result()
        if self._fault == "off by one":
            return type(found)(found.total + 1, found.survivors)
        if self._fault == "survivors":
            return type(found)(found.total, found.survivors[1:])
        return found


class _Side:
    def __init__(self, inner, fault):
        self._inner, self._fault = inner, fault

    def session(self, spec, roster):
        return _Session(self._inner.session(spec, roster), self._fault)


@register("secure_sum")
class BrokenSum(InsecurePlain, frozen=True, tag="broken-for-a-test"):
    fault: str = ""

    @property
    def hides_updates(self):
        return self.fault == "claims to hide"

    def server_side(self, material):
        return _Side(InsecurePlain(0.33).server_side(material), self.fault)

    def min_survivors(self, roster_size):
        return roster_size if self.fault == "more survivors than it needs" else 0


class Unregistered(InsecurePlain, frozen=True, tag="unregistered-for-a-test"):
    pass


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("off by one", "test_sums_are_exact"),
        ("survivors", "test_sums_are_exact"),
        ("off by one", "test_sums_reduce_modulo_a_power_of_two"),
        ("survivors", "test_silent_clients_leave_the_sum_of_the_others"),
        ("more survivors than it needs", "test_too_few_survivors_give_no_sum"),
        ("blind", "test_the_server_says_when_vectors_leave"),
        ("claims to hide", "test_what_it_says_of_itself"),
    ],
)
def test_a_broken_sum_fails(fault, name):
    broken = suite(SecureSumContract, BrokenSum(0.33, fault=fault))
    with pytest.raises(AssertionError):
        getattr(broken, name)()
    getattr(suite(SecureSumContract, InsecurePlain(0.33)), name)()


def test_a_sum_without_a_name_fails():
    with pytest.raises(PlanError, match="registered"):
        suite(SecureSumContract, Unregistered()).test_it_travels_in_a_plan()


# --- broken noises


@register("noise")
class BrokenNoise(DistributedGaussian, frozen=True, tag="broken-noise-for-a-test"):
    fault: str = ""

    def sample(self, stddev, size):
        drawn = DistributedGaussian.sample(self, stddev, size)
        match self.fault:
            case "weak":
                return drawn * 9 // 10
            case "shifted":
                return drawn + 1
            case "real":
                return drawn.astype(float)
            case "again":
                return np.tile(np.repeat([50, -50], 2), size // 4)[:size]
            case _:
                return drawn

    def tail(self, variance, log_probability):
        right = DistributedGaussian.tail(self, variance, log_probability)
        return right / 3 if self.fault == "tail" else right

    def at(self, noise_multiplier):
        return self if self.fault == "at" else DistributedGaussian.at(self, noise_multiplier)

    @property
    def held_back(self):
        return -1.0 if self.fault == "held back" else 0.0


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("weak", "test_draws_are_integers_of_the_stated_strength"),
        ("shifted", "test_draws_are_integers_of_the_stated_strength"),
        ("real", "test_draws_are_integers_of_the_stated_strength"),
        ("again", "test_every_draw_is_fresh"),
        ("tail", "test_tails_are_bounded"),
        ("at", "test_more_noise_costs_less"),
        ("held back", "test_the_guaranteed_variance_covers_the_claim"),
    ],
)
def test_a_broken_noise_fails(fault, name):
    with pytest.raises(AssertionError):
        getattr(suite(NoiseContract, BrokenNoise(1.0, fault=fault)), name)()


# --- broken stages


class _Half(PlainHalf):
    def __init__(self, fault):
        self._fault = fault

    @property
    def correction(self):
        return np.zeros(3) if self._fault == "correction" else None

    def sent(self, update):
        if self._fault == "in place":
            update *= 2
        return update[:-1] if self._fault == "short" and len(update) > 1 else update

    def keep(self, sent, arrived):
        return {"more": sent} if self._fault == "memory" else {}


@register("stage")
class BrokenStage(RandomK, frozen=True, tag="broken-stage-for-a-test"):
    fault: str = ""

    @property
    def kind(self):
        return "broken-stage-for-a-test"

    def sent_length(self, length, training):
        return length

    def client(self, facts, extra, kept):
        return _Half(self.fault)

    def broadcast(self, state):
        return b"all clients need this" if self.fault == "unread" else None

    def received(self, facts, mean, divisor, state):
        return (mean[:1] if self.fault == "mean" else mean), None


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("short", "test_clients_send_the_declared_length"),
        ("mean", "test_both_halves_return_to_the_update_s_space"),
        ("in place", "test_arguments_are_left_as_they_were"),
        ("memory", "test_memory_is_declared"),
        ("correction", "test_corrections_are_declared"),
        ("unread", "test_a_broken_broadcast_is_refused"),
    ],
)
def test_a_broken_stage_fails(fault, name):
    with pytest.raises(AssertionError):
        getattr(suite(UpdateStageContract, BrokenStage(0.5, fault=fault)), name)()
