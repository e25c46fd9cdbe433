"""The budget before a run: both epsilons, noise from epsilon, the curves, the page and the command."""

from __future__ import annotations

import math
import re

import pytest
from typer.testing import CliRunner

from dp import (
    Accountant,
    GaussianEvent,
    InvalidParameterError,
    PoissonSampling,
    gaussian_epsilon,
)
from fedavg import PlanError, ReportError
from fedavg.cli.app import app
from fedavg.cli.privacy import BUDGET_EPILOG
from fedavg.config.defaults import Facts, with_defaults
from fedavg.config.settings import Config
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.plan.budget.planner import MECHANISMS, Scenario, answer, curve, noise_for, tradeoff
from fedavg.plan.budget.unbounded import why_no_bound
from fedavg.plan.deltas import usual_delta
from fedavg.plan.plan import Budget, Plan
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


def test_the_released_models_have_a_bound_wherever_the_server_has_one():
    """Sizes outside their bounds cost their probability, and not e^epsilon times it."""
    for setting, noise in (
        (Scenario(rounds=10, sampling="none", rate=1.0), 1.1),
        (Scenario(), 0.9),
    ):
        found = answer(setting, noise)
        assert found.release.high <= found.server * 1.001 < 40
    far = Scenario(rate=0.01, rounds=500, clients=100_000)
    assert answer(far, 0.7, server=False).release.high < 5.2


def test_an_answer_without_a_bound_says_why_and_how_much_noise_has_one(tmp_path):
    found = answer(Scenario(), 0.6)
    assert found.server == math.inf
    (why,) = why_no_bound(found)
    write_budget_page(tmp_path / "budget.html", found, (found,), (found,))
    assert why in (tmp_path / "budget.html").read_text(encoding="utf-8")
    limit, noise = (
        float(part) for part in re.findall(r"(?:more than|multiplier of) ([\d.]+\d)", why)
    )
    assert 41 < limit < 42
    assert answer(Scenario(), noise).server < limit
    assert answer(Scenario(), noise - 0.02).server == math.inf
    released, _server = why_no_bound(answer(Scenario(), 0.3))
    assert "for the released models" in released


def test_the_delta_that_is_not_given_is_that_of_a_run(tmp_path):
    for clients, delta in ((200, 1e-5), (1000, 1e-5), (20_000, 5e-7)):
        assert Scenario(clients=clients).delta_used == usual_delta(clients) == delta
        config, _ = with_defaults(Config(), Facts(True, clients, 10, numbers=False))
        assert config.privacy.delta == delta


def test_groups_and_epsilons_out_of_reach_are_refused_at_the_door():
    with pytest.raises(PlanError, match="more than all 500 clients"):
        curve(Scenario(clients=500), 1.3, group=501)
    with pytest.raises(InvalidParameterError, match=r"at most 1,000 clients, not 1,001"):
        curve(Scenario(clients=5000), 1.3, group=1001)
    with pytest.raises(PlanError, match=r"epsilon must be at least 0.001"):
        noise_for(Scenario(), 1e-9)


@pytest.mark.parametrize("mechanism", ["skellam", "discrete-gaussian"])
def test_noise_without_a_theorem_for_the_sampling_names_what_has_one(mechanism):
    with pytest.raises(PlanError, match=r"'gaussian', 'central-gaussian', .*or sampling 'poisson'"):
        noise_for(Scenario(sampling="fixed", mechanism=mechanism), 5.0)


def test_noise_that_a_grid_cannot_hold_is_drawn_on_a_finer_one_or_refused_in_words():
    assert math.isfinite(
        answer(Scenario(rounds=1, sampling="none", rate=1.0), 0.12).noise_multiplier
    )
    with pytest.raises(PlanError, match="too strong to draw: ask for less"):
        answer(Scenario(), 1e6)


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
    assert fixed.release.low > 1.3 * poisson.release.high


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
        ({"sampling": "shuffled"}, "there are poisson, fixed, none"),
        ({"mechanism": "laplace"}, "there are gaussian"),
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


EXAMPLES = [line for line in BUDGET_EPILOG.splitlines() if line.startswith("fedavg budget")]


@pytest.mark.parametrize("line", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_of_the_help_has_an_answer(line, tmp_path, monkeypatch):
    """The commands of `fedavg budget --help`.

    Both epsilons of the answer have a bound, and so has the group's; the curves may end without one.
    """
    monkeypatch.chdir(tmp_path)
    arguments = re.split(r"\s{2,}", line)[0].split()[1:]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    answered, _, curves = result.output.partition("By noise")
    assert "no bound" not in answered
    assert "epsilon is no" not in curves
    assert "no bound" not in curves.partition("By rounds")[2]


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--curve", "no/curve.csv", "there is no folder"),
        ("--curve", "curve.txt", "must end with .csv or .json"),
        ("--picture", ".", "it is a folder"),
        ("--group", "1001", "at most 1,000 clients, not 1,001"),
    ],
)
def test_the_command_refuses_what_it_could_not_write_before_it_computes(
    option, name, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedavg.plan.budget.planner.noise_for", lambda *_: pytest.fail("computed"))
    result = CliRunner().invoke(app, ["budget", "--epsilon", "5", option, name])
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


def test_the_command_says_why_there_is_no_bound():
    result = CliRunner().invoke(app, ["budget", "--noise", "0.6", "--rounds", "60"])
    output = " ".join(result.output.split())
    assert "There is no bound for the server" in output
    assert "at most 22 of 60" not in output
