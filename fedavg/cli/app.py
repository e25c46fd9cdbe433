"""The command line: the commands run, resume and report, and the commands of other modules."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedavg.cli.console import console, correctable, errors, fail, one_or_several, say
from fedavg.cli.data import data_app
from fedavg.cli.init import INIT_EPILOG, INIT_HELP, init
from fedavg.cli.ledger import ledger_app
from fedavg.cli.privacy import AUDIT_EPILOG, AUDIT_HELP, BUDGET_EPILOG, BUDGET_HELP, audit, budget
from fedavg.cli.records import RECORDS_EPILOG, RECORDS_HELP, records
from fedavg.cli.stats import STATS_EPILOG, STATS_HELP, stats
from fedavg.cli.studies import SWEEP_EPILOG, SWEEP_HELP, sweep

if TYPE_CHECKING:
    from fedavg.runs.run import Outcome

__all__ = ["app", "main"]


app = typer.Typer(
    name="fedavg",
    help="Federated averaging in which the server sees only aggregated or encrypted updates.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a traceback with local variables would print secrets
)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - a command-line flag
    if wanted:
        import importlib.metadata  # noqa: PLC0415 - other commands start without it

        typer.echo(f"fedavg {importlib.metadata.version('secure-fedavg')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Federated averaging in which the server sees only aggregated or encrypted updates."""


_RUN_EPILOG = """Examples:

fedavg run                                             the built-in example, about two minutes

fedavg run --epsilon 2 --rounds 30                     more privacy, with noise calibrated to it

fedavg run --secure-sum bfv --noise skellam            encrypted sums and another noise

fedavg run --noise none --data digits                  exact averaging; the clients' weights stay private

fedavg run --noise none --data loans.csv --target default     a table of your own (see 'fedavg init')

fedavg run CONFIG.toml --out runs/mine                 all settings from a file
"""


@app.command(epilog=_RUN_EPILOG)
def run(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML configuration; without it, the built-in example runs."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Number of rounds to train.")] = None,
    secure_sum: Annotated[
        str | None,
        typer.Option(
            help="secagg | one-shot | ckks | bfv | encrypted-secagg | selective | insecure-plain"
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="gaussian | skellam | discrete-gaussian | central-gaussian | none"),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Privacy budget of the released models; the noise is calibrated to it."),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="The delta at which epsilon is stated.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Also charge this budget, which several runs share (see 'fedavg ledger create')."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Built-in name (see 'fedavg data list'), a .csv, .parquet or .npz, or a folder of images."
        ),
    ] = None,
    clients: Annotated[
        int | None, typer.Option(help="Number of clients to spread the data over.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Column of a table to predict; may be repeated.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(help="Column of a table that names the client of each row.")
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="Column of a table to leave out; may be repeated."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Kind of the labels: classes | numbers | multi-label")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="Schema of the columns: a file that 'fedavg data schema' wrote."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Share of the clients selected in each round.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Built-in name, or module:function.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="cross-entropy | focal | bce | mse | mae | huber | poisson, or module:function; "
            "by default, one that fits the labels."
        ),
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Your own function for the loss of a batch, module:function.")
    ] = None,
    loop: Annotated[
        str | None,
        typer.Option(help="Your own function for the training of a client, module:function."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Further metric to compute after every round, such as roc_auc, f1_macro, rmse or "
            "module:function; may be repeated."
        ),
    ] = None,
    headline: Annotated[
        str | None, typer.Option(help="Headline metric; by default, one that fits the task.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device for training and scoring: cpu | cuda | mps | auto.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Precision: float32, or bfloat16 or float16 for mixed precision."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many rounds without a better headline; only without noise.", min=1
        ),
    ] = None,
    best: Annotated[
        bool | None,
        typer.Option("--best/--last", help="Keep the best round's model; only without noise."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory to create.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Public seed of the split, the partition and the initial weights."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of worker processes; -1 for one per core, 0 for none."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Where the clients run: local, or ray for a cluster."),
    ] = None,
    baseline: Annotated[
        bool | None,
        typer.Option("--baseline/--no-baseline", help="Also train without any protection."),
    ] = None,
) -> None:
    """Train a model on clients without showing their updates to the server.

    CONFIG is a TOML file; without one, the built-in example runs. Options override the file.
    """
    overrides: dict[str, object] = {
        "rounds": rounds,
        "secure_sum.kind": secure_sum,
        "privacy.noise": noise,
        "privacy.epsilon": epsilon,
        "privacy.delta": delta,
        "privacy.ledger": None if ledger is None else str(ledger),
        "data.name": data,
        "data.clients": clients,
        "data.target": one_or_several(target) or None,
        "data.client": client,
        "data.leave_out": tuple(leave_out) if leave_out else None,
        "data.task": task,
        "data.schema": None if schema is None else str(schema),
        "cohort.rate": rate,
        "model.name": model,
        "training.loss": loss,
        "training.step": step,
        "training.loop": loop,
        "training.device": device,
        "training.precision": precision,
        "evaluation.metrics": metric or None,
        "evaluation.headline": headline,
        "evaluation.patience": patience,
        "evaluation.best": best,
        "seed": seed,
        "simulation.workers": workers,
        "simulation.engine": engine,
        "baseline": baseline,
    }
    # Options that were not given must not replace settings of the file.
    chosen = {key: value for key, value in overrides.items() if value is not None}
    from fedavg.runs.run import execute  # noqa: PLC0415 - loads torch

    try:
        outcome = execute(config, chosen, out or _default_out(), console())
    except correctable() as error:
        fail(error)
    _close(outcome)


