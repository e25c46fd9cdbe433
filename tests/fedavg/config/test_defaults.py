"""Settings that are left open follow the data, and each choice has its reason."""

from __future__ import annotations

import pytest

from fedavg.config.build import build_job, build_plan, load_config
from fedavg.config.defaults import Facts, with_defaults
from fedavg.config.settings import Config

NO_NOISE = {"privacy.noise": "none"}


def chosen_for(facts, **options):
    given = {key.replace("__", "."): value for key, value in options.items()}
    config, chosen = with_defaults(load_config(None, given), facts)
    return config, {choice.key: choice.value for choice in chosen}


def test_for_a_built_in_set_the_examples_settings_are_kept_without_a_word():
    config, chosen = chosen_for(Facts(False, 1000, 196, numbers=False))
    assert chosen == {}
    assert (config.cohort.rate, config.local.lr, config.server.lr) == (0.2, 1.0, 3.0)
    assert (config.server.optimizer, config.server.schedule) == ("momentum", "constant")
    assert (config.secure_sum.dropout_rate, config.simulation.dropout) == (0.1, 0.03)
    again, more = with_defaults(config, Facts(True, 3, 5, numbers=True))
    assert (again, more) == (config, ())


@pytest.mark.parametrize(
    ("clients", "rate"), [(3, 1.0), (50, 1.0), (100, 0.5), (1000, 0.2), (10_000, 0.02)]
)
def test_without_noise_the_rate_follows_the_number_of_clients(clients, rate):
    config, _ = chosen_for(Facts(True, clients, 5, numbers=False), privacy__noise="none")
    assert config.cohort.rate == rate
    assert config.secure_sum.dropout_rate == (0.0 if clients < 10 else 0.1)


@pytest.mark.parametrize(("clients", "rate"), [(100, 0.2), (2500, 0.2), (10_000, 0.05)])
def test_under_noise_a_round_asks_no_more_clients_than_can_be_simulated(clients, rate):
    config, chosen = chosen_for(Facts(True, clients, 5, numbers=False))
    assert config.cohort.rate == rate
    assert ("cohort.rate" in chosen) == (rate != 0.2)


def test_cohorts_of_a_fixed_size_have_no_rate_to_choose():
    facts = Facts(True, 300, 5, numbers=False)
    config, chosen = chosen_for(facts, privacy__noise="none", cohort__kind="fixed", cohort__size=20)
    assert config.cohort.rate is None
    assert "cohort.rate" not in chosen
    again = load_config(None, {"cohort.kind": "fixed"})
    assert build_plan(again, 5).cohort.size == 100


def test_a_linear_model_takes_steps_that_cannot_overshoot():
    facts = Facts(True, 100, 50, numbers=True)
    assert chosen_for(facts)[1]["local.lr"] == 0.02
    assert chosen_for(facts, local__optimizer="adam")[1]["local.lr"] == 0.01
    assert chosen_for(facts, model__name="mlp")[1]["local.lr"] == 0.1
    private, _ = chosen_for(Facts(True, 1000, 50, numbers=False))
    assert private.local.lr == 1.0  # under a clip, as in the example


def test_what_is_given_is_kept_and_decides_what_follows():
    options = {"privacy__noise": "none", "server__optimizer": "fedavg", "local__lr": 0.7}
    config, chosen = chosen_for(Facts(True, 100, 5, numbers=False), **options)
    assert config.local.lr == 0.7
    assert (config.server.lr, config.server.schedule) == (1.0, "constant")
    assert "server.optimizer" not in chosen


def test_a_job_says_what_was_chosen(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{n % 17},{'ab'[n % 2]}\n" for n in range(400)))
    job = build_job(load_config(None, NO_NOISE | {"data.name": str(path), "data.target": "y"}))
    said = {choice.key: str(choice) for choice in job.chosen}
    assert said["data.clients"].startswith(f"data.clients = {len(job.clients)}, chosen because")
    assert "dirichlet" in said["data.partition"]
    assert job.config.data.partition == "iid"
    again = build_job(job.config)
    assert (again.chosen, again.plan) == ((), job.plan)
    assert isinstance(job.config, Config)
