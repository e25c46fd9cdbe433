"""The commands for privacy: `fedavg budget` and `fedavg audit`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fedavg.cli.console import console, correctable, fail

if TYPE_CHECKING:
    from dp import PrivacyCurve
    from fedavg.plan.budget.planner import BudgetAnswer

__all__ = ["AUDIT_EPILOG", "AUDIT_HELP", "BUDGET_EPILOG", "BUDGET_HELP", "audit", "budget"]


BUDGET_HELP = (
    "Plan a privacy budget: epsilon from noise, or noise from epsilon.\n\n"
    "Give either --epsilon or --noise. Nothing is trained, and no data is needed.\n\n"
    "The answer has two epsilons, for two kinds of observers. An observer of the released models does not "
    "know which clients took part in a round, and so learns less from each round. The server knows the "
    "participants, and sees each round's noisy sum. Its epsilon counts only the rounds of one client."
)
BUDGET_EPILOG = """Examples:

fedavg budget --epsilon 5                              noise for the built-in example

fedavg budget --noise 1.3 --rate 0.15 --rounds 40      epsilon of that noise

fedavg budget --epsilon 2 --clients 100000 --rate 0.01 --rounds 500

fedavg budget --epsilon 8 --sampling none --rounds 10  every client in every round

fedavg budget --epsilon 5 --page budget.html           the curves as a page

fedavg budget --epsilon 1 --curve curve.csv --group 3  delta at every epsilon, for three clients
"""
AUDIT_HELP = (
    "Attack a plan with canary clients, and compare the evidence with the plan's claim.\n\n"
    "The command trains once more, with canary clients among the others. A fair coin decides for each "
    "canary whether it joins, and those that join send one random direction. An attacker who sees every "
    "release guesses the coins. Many correct guesses prove a lower bound on epsilon; too many refute the "
    "claim.\n\n"
    'With a table "records" the canaries are people or records: units of one silo, drawn and clipped like '
    "all others.\n\n"
    "An audit can refute a claim, but it cannot prove one."
)
AUDIT_EPILOG = """Examples:

fedavg audit runs/20260101-120000            the plan of a run; writes audit.json into it

fedavg audit CONFIG.toml --rounds 10         a shorter audit, with the claim for ten rounds

