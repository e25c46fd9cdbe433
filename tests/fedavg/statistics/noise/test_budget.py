"""The noise of a budget and its epsilons, against the closed form of one Gaussian."""

import math

import pytest

from dp import Accountant, GaussianEvent, gaussian_epsilon
from fedavg.errors import PlanError
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
    Sensitivity,
)
from fedavg.statistics import PrivacyBudget
from fedavg.statistics.noise.budget import priced

SENSITIVITY = Sensitivity(l2=5e5, l1=4e6, dimension=300)
NOISES = [DistributedGaussian(1.0), DistributedSkellam(1.0), DistributedDiscreteGaussian(1.0)]


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.kind)
@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0])
def test_the_budget_is_kept_and_nearly_used_up(noise, epsilon):
    cost = priced(PrivacyBudget(epsilon, 1e-6, noise=noise), SENSITIVITY, 6, 1)
    assert 0.85 * epsilon <= cost.epsilon <= epsilon
    assert Accountant().compose(cost.event).epsilon(1e-6).high == cost.epsilon


def test_the_three_epsilons_are_those_of_the_noise_that_each_observer_faces():
    cost = priced(PrivacyBudget(1.0, 1e-6), SENSITIVITY, 10, 4)
    z = cost.noise.noise_multiplier
    assert cost.honest_fraction == 0.6
    assert cost.epsilon == pytest.approx(gaussian_epsilon(z, 1e-6), rel=1e-6)
    assert cost.epsilon_release == pytest.approx(
        gaussian_epsilon(z / math.sqrt(0.6), 1e-6), rel=1e-6
    )
    assert cost.epsilon_two_silos == pytest.approx(gaussian_epsilon(z / 2, 1e-6), rel=1e-6)


def test_a_smaller_claim_than_the_shares_give_would_be_noticed():
    """The event is not that of one exact Gaussian: it includes the slack of a sum of shares."""
    cost = priced(PrivacyBudget(1.0, 1e-6), SENSITIVITY, 10, 1)
    alone = Accountant().compose(GaussianEvent(cost.noise.noise_multiplier))
    assert cost.epsilon >= alone.epsilon(1e-6).high


@pytest.mark.parametrize("colluders", [6, 7])
def test_noise_needs_a_silo_that_keeps_its_share_to_itself(colluders):
    with pytest.raises(PlanError, match="none is left"):
        priced(PrivacyBudget(1.0, 1e-6), SENSITIVITY, 6, colluders)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0.0, "delta": 1e-6},
        {"epsilon": 1.0, "delta": 0.0},
        {"epsilon": True, "delta": 1e-6},
        {"epsilon": 1.0, "delta": 1e-6, "colluders": -1},
        {"epsilon": 1.0, "delta": 1e-6, "noise": CentralGaussian(1.0)},
    ],
)
def test_a_budget_out_of_range_is_refused(wrong):
    with pytest.raises(PlanError):
        PrivacyBudget(**wrong)
