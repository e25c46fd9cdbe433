"""The rate that a small population needs under noise."""

import pytest

from fedavg.config.build import build_plan, load_config
from fedavg.config.sound import sound_rate
from fedavg.errors import CohortSizeError
from fedavg.plan.feasibility import cohort_bounds


def config_at(rate=None):
    given = {"privacy.epsilon": 5.0, "rounds": 60}
    return load_config(None, given if rate is None else given | {"cohort.rate": rate})


@pytest.mark.parametrize("clients", [20, 60, 100])
def test_the_rate_is_the_smallest_percent_that_is_sound(clients):
    chosen = sound_rate(config_at(), clients, 100)
    assert chosen.key == "cohort.rate"
    assert f"{clients} clients are few" in chosen.why
    sound = build_plan(config_at(chosen.value), 100, num_clients=clients)
    cohort_bounds(sound, clients, 60)
    less = build_plan(config_at(round(chosen.value - 0.01, 2)), 100, num_clients=clients)
    with pytest.raises(CohortSizeError):
        cohort_bounds(less, clients, 60)
    assert sound_rate(config_at(chosen.value), clients, 100) is None


def test_a_rate_that_is_enough_stays():
    assert sound_rate(config_at(), 1000, 100) is None


def test_too_few_clients_for_any_rate_are_refused_with_their_number():
    with pytest.raises(CohortSizeError, match="clients or more of which each round asks all"):
        sound_rate(config_at(), 5, 100)
