"""`fedavg init`: write a configuration for the user's own file, after five questions or by options."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.text import Text

from fedavg.cli.console import console, correctable, fail, one_or_several
from fedavg.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fedavg.data.settings import Chosen, DataConfig
    from fedavg.data.tables.schemas.propose import Proposal

__all__ = ["INIT_EPILOG", "INIT_HELP", "init", "on_terminal"]


INIT_HELP = (
    "Write a commented configuration for a file of your own.\n\n"
    "The command asks at most five questions, and each one has an option. Without a terminal it asks "
    "nothing. For a table, it also writes a schema of the columns."
)
INIT_EPILOG = """Examples:

fedavg init loans.csv                                        asks the questions

fedavg init loans.csv --target default --clients 50          asks fewer questions

fedavg init loans.csv --target default --epsilon 5           for a run under noise
"""


@dataclass(frozen=True, slots=True)
class _Answers:
    target: str | tuple[str, ...]
    client: str
    clients: int | None
    epsilon: float | None
    leave_out: tuple[str, ...]


def init(
    file: Annotated[
        str, typer.Argument(help="A .csv, .tsv, .parquet or .npz file, or a folder of images.")
    ],
    target: Annotated[
        list[str] | None, typer.Option(help="Column of a table to predict; may be repeated.")
    ] = None,
    client: Annotated[
        str, typer.Option(help="Column of a table that names the client of each row.")
    ] = "",
    clients: Annotated[
        int | None,
        typer.Option(help="Number of clients to spread the examples over, without such a column."),
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Privacy budget; without it, no noise is added.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Column to leave out; may be repeated.")
    ] = None,
    task: Annotated[
        str, typer.Option(help="Kind of the labels: auto | classes | numbers | multi-label")
    ] = "auto",
    rounds: Annotated[int, typer.Option(help="Number of rounds to train.")] = 60,
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="FILE.toml here")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files.")] = False,  # noqa: FBT002 - a command-line flag
) -> None:
    """Write a first configuration: see `INIT_HELP`."""
    from fedavg.files import check_writable  # noqa: PLC0415 - loads the package's other errors

    answers = _Answers(one_or_several(target), client, clients, epsilon, tuple(leave_out or ()))
    try:
        path = out or Path(f"{Path(file).name.split('.')[0]}.toml")
        schema = path.with_suffix(".schema.toml")
        # Both files are checked before any question is asked.
        for taken in (path, schema):
            if taken.exists() and not force:
                raise ConfigError(
                    f"{taken} exists: give --out another name, or --force to replace it"
                )
            check_writable(taken)
        _write(file, answers, task, rounds, path, schema)
    except correctable() as error:
        fail(error)


def _write(file: str, answers: _Answers, task: str, rounds: int, path: Path, schema: Path) -> None:
    from fedavg.config.build import load_config  # noqa: PLC0415 - loads torch
    from fedavg.config.initial import initial_text  # noqa: PLC0415 - as above
    from fedavg.data.tables.files import is_table  # noqa: PLC0415 - loads pyarrow
    from fedavg.files import replace_file  # noqa: PLC0415 - as above

    table = is_table(Path(file))
    answers = _asked(file, answers, table=table)
    keys = {"name": file, "target": answers.target, "client": answers.client, "task": task}
    given: dict[str, object] = {f"data.{key}": value for key, value in keys.items() if value}
    given |= {"data.leave_out": answers.leave_out} if answers.leave_out else {}
    given |= {} if answers.clients is None else {"data.clients": answers.clients}
    budget: dict[str, float] = (
        {} if answers.epsilon is None else {"privacy.epsilon": answers.epsilon}
    )
    data = load_config(None, given | budget | {"rounds": rounds}).data
    proposal = _proposed(data) if table else None
    chosen, refused = (), None
    try:
        chosen = _chosen(given, budget, rounds)
    except DataError as error:
        # Of a table both files are written all the same: they are the place of the correction.
        if proposal is None:
            raise
        refused = error
    for choice in chosen if budget else ():  # it costs noise, so it is said aloud
        console().print(Text(str(choice)), soft_wrap=True)
    if proposal is not None:
        from fedavg.data.tables.schemas.file import schema_text  # noqa: PLC0415 - as above

        text = schema_text(proposal, private=answers.epsilon is not None)
        replace_file(schema, text.encode())
        known = {"target": "", "client": "", "task": "auto", "leave_out": (), "schema": str(schema)}
        data = msgspec.structs.replace(data, **known)  # pyright: ignore[reportArgumentType] - fields of it
    text = initial_text(data, epsilon=answers.epsilon, rounds=rounds, chosen=chosen)
    replace_file(path, text.encode())
    if refused is not None:
        raise DataError(
            f"{refused}. {path} and {schema} are written; [data] is in the first of them. Once this is "
            f"corrected: fedavg run {path}"
        )
    _close(path, None if proposal is None else schema, noise=answers.epsilon is not None)


def _chosen(given: dict[str, object], budget: dict[str, float], rounds: int) -> tuple[Chosen, ...]:
    """The settings that were left open, with reasons; a run that would be refused is refused now."""
    from fedavg.config.build import build_job, load_config  # noqa: PLC0415 - loads torch
    from fedavg.config.sound import sound_rate  # noqa: PLC0415 - as above
    from fedavg.plan.resolution import resolve  # noqa: PLC0415 - as above

    config = load_config(None, {**given, "privacy.noise": "none", "rounds": rounds})
    # Under noise a table's schema is still open; how many clients there are is known without noise as well.
    job = build_job(config)
    if budget:
        private = load_config(None, {**given, **budget, "rounds": rounds})
        rate = sound_rate(private, len(job.clients), job.parameters)
        return () if rate is None else (rate,)
    resolve(
        job.plan,
        num_clients=len(job.clients),
        vector_length=job.parameters,
        num_rounds=config.rounds,
        largest_client=max(len(examples) for examples in job.clients.values()),
    )
    return job.chosen


def _proposed(data: DataConfig) -> Proposal:
    """The proposed schema, which is also printed; open questions about the table are errors."""
    from fedavg.data.loading.schema_choice import proposed  # noqa: PLC0415 - loads pyarrow
    from fedavg.reports.tables.schema import advice_lines, schema_table  # noqa: PLC0415 - as above

    proposal, rows = proposed(data)
    if proposal.problems:
        raise ConfigError(f"{data.name}: {'; '.join(proposal.problems)}")
    title = f"{Path(data.name).name}: {rows:,} rows, {len(proposal.findings)} columns"
    console().print(schema_table(proposal, title))
    for line in (*proposal.notes, *advice_lines(proposal)):
        console().print(Text(line), soft_wrap=True)
    return proposal


def on_terminal() -> bool:
    """Whether a person can answer questions on a terminal."""
    return sys.stdin.isatty()


def _asked(file: str, answers: _Answers, *, table: bool) -> _Answers:
    """Ask on a terminal for values that no option gives."""
    # A script without a terminal gets the defaults, and never waits for an answer.
    if not on_terminal():
        return answers
    if table:
        answers = _asked_of_table(file, answers)
    if not answers.client and answers.clients is None:
        said = typer.prompt("How many clients? (empty: as many as the data suggest)", default="")
        answers = replace(answers, clients=_count(said))
    if answers.epsilon is None:
        said = typer.prompt("Epsilon of differential privacy? (empty: no noise)", default="")
        answers = replace(answers, epsilon=_number(said))
    return answers


def _asked_of_table(file: str, answers: _Answers) -> _Answers:
    from fedavg.data.tables.reading import read_table  # noqa: PLC0415 - loads pyarrow

    headings = tuple(read_table(Path(file)).columns)
    console().print(Text(f"{file} has the columns {', '.join(headings)}"), soft_wrap=True)
    if not answers.target:
        target = typer.prompt("Which column is predicted?", default=headings[-1])
        answers = replace(answers, target=target)
    if not answers.client:
        client = typer.prompt("Which column says whose row it is? (empty: none)", default="")
        answers = replace(answers, client=client)
    if not answers.leave_out:
        said = typer.prompt("Columns to leave out, with commas? (empty: none)", default="")
        left = tuple(name.strip() for name in said.split(",") if name.strip())
        answers = replace(answers, leave_out=left)
    return answers


def _count(said: str) -> int | None:
    try:
        return int(said) if said.strip() else None
    except ValueError as error:
        raise ConfigError(
            f"a number of clients is a whole number such as 20, not {said!r}"
        ) from error


def _number(said: str) -> float | None:
    try:
        return float(said) if said.strip() else None
    except ValueError as error:
        raise ConfigError(f"epsilon is a number such as 5, not {said!r}") from error


def _close(path: Path, schema: Path | None, *, noise: bool) -> None:
    if schema is not None:
        console().print(Text(f"{schema} says what each column is."), soft_wrap=True)
    if schema is not None and noise:
        console().print(
            Text(
                f"Under noise that is public: complete {schema} where it says TO COMPLETE, and set "
                "declared = true."
            ),
            soft_wrap=True,
        )
    console().print(Text(f"Run it: fedavg run {path}"), soft_wrap=True)