@app.command(epilog="Example:\n\nfedavg resume runs/20260101-120000")
def resume(
    run_directory: Annotated[Path, typer.Argument(help="A run directory.")],
) -> None:
    """Continue a run that was interrupted or killed.

    At most the unfinished round is lost. All charges to the privacy budget are kept.
    """
    from fedavg.runs.run import resume as go_on  # noqa: PLC0415 - loads torch

    try:
        outcome = go_on(run_directory, console())
    except correctable() as error:
        fail(error)
    _close(outcome)


def _close(outcome: Outcome) -> None:
    from fedavg.cli.closing import close  # noqa: PLC0415 - loads numpy; a run has loaded it by then

    close(outcome)


def _default_out() -> Path:
    return Path("runs") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")


@app.command(epilog="Example:\n\nfedavg report runs/20260101-120000 --public")
def report(
    run_directory: Annotated[Path, typer.Argument(help="A run directory.")],
    public: Annotated[  # noqa: FBT002 - a command-line flag
        bool, typer.Option("--public", help="Write only the part that may be published.")
    ] = False,
) -> None:
    """Write report.html again from a run directory."""
    from fedavg.reports.records.data import holds_records  # noqa: PLC0415 - loads numpy
    from fedavg.reports.records.page import write_records_report  # noqa: PLC0415 - loads plotly
    from fedavg.reports.runs.run import write_report  # noqa: PLC0415 - loads plotly

    try:
        # All of a records page may be published, so it has no second, public form.
        records_run = holds_records(run_directory)
        path = (
            write_records_report(run_directory)
            if records_run
            else write_report(run_directory, public=public)
        )
    except correctable() as error:
        fail(error)
    console().print(str(path))


app.command(help=INIT_HELP, epilog=INIT_EPILOG)(init)
app.command(help=AUDIT_HELP, epilog=AUDIT_EPILOG)(audit)
app.command(help=BUDGET_HELP, epilog=BUDGET_EPILOG)(budget)
app.command(help=RECORDS_HELP, epilog=RECORDS_EPILOG)(records)
app.command(help=STATS_HELP, epilog=STATS_EPILOG)(stats)
app.command(help=SWEEP_HELP, epilog=SWEEP_EPILOG)(sweep)


def main() -> None:
    """Entry point of the `fedavg` command."""
    # Bytes that are no text become lone surrogates, which no configuration, report or message can hold.
    odd = next(
        (given for given in sys.argv[1:] if any("\ud800" <= sign <= "\udfff" for sign in given)), ""
    )
    if odd:
        errors().print(
            f"Error: {odd!a} is no text in UTF-8: rename the file or folder", highlight=False
        )
        sys.exit(2)
    try:
        app()
    except correctable() as error:
        # Commands report their own errors; this one arose while a command was loaded: a missing extra, say.
        say(error)
        sys.exit(2)
