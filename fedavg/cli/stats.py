"""The command `fedavg stats`: statistics of a table over its silos, in a terminal, a page and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from fedavg.cli.console import console, correctable, fail
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dp import Charge
    from fedavg.parts import Family
    from fedavg.statistics import PrivacyBudget, Question, Silos, Summary, Unit
    from fedavg.statistics.declared import Described
    from fedavg.sums.interface import SecureSum

__all__ = ["STATS_EPILOG", "STATS_HELP", "stats"]

STATS_HELP = (
    "Take statistics of a table over its silos, without showing anything of a single silo.\n\n"
    "Counts, missing cells, means, variances, histograms and quantiles of every column, and contingency "
    "tables and correlations on request.  The rows of each silo leave it only inside a secure sum.\n\n"
    "Without --epsilon the sums are exact, and counts of few people or silos are withheld.  With --epsilon "
    "each silo adds a share of noise before the sum, and one budget covers all statistics.\n\n"
    "Whose privacy counts is never assumed: give --person COLUMN, or --every-row."
)
STATS_EPILOG = """Examples:

fedavg stats thyroid.csv --client hospital --every-row                       exact sums

fedavg stats thyroid.csv --client hospital --every-row --table sex,sick      … and a contingency table

fedavg stats visits.csv --client site --person patient --rows-per-person 5 --epsilon 1 --schema visits.toml

