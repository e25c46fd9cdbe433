"""Settings that are left open follow the data, and each choice has its reason."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.config.build import build_job, build_plan, load_config
from fedavg.config.defaults import Facts, with_defaults
from fedavg.config.settings import Config
from fedavg.federation.federation import Federation

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
    assert chosen["cohort.rate"] == rate


def test_cohorts_of_a_fixed_size_have_no_rate_to_choose():
    facts = Facts(True, 300, 5, numbers=False)
    config, chosen = chosen_for(facts, privacy__noise="none", cohort__kind="fixed", cohort__size=20)
    assert config.cohort.rate is None
    assert "cohort.rate" not in chosen
    again = load_config(None, {"cohort.kind": "fixed"})
    assert build_plan(again, 5).cohort.size == 100


def test_a_linear_model_takes_steps_that_cannot_overshoot():
    facts = Facts(True, 100, 50, numbers=True)
    assert chosen_for(facts, privacy__noise="none")[1]["local.lr"] == 0.02
    assert chosen_for(facts, local__epochs=4)[1]["local.lr"] == 0.02
    assert chosen_for(facts)[1]["local.lr"] == 0.08  # of a single step
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


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("noise", ["gaussian", "none"])
def test_every_choice_for_data_of_ones_own_is_announced_with_its_reason(noise, numbers):
    """Those of the built-in example were taken without a word, such as a server's learning rate of 3."""
    config, chosen = with_defaults(
        load_config(None, {"privacy.noise": noise}), Facts(True, 300, 12, numbers=numbers)
    )
    plain = load_config(None)
    keys = {choice.key for choice in chosen}
    for key in ("cohort.rate", "local.epochs", "local.lr", "server.optimizer", "server.lr"):
        table, _, name = key.partition(".")
        assert getattr(getattr(plain, table), name) is None
        assert getattr(getattr(config, table), name) is not None
        assert key in keys
    assert all("built-in example" not in choice.why for choice in chosen)
    assert len({choice.why for choice in chosen}) >= len(chosen) - 1


def test_numbers_with_unusual_rows_do_not_diverge_under_noise(tmp_path):
    """Columns at unit scale of which some are rare, as a standardised table of categories has them.

    With four steps and a server's rate of 1 the error grew to several times that of the mean.  The noise is
    too weak here to matter, so that the outcome does not depend on its draws.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 20))
    x[:, 8:] = ((rng.random((1500, 12)) < 0.01) - 0.01) / 0.1
    y = x @ rng.standard_normal(20) * 0.2 + 0.5 * rng.standard_normal(1500)
    path = tmp_path / "t.npz"
    np.savez(path, x=x, y=y)
    given = {"data.name": str(path), "data.task": "numbers", "data.clients": 200, "rounds": 20}
    given |= {"data.bounds": {"y": [-8.0, 8.0]}, "secure_sum.kind": "insecure-plain"}
    weak = {"privacy.noise": "central-gaussian", "privacy.noise_multiplier": 0.05}
    job = build_job(load_config(None, given | weak))
    run = Federation(job.model, job.clients, job.plan, evaluate=job.task.test, scoring=job.scoring)
    *_, last = run.run(20)
    assert last.headline.name == "rmse"
    assert last.headline.value < last.headline.baseline.value


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
