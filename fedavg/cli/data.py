"""`fedavg data`: the built-in sets, the schema of a table, and a page about a partition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Table
from rich.text import Text

from fedavg.cli.console import console, correctable, fail, one_or_several
from fedavg.errors import ConfigError

__all__ = ["data_app"]


data_app = typer.Typer(
    help="Built-in sets, schemas of your own tables, and partitions over clients.",
    no_args_is_help=True,
)


@data_app.command("list")
def data_list() -> None:
    """List the built-in data sets and the extra that each one needs."""
    from fedavg.data.tasks import available_tasks  # noqa: PLC0415 - reads file headers

    table = Table("name", "examples", "classes", "shape", "needs", "description")
    for task in available_tasks():
        shape = "×".join(str(n) for n in task.shape)
        extra = task.extra or "nothing"
        needs = extra if task.available else f"{extra} (missing)"
        table.add_row(
            task.name, f"{task.examples:,}", str(task.classes), shape, needs, task.description
        )
    console().print(table)


_SCHEMA_EPILOG = """Examples:

fedavg data schema loans.csv --target Class                     the kind of each column, with reasons

fedavg data schema loans.csv --target Class --client state      … with a column of clients

fedavg data schema loans.csv --target Class --noise             a file to complete, for a run under noise
"""


@data_app.command("schema", epilog=_SCHEMA_EPILOG)
def data_schema(
    file: Annotated[Path, typer.Argument(help="A table: .csv, .tsv, .parquet, compressed or not.")],
    target: Annotated[
        list[str] | None, typer.Option(help="Column to predict; may be repeated.")
    ] = None,
    client: Annotated[str, typer.Option(help="Column that names the client of each row.")] = "",
    group: Annotated[str, typer.Option(help="Column of groups of rows that stay together.")] = "",
    weight: Annotated[str, typer.Option(help="Column with the weights of the rows.")] = "",
    task: Annotated[
        str, typer.Option(help="Kind of the labels: auto | classes | numbers | multi-label")
    ] = "auto",
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Column to leave out; may be repeated.")
    ] = None,
    noise: Annotated[  # noqa: FBT002 - a command-line flag
        bool,
        typer.Option(
            "--noise", help="Write a schema for a run under noise, with bounds to complete."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default FILE.schema.toml in the working directory."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,  # noqa: FBT002 - as above
) -> None:
    """Propose the kind of each column of a table, and write a schema that you can check and correct.

    The schema is TOML, with the reason of each choice as a comment.  Use it with --schema FILE, or as
    "schema" in the table "data" of a configuration.
    """
    from fedavg.data.loading.schema_choice import proposed  # noqa: PLC0415 - as above
    from fedavg.data.settings import DataConfig  # noqa: PLC0415 - loads pyarrow
    from fedavg.data.tables.schemas.file import schema_text  # noqa: PLC0415 - as above
    from fedavg.files import check_writable, replace_file  # noqa: PLC0415 - as above
    from fedavg.reports.tables.schema import advice_lines, schema_table  # noqa: PLC0415 - as above

    name = f"{file.name.split('.')[0]}.schema.toml"
    path = out or Path(name)
    try:
        data = DataConfig(
            name=str(file),
            target=one_or_several(target),
            client=client,
            group=group,
            weight=weight,
            leave_out=tuple(leave_out or ()),
            task=_task(task),  # pyright: ignore[reportArgumentType] - checked by it
        )
        # A schema may hold corrections by hand, so it is not replaced unasked.
        if path.exists() and not force:
            raise ConfigError(f"{path} exists: give --out another name, or --force to replace it")
        check_writable(path)
        proposal, rows = proposed(data)
        replace_file(path, schema_text(proposal, private=noise).encode())
    except correctable() as error:
        fail(error)
    for note in proposal.notes:
        console().print(Text(note), soft_wrap=True)
    title = f"{file.name}: {rows:,} rows, {len(proposal.findings)} columns"
    console().print(schema_table(proposal, title))
    for line in advice_lines(proposal):
        console().print(Text(line), soft_wrap=True)
    console().print(
        Text(f'Written to {path}. Use it with --schema {path}, or [data] schema = "{path}"'),
        soft_wrap=True,
    )


def _task(name: str) -> str:
    from fedavg.data.tables.schemas.schema import TaskName  # noqa: PLC0415 - help loads no tables
    from fedavg.parts.nearest import offered  # noqa: PLC0415 - as above

    names: tuple[str, ...] = get_args(TaskName)
    if name not in names:
        raise ConfigError(f"--task: there is no {name!r}; {offered(name, names)}")
    return name


_SHOW_EPILOG = """Examples:

