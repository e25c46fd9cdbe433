"""The budget before a run: both epsilons, noise from epsilon, the curves, the page and the command."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from dp import Accountant, GaussianEvent, PoissonSampling, gaussian_epsilon
from fedavg import PlanError, ReportError
from fedavg.cli.app import app
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.plan.plan import Budget, Plan
from fedavg.plan.planner import MECHANISMS, Scenario, answer, noise_for, tradeoff
from fedavg.plan.resolution import resolve
from fedavg.privacy.noise import DistributedGaussian
from fedavg.privacy.sampling import PoissonCohort
from fedavg.reports.budget import write_budget_page
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.support.pages import Page

ONCE = {"sampling": "none", "rate": 1.0, "rounds": 1}


def test_a_central_release_costs_what_the_accountant_says():
    setting = Scenario(rate=0.15, rounds=40, mechanism="central-gaussian")
    run = Accountant().compose(GaussianEvent(1.3, PoissonSampling(0.15)), 40)
    assert answer(setting, 1.3).release.high == pytest.approx(run.epsilon(1e-5).high, rel=1e-4)
    assert answer(setting, 1.3).server is None


def test_distributed_gaussian_noise_costs_what_one_gaussian_costs():
    found = answer(Scenario(**ONCE), 1.0)
    assert found.release.high == pytest.approx(gaussian_epsilon(1.0, 1e-5), rel=1e-4)


@pytest.mark.parametrize(
    ("clients", "rate", "rounds", "noise"),
    [(1000, 0.2, 60, 1.87), (300, 0.3, 60, 1.87), (2000, 0.1, 100, 1.2)],
)
@pytest.mark.parametrize("sums", [SecAgg(), SecAgg(0.05, 0.0), InsecurePlain()])
def test_the_answer_is_that_of_the_plan_that_would_run(clients, rate, rounds, noise, sums):
    found = answer(Scenario(rate, rounds, 1e-5, clients, secure_sum=sums), noise)
    plan = Plan(
        cohort=PoissonCohort(rate),
        encoding=FixedPoint(0.5, 13),
        noise=DistributedGaussian(noise),
        secure_sum=sums,
        local_training=LocalTraining(),
        server_optimizer=FedAvg(),
        budget=Budget(delta=1e-5),
    )
    sizes = {"num_clients": clients, "vector_length": 1970, "num_rounds": rounds}
    resolved = resolve(plan, **sizes, largest_client=10)
    assert found.release.high == pytest.approx(resolved.epsilon_at_end(), rel=2e-4)
    assert found.participations == resolved.max_participations
    server = resolved.server_epsilon(resolved.max_participations)
    assert (found.server is None) == (server is None)
    if server is not None:
        assert found.server == pytest.approx(server, rel=1e-3)  # another grid


def test_what_no_run_could_do_has_no_budget():
    with pytest.raises(PlanError, match="too few"):
        answer(Scenario(rate=0.01, clients=200), 1.0)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_noise_from_epsilon_is_the_least_that_fits(mechanism):
    setting = Scenario(**{**ONCE, "rounds": 5, "mechanism": mechanism})
    noise = noise_for(setting, 3.0)
    assert answer(setting, noise, server=False).release.high <= 3.0
    assert answer(setting, noise / 1.003, server=False).release.high > 3.0


def test_fixed_cohorts_are_not_counted_as_poisson_ones():
    fixed = answer(Scenario(sampling="fixed", mechanism="central-gaussian"), 3.0, server=False)
    poisson = answer(Scenario(mechanism="central-gaussian"), 3.0, server=False)
    assert fixed.release.high > 1.5 * poisson.release.high


def test_curves_fall_with_noise_and_rise_with_rounds():
    setting = Scenario(**{**ONCE, "rounds": 7})
    by_noise, by_round = tradeoff(setting, 2.0, points=5)
    assert [round(a.noise_multiplier, 3) for a in by_noise] == [0.667, 1.155, 2.0, 3.464, 6.0]
    epsilons = [a.release.high for a in by_noise]
    assert epsilons == sorted(epsilons, reverse=True)
    assert [a.setting.rounds for a in by_round] == list(range(1, 8))
    assert by_round[-1].release == by_noise[2].release


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"rate": 1.5}, "rate must lie in"),
        ({"delta": 1.0}, "delta must lie in"),
        ({"sampling": "shuffled"}, "none of poisson, fixed, none"),
        ({"mechanism": "laplace"}, "none of gaussian"),
        ({"sampling": "none"}, "leave the rate 0.2 out"),
        ({"participations": 61}, "61 of 60 rounds"),
        ({"rate": 1e-4}, "leaves no cohort"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change, message):
    with pytest.raises(PlanError, match=message):
        Scenario(**change)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_an_epsilon_out_of_range_is_refused(epsilon):
    with pytest.raises(PlanError, match="epsilon must be"):
        noise_for(Scenario(), epsilon)


def test_the_page_holds_the_curves_and_loads_nothing(tmp_path):
    setting = Scenario(**{**ONCE, "rounds": 3})
    found = answer(setting, 2.0)
    path = tmp_path / "budget.html"
    write_budget_page(path, found, *tradeoff(setting, 2.0, points=3))
    page = Page(path.read_text(encoding="utf-8"))
    figures = list(page.figures().values())
    assert [len(figure["data"]) for figure in figures] == [2, 2]
    assert figures[0]["data"][0]["y"][1] == pytest.approx(found.release.high, rel=1e-3)
    page.assert_offline()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ReportError, match="cannot write"):
        write_budget_page(tmp_path / "no" / "budget.html", found, (found,), (found,))


def test_the_command_answers_both_ways(tmp_path):
    picture = tmp_path / "budget.html"
    arguments = ["--sampling", "none", "--rounds", "3", "--picture", str(picture)]
    result = CliRunner().invoke(app, ["budget", "--noise", "2", *arguments])
    assert result.exit_code == 0, result.output
    epsilon = re.search(r"an observer of the released\s*│\s*([\d.]+)", result.output)[1]
    assert picture.exists()
    result = CliRunner().invoke(app, ["budget", "--epsilon", epsilon, *arguments[:4]])
    assert re.search(r"noise multiplier\s*│ (2\.0|1\.99)", result.output)


@pytest.mark.parametrize("arguments", [[], ["--epsilon", "1", "--noise", "1"], ["--noise", "0"]])
def test_the_command_refuses_in_one_line(arguments):
    result = CliRunner().invoke(app, ["budget", *arguments])
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


def test_numbers_beyond_use_are_refused_before_they_overflow():
    with pytest.raises(PlanError, match="clients must be at most 1,000,000,000,000"):
        Scenario(clients=10**21)
    with pytest.raises(PlanError, match="noise_multiplier must be at most 1e"):
        answer(Scenario(), 1e300)
