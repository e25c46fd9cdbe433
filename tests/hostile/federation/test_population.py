"""One more client: releases depend on the declared population, not on the existing clients (D11)."""

from __future__ import annotations

import math

import pytest
from scipy.stats import chi2

from fedavg.errors import DataError
from fedavg.federation.broken_off import draw
from fedavg.federation.federation import Federation
from fedavg.plan.resolution import resolve
from fedavg.privacy.noise import DistributedGaussian, guaranteed_variance
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.sums.masked import SecAgg
from tests.e2e.runs.test_federation import PRIVATE
from tests.e2e.small import LENGTH, MODEL, clients, plan

DECLARED = 260


def _plan(**changes):
    parts = PRIVATE | {"noise": DistributedGaussian(1.87), "cohort": PoissonCohort(0.2)}
    return plan(SecAgg(), **(parts | changes))


def _law(resolution):
    """Standard deviation of the released mean of zeros, and everything else that noise follows from."""
    added = guaranteed_variance(resolution.plan.noise, resolution.sensitivity)
    stddev = math.sqrt(added / resolution.honest_fraction) / resolution.expected_roster
    return stddev, resolution.bounds, resolution.ring_bits, resolution.release_event()


def _federation(count, population=DECLARED):
    return Federation(MODEL, clients(count), _plan(), population=population)


@pytest.mark.parametrize("count", range(DECLARED - 40, DECLARED + 1, 4))
def test_d11_noise_divisor_and_sizes_are_those_of_the_declared_population(count):
    assert _law(_federation(count).resolve(3)) == _law(_federation(DECLARED).resolve(3))


def test_d11_mutant_that_counts_who_exists_is_far_beyond_its_epsilon():
    """One client more, and the noise jumps by percents: true delta 1 at the certified epsilon."""
    sizes = {"vector_length": LENGTH, "num_rounds": 60, "largest_client": 8}

    def counted(n):
        return resolve(_plan(), num_clients=n, **sizes)

    steps = {n: _law(counted(n - 1))[0] / _law(counted(n))[0] for n in range(216, 264)}
    worst = max(steps, key=lambda n: abs(math.log(steps[n])))
    ratio, epsilon = steps[worst] ** 2, counted(worst).epsilon_at_end()
    assert abs(ratio - 1) > 0.05
    # hockey stick of N(0, r) against N(0, 1) in all coordinates of all rounds of a model of 1,970 parameters
    dimension = 1970 * 60
    middle = (epsilon + dimension / 2 * math.log(ratio)) / (0.5 * (1 - 1 / ratio))
    tail = chi2.sf if ratio > 1 else chi2.cdf
    first, second = tail(middle / ratio, dimension), tail(middle, dimension)
    assert first - math.exp(epsilon) * second > 0.5


def test_clients_that_are_enrolled_and_not_here_are_drawn_and_never_answer():
    run = Federation(MODEL, clients(30), plan(SecAgg(), cohort=FixedCohort(40)), population=45)
    resolution = run.resolve(1)
    sizes = {len(draw(resolution, range(30), 45, frozenset())) for _ in range(40)}
    assert min(sizes) >= 25  # 40 of 45 seats, 15 of them empty
    assert max(sizes) <= 30
    assert len(sizes) > 1


def test_a_round_runs_over_those_who_are_here():
    sums = SecAgg(dropout_rate=0.2)
    run = Federation(MODEL, clients(30), plan(sums, cohort=PoissonCohort(1.0)), population=32)
    assert [(r.skipped, r.survivors) for r in run.run(2)] == [(None, 30)] * 2


def test_more_clients_than_were_declared_are_refused():
    with pytest.raises(DataError, match="30 clients are here, but a population of 29"):
        _federation(30, 29)