fedavg audit CONFIG.toml --protected         with the masks or ciphertexts, not in the clear
"""


def budget(
    epsilon: Annotated[
        float | None,
        typer.Option(help="Find the smallest noise with this epsilon of the released models."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Find epsilon of this noise multiplier: standard deviation / clip norm."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Share of the clients selected in each round.", show_default="0.2"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Number of rounds whose models are released.")] = 60,
    clients: Annotated[int, typer.Option(help="Number of clients in total.")] = 1000,
    delta: Annotated[
        float | None,
        typer.Option(
            help="The delta at which epsilon is stated.",
            show_default="as in a run: 1e-5, or 1 / (100 x clients) if less",
        ),
    ] = None,
    sampling: Annotated[
        str,
        typer.Option(
            help="poisson (each client independently) | fixed (the same number each round) | none"
        ),
    ] = "poisson",
    mechanism: Annotated[
        str,
        typer.Option(help="gaussian | skellam | discrete-gaussian | central-gaussian"),
    ] = "gaussian",
    participations: Annotated[
        int | None,
        typer.Option(
            help="Largest number of rounds of one client; it decides the server's epsilon.",
            show_default="mean + 3 standard deviations",
        ),
    ] = None,
    parameters: Annotated[
        int,
        typer.Option(
            help="Number of parameters of the model; only for skellam and discrete-gaussian."
        ),
    ] = 1970,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--page", "--picture", help="Write all curves as an HTML page that needs no network."
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            help="Write delta at every epsilon, and the trade-off of a test's errors: FILE.csv or FILE.json."
        ),
    ] = None,
    group: Annotated[
        int,
        typer.Option(
            help="Size of the groups of clients that the curve protects, such as families.", min=1
        ),
    ] = 1,
) -> None:
    """Plan a privacy budget: see `BUDGET_HELP`."""
    try:
        _budget(
            epsilon,
            noise,
            _Files(picture, curve, group),
            rate=rate,
            rounds=rounds,
            clients=clients,
            delta=delta,
            sampling=sampling,
            mechanism=mechanism,
            participations=participations,
            parameters=parameters,
        )
    except correctable() as error:
        fail(error)


@dataclass(frozen=True, slots=True)
class _Files:
    picture: Path | None
    curve: Path | None
    group: int

    def check(self) -> None:
        """Refuse files that could not be written, before anything is computed."""
        from fedavg.files import check_writable  # noqa: PLC0415 - loads the package's other errors
        from fedavg.reports.scores.curve import ENDINGS  # noqa: PLC0415 - loads numpy

        if self.curve is not None:
            check_writable(self.curve, *ENDINGS)
        if self.picture is not None:
            check_writable(self.picture)


def _budget(
    epsilon: float | None,
    noise: float | None,
    files: _Files,
    *,
    rate: float | None,
    sampling: str,
    **options: object,
) -> None:
    from fedavg.errors import PlanError  # noqa: PLC0415 - beside it
    from fedavg.plan.budget import planner  # noqa: PLC0415 - loads scipy
    from fedavg.plan.budget.planner import Scenario, answer, noise_for, tradeoff  # noqa: PLC0415 - as above
    from fedavg.plan.deltas import too_large_delta  # noqa: PLC0415 - beside it

    if (epsilon is None) == (noise is None):
        raise PlanError("give either --epsilon or --noise, one of them")
    # Paths are checked before anything is computed, which may take minutes.
    files.check()
    chosen = planner.usual_rate(sampling) if rate is None else rate
    setting = Scenario(chosen, sampling=sampling, **options)  # pyright: ignore[reportArgumentType] - the options above, by name
    planner.check_group(setting, files.group)
    multiplier = noise_for(setting, epsilon) if epsilon is not None else noise
    found = answer(setting, multiplier or 0.0)
    by_noise, by_round = tradeoff(setting, found.noise_multiplier)
    console().print(_answer_table(found))
    loose = too_large_delta(setting.delta_used, setting.clients, "clients")
    if loose:
        console().print(Text.assemble(("Warning: ", "yellow"), f"{loose}."), highlight=False)
    _explain(found)
    console().print(_curve_table("By noise", "noise multiplier", by_noise))
    console().print(_curve_table("By rounds, with this noise", "rounds", by_round))
    # The curve takes long, so it is computed only for a file or a group.
    if files == _Files(None, None, 1):
        return
    whole = planner.curve(setting, found.noise_multiplier, group=files.group)
    if files.group > 1:
        console().print(_together(files.group, whole, setting.delta_used), highlight=False)
    if files.curve is not None:
        from fedavg.reports.scores.curve import write_curve  # noqa: PLC0415 - loads numpy

        facts = {
            "noise_multiplier": found.noise_multiplier,
            "rounds": setting.rounds,
            "group": files.group,
        }
        write_curve(files.curve, whole, facts)
        console().print(str(files.curve))
    if files.picture is not None:
        from fedavg.reports.budget import write_budget_page  # noqa: PLC0415 - loads plotly

        write_budget_page(files.picture, found, by_noise, by_round, whole, group=files.group)
        console().print(str(files.picture))


def _together(group: int, whole: PrivacyCurve, delta: float) -> str:
    """The epsilon of a group as a sentence; where there is none, why not."""
    together = whole.epsilon(delta).high
    if math.isfinite(together):
        return f"For {group} clients together, epsilon is {number(together)}."
    return (
        f"For {group} clients together there is no bound at a delta of {delta:g}: the bound of a group "
        "follows from that of one client and loses a factor of e^epsilon for each further one, so that it "
        f"ends at a delta of {whole.high[-1]:.1e}. Take more noise, or a smaller --group."
    )


def _answer_table(found: BudgetAnswer) -> Table:
    setting = found.setting
    table = Table(title="Privacy budget", show_header=False, title_justify="left")
    rows = [
        ("noise multiplier", f"{found.noise_multiplier:.4f} ({setting.mechanism})"),
        ("epsilon, for an observer of the released models", number(found.release.high)),
        ("epsilon, for the server", number(found.server)),
        ("delta", f"{setting.delta_used:g}{'' if setting.delta is None else ' (as given)'}"),
        ("rounds", f"{setting.rounds:,}"),
        ("clients", f"{setting.clients:,}, {setting.cohort_words}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _explain(found: BudgetAnswer) -> None:
    from fedavg.plan.budget.unbounded import why_no_bound  # noqa: PLC0415 - loads scipy

    setting = found.setting
    lines = [
        "What the models tell about one client is the same, up to a factor of e^epsilon, as if that "
        "client had stayed away."
        + ("" if setting.everybody else " It holds while cohort sizes stay secret.")
    ]
    unbounded = why_no_bound(found)
    if found.server is not None and math.isfinite(found.server):
        lines.append(
            "The server knows who takes part. Its epsilon counts a client's own rounds, at most "
            f"{found.participations:,} of {setting.rounds:,}, and the noise of other clients only."
        )
    elif found.server is None:
        lines.append("The server adds the noise itself, so nothing bounds what it learns.")
    for line in (*lines, *unbounded):
        console().print(line, highlight=False)


def _curve_table(title: str, first: str, answers: tuple[BudgetAnswer, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in (first, "epsilon, models", "epsilon, server"):
        table.add_column(name, justify="right")
    for found in answers:
        x = f"{found.setting.rounds:,}" if first == "rounds" else f"{found.noise_multiplier:.3f}"
        table.add_row(x, number(found.release.high), number(found.server))
    return table


def number(value: float | None) -> str:
    """An epsilon as text; beyond 10,000 it is no meaningful bound."""
    return "no bound" if value is None or value > 1e4 else f"{value:.3f}"


def audit(
    config_or_run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG_OR_RUN]",
            help="A run directory or a TOML configuration; by default, the built-in example.",
        ),
    ] = None,
    canaries: Annotated[
        int | None,
        typer.Option(
            help="Number of canary clients; about half of them join.",
            show_default="1000, or half the model's parameters",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Rounds to run and to claim for.", show_default="configured"),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the lower bound.")] = 0.95,
    protected: Annotated[  # noqa: FBT002 - a command-line flag
        bool,
        typer.Option(
            "--protected", help="Run the configured secure sum; the sums are the same, but slower."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file to write.", show_default="audit.json, in the run directory"),
    ] = None,
) -> None:
    """Audit a plan: see `AUDIT_HELP`."""
    from fedavg.audits.run import audit_configured  # noqa: PLC0415 - loads torch

    try:
        found, path = audit_configured(
            config_or_run,
            console(),
            canaries=canaries,
            rounds=rounds,
            confidence=confidence,
            protected=protected,
            out=out,
        )
    except correctable() as error:
        fail(error)
    table = Table(title="Audit", show_header=False, title_justify="left")
    for name, value in found.rows():
        table.add_row(name, value)
    console().print(table)
    console().print(found.verdict, highlight=False)
    console().print(str(path))
    # A refuted claim is a failure for scripts.
    if found.refutations:
        raise typer.Exit(1)