fedavg stats visits.csv --client site --person patient --rows-per-person 5 --epsilon 1 --ledger budget.json
"""


_WITH_PARTS = (
    "fedavg.contrib.masked_encrypted",
    "fedavg.privacy.noise",
    "fedavg.sums.encrypted",
    "fedavg.sums.one_shot",
    "fedavg.sums.plain",
)
"""Modules that register secure sums and noises; the catalogue of all parts would load torch."""


_NOISE = "gaussian"
_DELTA = 1e-5
_UNIT = ", unit "
"""Before the unit in the label of a charge."""


@dataclass(frozen=True, slots=True)
class _Files:
    """The files to write; None for those that are not wanted."""

    page: Path
    json: Path | None
    csv: Path | None
    schema: Path | None


@dataclass(frozen=True, slots=True)
class _Cost:
    """The options of the noise."""

    epsilon: float | None
    delta: float | None
    colluders: int | None
    noise: str | None
    ledger: Path | None
    rows_per_person: int | None

    def check(self) -> None:
        """Refuse options of noise without noise: exact sums would be shown in their place."""
        given = {
            "--delta": self.delta,
            "--colluders": self.colluders,
            "--noise": self.noise,
            "--ledger": self.ledger,
            "--rows-per-person": self.rows_per_person,
        }
        alone = [option for option, value in given.items() if value is not None]
        if self.epsilon is None and alone:
            what = f"{', '.join(alone)} {'are' if len(alone) > 1 else 'is'}"
            raise ConfigError(
                f"{what} for noise, and without --epsilon the sums are exact: give --epsilon, too, or "
                f"leave {'them' if len(alone) > 1 else 'it'} out"
            )


def stats(
    file: Annotated[Path, typer.Argument(help="A table: .csv, .tsv, .parquet, compressed or not.")],
    client: Annotated[str, typer.Option(help="Column that names the silo of each row.")],
    person: Annotated[str, typer.Option(help="Column that names the person of each row.")] = "",
    rows_per_person: Annotated[
        int | None,
        typer.Option(
            help="Under noise, the most rows of one person in a silo; others are left out."
        ),
    ] = None,
    every_row: Annotated[  # noqa: FBT002 - a command-line flag
        bool, typer.Option("--every-row", help="Every row is another person.")
    ] = False,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Privacy budget of all statistics together; without it, sums are exact."),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="The delta at which epsilon is stated.", show_default="1e-05"),
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(
            help="Silos that may tell the server what they know.",
            show_default="as the secure sum assumes",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="gaussian | skellam | discrete-gaussian", show_default="gaussian"),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Also charge this budget, which several runs share; of one unit only."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="Schema of the columns: a file that 'fedavg data schema' wrote."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column to ask about; may be repeated. All by default.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Column to leave out; may be repeated.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="Contingency table of two columns of words, FIRST,SECOND; may be repeated."
        ),
    ] = None,
    correlate: Annotated[
        list[str] | None,
        typer.Option(help="Column of numbers to correlate with the others named; '*' for all."),
    ] = None,
    quantile: Annotated[
        list[float] | None,
        typer.Option(help="Level of a quantile; may be repeated.", show_default="5 usual ones"),
    ] = None,
    bins: Annotated[int, typer.Option(help="Bins of a histogram, a power of two.")] = 32,
    min_silos: Annotated[int, typer.Option(help="Fewest silos in a count that is shown.")] = 3,
    min_people: Annotated[int, typer.Option(help="Fewest people in a count that is shown.")] = 5,
    secure_sum: Annotated[
        str, typer.Option(help="secagg | one-shot | ckks | bfv | encrypted-secagg | insecure-plain")
    ] = "secagg",
    page: Annotated[Path, typer.Option("--page", "--out", help="HTML page to write.")] = Path(
        "statistics.html"
    ),
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file to write, one figure a line.")] = None,
    write_schema: Annotated[
        Path | None,
        typer.Option(
            help="Schema to write for training: the one used, with bounds from the outer quantiles."
        ),
    ] = None,
) -> None:
    """Take statistics over silos: see `STATS_HELP`."""
    from dp import SharedLedger  # noqa: PLC0415 - loads scipy
    from fedavg.statistics import Question, read_silos, summarise  # noqa: PLC0415 - loads scipy's solvers
    from fedavg.statistics.declared import table_and_schema  # noqa: PLC0415 - loads pyarrow
    from fedavg.statistics.feeding import fed_schema  # noqa: PLC0415 - as above

    files = _Files(page, json, csv, write_schema)
    cost = _Cost(epsilon, delta, colluders, noise, ledger, rows_per_person)
    try:
        unit = _unit(person, rows_per_person, every_row=every_row)
        sums, budget = _parts(secure_sum, cost)
        _check_files(files)
        described = table_and_schema(
            file,
            client=client,
            person=person,
            schema="" if schema is None else str(schema),
            columns=tuple(column or ()),
            leave_out=tuple(leave_out or ()),
            private=budget is not None,
        )
        silos = read_silos(
            described.table, described.schema, client, unit, private=budget is not None
        )
        question = Question(
            bins=bins,
            quantiles=tuple(quantile) if quantile else Question().quantiles,
            tables=tuple(_pair(text, silos) for text in table or ()),
            correlate=_correlated(tuple(correlate or ()), silos),
            min_silos=min_silos,
            min_people=min_people,
        )
        # What is said of the rows is exact, so noise forbids it.
        _tell(described, silos, client, question, private=budget is not None)
        shared = None if ledger is None else SharedLedger(ledger)
        if shared is not None:
            _check_unit(shared.read().history, unit, ledger)
        found = summarise(
            silos,
            question,
            secure_sum=sums,
            budget=budget,
            ledger=shared,
            label=f"stats {file.name}{_UNIT}{unit.name}",
        )
    except correctable() as error:
        fail(error)

    def write_fed(path: Path) -> None:
        # Where people are the unit, a run that shares the ledger has people as its clients.
        names = described.table.columns
        fed_schema(path, described.schema, found, owner=person or client, headings=names)

    written, unwritten = _written(files, found, file.name, write_fed)
    # The budget is spent by now, so the figures are shown where their files cannot be written.
    _show(written, found, file.name)
    if unwritten is not None:
        fail(unwritten)


def _tell(
    described: Described, silos: Silos, client: str, question: Question, *, private: bool
) -> None:
    """Say how the table was read, before anything takes long."""
    from fedavg.reports.statistics.told import about_columns, about_rows, about_silos  # noqa: PLC0415 - as above

    lines = about_silos(silos, client, question, private=private)
    if not private:
        markers = described.schema.markers
        lines += about_columns(described.proposal, described.wanted)
        lines += about_rows(described.table, markers, client, silos.unit)
    for line in lines:
        console().print(Text(line), soft_wrap=True)


def _unit(person: str, most: int | None, *, every_row: bool) -> Unit:
    """Whose privacy counts; refuse a command that leaves it open."""
    from fedavg.statistics import Person, Record  # noqa: PLC0415 - as above

    if bool(person) == every_row:
        raise ConfigError(
            "say whose privacy counts: --person COLUMN, where a person may have several rows, or "
            "--every-row, where every row is another person; give one of them"
        )
    if every_row and most is not None:
        raise ConfigError("--rows-per-person goes with --person")
    return Record() if every_row else Person(person, most)


def _parts(secure_sum: str, cost: _Cost) -> tuple[SecureSum, PrivacyBudget | None]:
    import importlib  # noqa: PLC0415 - only this command needs it

    from fedavg.statistics import PrivacyBudget  # noqa: PLC0415 - loads numpy

    for module in _WITH_PARTS:
        importlib.import_module(module)
    kind: Any = _named("secure_sum", secure_sum)
    sums: SecureSum = kind()
    cost.check()
    if cost.epsilon is None:
        return sums, None
    noise: Any = _named("noise", cost.noise or _NOISE)
    delta = _DELTA if cost.delta is None else cost.delta
    return sums, PrivacyBudget(cost.epsilon, delta, cost.colluders, noise(1.0))


def _named(family: Family, name: str) -> object:
    from fedavg.parts import named, names  # noqa: PLC0415 - loads numpy
    from fedavg.parts.nearest import offered  # noqa: PLC0415 - as above

    # The registry's own refusal speaks of a configuration, and this command has none.
    if name not in names(family):
        option = f"--{family.replace('_', '-')}"
        raise ConfigError(f"{option}: there is no {name!r}; {offered(name, names(family))}")
    return named(family, name)


def _check_unit(history: Sequence[Charge], unit: Unit, ledger: Path | None) -> None:
    """Refuse a ledger that statistics of another unit were charged to: the two add up to nobody's epsilon."""
    for charge in history:
        _, said, other = charge.label.rpartition(_UNIT)
        if said and other != unit.name:
            raise ConfigError(
                f"the ledger {ledger} has a charge of another unit ({charge.label!r}), and this release is "
                f"of a {unit.name}: their epsilons add up to a statement about nobody. Give another --ledger"
            )


