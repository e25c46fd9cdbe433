"""Plans for too few clients are refused with the rate, and the number of clients, that are enough."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import msgspec
import pytest

from fedavg.config.build import build_job, build_plan, load_config
from fedavg.errors import CohortSizeError, PlanError
from fedavg.plan.feasibility import cohort_bounds, skipped_share
from fedavg.plan.remedies import enough_clients, enough_rate, in_words
from fedavg.plan.resolution import resolve

CHECK = functools.partial(cohort_bounds, num_rounds=60)


def plan_of(**changes):
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    return build_plan(load_config(None, keys), 100)


@pytest.mark.parametrize("clients", [30, 100])
def test_what_is_said_to_be_enough_is_enough_and_a_little_less_is_not(clients):
    plan = plan_of()
    larger, rate = enough_rate(plan, clients, CHECK)
    assert CHECK(larger, clients).outside * 60 <= plan.budget.delta / 100
    cohort = msgspec.structs.replace(plan.cohort, rate=rate - 0.01)
    with pytest.raises(CohortSizeError):
        CHECK(replace(plan, cohort=cohort), clients)
    many = enough_clients(plan, clients, CHECK)
    CHECK(plan, many)
    with pytest.raises(CohortSizeError):
        CHECK(plan, round(0.85 * many))


def test_where_no_rate_is_enough_only_clients_are_named():
    """With both numbers: at the rate of the plan, and where every round asks all."""
    said = in_words(plan_of(), 5, CHECK)
    assert "a rate of 0." not in said
    assert "clients or more at the rate of 0.2" in said
    fewest = int(re.search(r"([\d,]+) clients or more of which each round asks all", said)[1])
    everybody = plan_of(cohort__rate=1.0)
    CHECK(everybody, fewest)
    with pytest.raises(CohortSizeError):
        CHECK(everybody, fewest - 1)


def test_cohorts_of_a_fixed_size_have_no_rate():
    assert enough_rate(plan_of(cohort__kind="fixed", cohort__size=2), 10, CHECK) is None


def test_the_answer_has_numbers_and_the_cost_of_a_larger_rate():
    changes = {"data.name": "digits", "data.clients": 100, "privacy.epsilon": 5.0}
    with pytest.raises(CohortSizeError) as refused:
        build_job(load_config(None, changes | {"rounds": 20}))
    said = str(refused.value)
    assert "asks about 20 of 100 clients" in said
    assert "it takes a rate of 0.2" in said
    assert "epsilon 5 over 20 rounds costs a noise multiplier of" in said
    assert "roster" not in said


def test_cohorts_that_are_too_large_are_refused_with_the_rate_that_is_not():
    sizes = {"num_clients": 10_000, "vector_length": 10, "num_rounds": 60, "largest_client": 5}

    def resolved(rate):
        plan = build_plan(load_config(None, {"cohort.rate": rate}), 10, num_clients=10_000)
        return resolve(plan, **sizes)

    with pytest.raises(PlanError) as refused:
        resolved(0.2)
    said = str(refused.value)
    assert "a round asks about 2,000 of 10,000 clients, and sometimes" in said
    rate = float(re.search(r"take a rate of (0\.\d+) or less", said)[1])
    assert 0.15 < rate < 0.2
    assert resolved(rate).bounds.cap <= 2000
    with pytest.raises(PlanError, match="too many"):
        resolved(round(rate * 1.06, 3))


@pytest.mark.parametrize(("clients", "share"), [(3, 0.0), (4, 0.0)])
def test_without_noise_neighbours_do_not_count(clients, share):
    plan = plan_of(privacy__noise="none", cohort__rate=1.0, secure_sum__dropout_rate=0.0)
    assert skipped_share(plan, clients, CHECK(plan, clients)) == share


def test_a_cohort_of_one_client_is_told_its_size_and_no_budget_without_noise():
    """Several clients are what a sum hides in; where there is no noise, a budget costs nothing."""
    plan = plan_of(cohort__kind="fixed", cohort__size=1, privacy__noise="none")
    with pytest.raises(CohortSizeError) as refused:
        cohort_bounds(plan, 1, 60)
    said = str(refused.value)
    size = int(
        re.search(r"it takes a cohort of (\d+) clients or more, with \1 or more enrolled", said)[1]
    )
    assert "budget" not in said
    enough = plan_of(cohort__kind="fixed", cohort__size=size, privacy__noise="none")
    assert cohort_bounds(enough, size, 60).floor <= size
    fewer = plan_of(cohort__kind="fixed", cohort__size=size - 1, privacy__noise="none")
    with pytest.raises(CohortSizeError):
        cohort_bounds(fewer, size, 60)