fedavg data show digits --partition dirichlet

fedavg data show loans.toml                      the partition that 'fedavg run loans.toml' trains on

fedavg data show runs/20260101-120000            … or that a run has trained on
"""


@data_app.command("show", epilog=_SHOW_EPILOG)
def data_show(
    name: Annotated[
        str,
        typer.Argument(
            help="Built-in name, a .npz, .csv or .parquet file, an image folder, a configuration or a run."
        ),
    ],
    partition: Annotated[
        str | None,
        typer.Option(help="iid | dirichlet | shards | noisy-sort | quantity | natural"),
    ] = None,
    clients: Annotated[
        int | None, typer.Option(help="Number of clients to spread the data over.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Of dirichlet and quantity; a small value gives more skew."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Column of a table to predict; may be repeated.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(help="Column that names the client of each row.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="Schema of the columns: a file that 'fedavg data schema' wrote."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Public seed of the partition.")] = None,
    out: Annotated[Path, typer.Option("--page", "--out", help="HTML page to write.")] = Path(
        "partition.html"
    ),
) -> None:
    """Draw the partition of the examples over the clients, as a run with the same settings makes it."""
    from fedavg.config.build import load_config  # noqa: PLC0415 - loads torch
    from fedavg.data.loading.loading import load  # noqa: PLC0415 - as above
    from fedavg.data.placement import names_of, pieces_of, with_defaults  # noqa: PLC0415 - as above
    from fedavg.files import check_writable  # noqa: PLC0415 - as above
    from fedavg.reports.tables.partition import (  # noqa: PLC0415 - as above
        Partition,
        facts,
        holdings,
        write_partition_page,
    )

    given = {"partition": partition, "clients": clients, "alpha": alpha}
    given |= {
        "target": one_or_several(target) or None,
        "client": client,
        "schema": None if schema is None else str(schema),
    }
    chosen: dict[str, object] = {
        f"data.{key}": value for key, value in given.items() if value is not None
    }
    chosen |= {} if seed is None else {"seed": seed}
    # A run's directory stands for its configuration.
    file = Path(name) / "config.toml" if (Path(name) / "config.toml").is_file() else Path(name)
    from_file = file.suffix == ".toml"
    try:
        check_writable(out)
        config = load_config(
            file if from_file else None, chosen | ({} if from_file else {"data.name": name})
        )
        # The picture is for the holder of the data, so properties of the rows may be read.
        loaded = load(config.data, private=False)
        data, _ = with_defaults(loaded.config, loaded.examples)
        pieces = pieces_of(loaded.examples, data, seed=config.seed)
        examples, strata = loaded.examples, loaded.examples.strata
        shown = Partition(
            title=Path(data.name).name,
            scheme=data.partition,
            counts=holdings(strata, pieces, len(examples.strata_names)),
            classes=examples.strata_names,
            clients=names_of(examples, pieces),
        )
        write_partition_page(out, shown)
    except correctable() as error:
        fail(error)
    table = Table(title=shown.title, show_header=False, title_justify="left")
    for what, value in facts(shown):
        table.add_row(what, value)
    console().print(table)
    # Rows that are left out are in no figure above.
    for note in examples.notes:
        console().print(Text(note), soft_wrap=True)
    console().print(str(out))