def _pair(text: str, silos: Silos) -> tuple[str, str]:
    """Two columns of "first,second"; the name of a column may hold a comma itself."""
    known = {variable.name for variable in silos.variables}
    words = text.split(",")
    for cut in range(1, len(words)):
        first, second = ",".join(words[:cut]).strip(), ",".join(words[cut:]).strip()
        if first in known and second in known:
            return first, second
    raise ConfigError(
        f"--table {text!r} is no FIRST,SECOND of two columns; there are {', '.join(sorted(known))}. A column "
        "that --column leaves out is none: name both of a table with --column, too"
    )


def _correlated(names: tuple[str, ...], silos: Silos) -> tuple[str, ...]:
    if names != ("*",):
        return names
    return tuple(variable.name for variable in silos.variables if variable.measured)


def _check_files(files: _Files) -> None:
    """Refuse files that cannot be written before anything is charged or summed."""
    from fedavg.files import check_writable  # noqa: PLC0415 - as above

    for path in (files.page, files.json, files.csv, files.schema):
        if path is not None:
            check_writable(path)


def _written(
    files: _Files, found: Summary, title: str, write_fed: Callable[[Path], None]
) -> tuple[list[Path], Exception | None]:
    """Write each file; return those that are written, and the first error."""
    from fedavg.files import replace_file  # noqa: PLC0415 - as above
    from fedavg.reports.statistics.page import write_statistics_page  # noqa: PLC0415 - loads plotly

    def write_page(path: Path) -> None:
        write_statistics_page(path, found, title)

    def write_json(path: Path) -> None:
        replace_file(path, found.json())

    def write_csv(path: Path) -> None:
        replace_file(path, found.csv().encode())

    wanted: list[tuple[Path | None, Callable[[Path], None]]] = [
        (files.page, write_page),
        (files.json, write_json),
        (files.csv, write_csv),
        (files.schema, write_fed),
    ]
    written: list[Path] = []
    first: Exception | None = None
    for path, write in wanted:
        if path is None:
            continue
        try:
            write(path)
            written.append(path)
        except correctable() as error:
            first = first or error
    return written, first


def _show(written: list[Path], found: Summary, title: str) -> None:
    from fedavg.reports.statistics.table import tables  # noqa: PLC0415 - as above
    from fedavg.reports.statistics.words import guarantee  # noqa: PLC0415 - as above

    out = console()
    for table in tables(found, title):
        out.print(table)
    for line in guarantee(found):
        out.print(Text(line), soft_wrap=True)
    for path in written:
        out.print(Text(f"Written to {path}"), soft_wrap=True)
