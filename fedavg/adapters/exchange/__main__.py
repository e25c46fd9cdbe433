"""Enrolment from the command line: `python -m fedavg.adapters.exchange --help`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import msgspec
import numpy as np
import typer

from dp import DpError
from fedavg.adapters.exchange.agreement import AGREEMENT_FILE, Agreement, read_noise
from fedavg.adapters.exchange.keys.keys import KEYS_FILE
from fedavg.adapters.exchange.messages import Round
from fedavg.adapters.exchange.nodes.enrolment import (
    CARD_FILE,
    make_node,
    read_card,
    renew_sealing,
)
from fedavg.adapters.exchange.sides import sum_spec, vectors
from fedavg.adapters.exchange.terms import Record, Terms
from fedavg.encoding import FixedPoint
from fedavg.errors import ConfigError, FedAvgError
from fedavg.parts import named
from fedavg.sums import masked, one_shot
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedavg.sums.masked import SecAgg
    from fedavg.sums.one_shot import OneShot

__all__ = ["OURS", "app"]

OURS = (one_shot, masked)
"""Their import registers the sums that an agreement may name."""

app = typer.Typer(
    help="Enrol the nodes of another engine for secure means.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with local variables could show keys
)
_T = TypeVar("_T")
_Metrics = Annotated[
    list[str] | None, typer.Option(help="NAME=RANGE of a metric to sum; several times.")
]


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="The node's own folder.")],
    node: Annotated[int, typer.Option(help="The node's id.", min=0)],
) -> None:
    """At each node: make its keys, and a card to send to the others."""
    _told(lambda: make_node(folder, node))
    typer.echo(f"{folder / KEYS_FILE} stays here. Send {folder / CARD_FILE} to the other nodes.")


@app.command()
def renew(folder: Annotated[Path, typer.Argument(help="The node's own folder.")]) -> None:
    """At a member of a committee: erase the sealing key of the last sums, such as after the last run."""
    _told(lambda: renew_sealing(folder))
    typer.echo("The sealing key is a new one; what was sealed to the earlier one opens for nobody.")


@app.command()
def agree(  # one option for each term
    cards: Annotated[list[Path], typer.Argument(help="The cards of all nodes.")],
    max_weight: Annotated[int, typer.Option(help="Largest number of examples of a node.")],
    chosen: Annotated[
        Literal["one-shot", "secagg"],
        typer.Option(
            "--sum",
            help="one-shot: a committee of the nodes opens the sum. secagg: all nodes do, in five answers.",
        ),
    ] = "one-shot",
    members: Annotated[
        int | None,
        typer.Option(
            help="one-shot: size of the committee, the nodes of lowest ids or with --drawn the drawn ones."
        ),
    ] = None,
    drawn: Annotated[
        str | None,
        typer.Option(
            help="one-shot: draw the committee from all nodes by this value, such as that of a public "
            "beacon. It became known after all cards were there, and nobody could choose it."
        ),
    ] = None,
    corrupt: Annotated[
        int | None,
        typer.Option(help="one-shot: members that may collude with the server; 0 if not given."),
    ] = None,
    absent: Annotated[
        int | None, typer.Option(help="one-shot: members that may be absent; 1 if not given.")
    ] = None,
    epoch_rounds: Annotated[
        int | None,
        typer.Option(help="one-shot: sums that a member's sealing key serves; 10 if not given."),
    ] = None,
    key_days: Annotated[
        float, typer.Option(help="one-shot: days after which no node takes a member's sealing key.")
    ] = 7.0,
    dropout_rate: Annotated[
        float, typer.Option(help="Share of the nodes of a round that may drop out.")
    ] = 0.1,
    corrupt_rate: Annotated[
        float, typer.Option(help="Share of them that may collude with the server.")
    ] = 0.1,
    value_range: Annotated[
        float | None,
        typer.Option(
            "--range", help="Without noise: largest change of a model's parameter in one round."
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="With noise: largest norm of a whole update.")
    ] = None,
    noise_multiplier: Annotated[
        float, typer.Option(help="Noise ÷ clip norm; 0 for exact sums.", min=0.0)
    ] = 0.0,
    noise: Annotated[
        str | None, typer.Option(help="With noise: its kind; gaussian if not given.")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="With noise: delta at which the server states epsilon; 1e-5 if not given."
        ),
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits of a parameter.")] = 20,
    min_cohort: Annotated[
        int, typer.Option(help="Smallest number of nodes that a round may ask.")
    ] = 3,
    attempts: Annotated[
        int, typer.Option(help="Answers of a node for one model, in all runs together.")
    ] = 3,
    max_rounds: Annotated[
        int, typer.Option(help="Answers of a node to one kind of request, in all runs together.")
    ] = 10_000,
    arrays: Annotated[
        list[str] | None,
        typer.Option(help="PATTERN of arrays that are summed, such as 'head.*'; all if not given."),
    ] = None,
    array_range: Annotated[
        list[str] | None,
        typer.Option(
            help="PATTERN=RANGE of arrays that need another range, such as counters: "
            "'*.num_batches_tracked=1000'. Of patterns the first that fits counts."
        ),
    ] = None,
    train: _Metrics = None,
    evaluate: _Metrics = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path(AGREEMENT_FILE),
) -> None:
    """Anywhere but at the server: put the cards together; every node reads the result and keeps a copy."""

    def agreed() -> Agreement:
        if not noise_multiplier and (noise is not None or delta is not None):
            raise ConfigError(
                "--noise and --delta are about noise, and there is none without --noise-multiplier: give it, "
                "or take them out"
            )
        make = partial(_record, value_range, clip, bits, (noise or "gaussian", noise_multiplier))
        places = {
            "arrays": tuple(arrays or ("*",)),
            "ranges": _ranges("an array's range", array_range),
        }
        records = {"train": make({**places, "metrics": _ranges("a metric", train)})}
        if evaluate:
            scores = _ranges("a metric", evaluate)
            records["evaluate"] = make({"arrays": (), "metrics": scores})
        numbers = {
            "committee": members,
            "corrupt_members": corrupt,
            "absent_members": absent,
            "epoch_rounds": epoch_rounds,
            "drawn": drawn,
            "candidates": None if drawn is None else len(cards),
        }
        rates = {"dropout_rate": dropout_rate, "corrupt_rate": corrupt_rate}
        terms = Terms(
            _sum(chosen, numbers, rates),
            records,
            max_weight,
            min_cohort=min_cohort,
            attempts=attempts,
            max_rounds=max_rounds,
            delta=1e-5 if delta is None else delta,
            key_days=key_days,
        )
        made = Agreement.among(terms, [read_card(path) for path in cards])
        _write_new(made, out)
        return made

    typer.echo(f"{out}: {_told(agreed).digest.hex()[:32]}")


def _sum(
    name: str, numbers: Mapping[str, int | str | None], rates: dict[str, float]
) -> OneShot | SecAgg:
    """The sum of a name, which may be one with a committee.

    Args:
        name: its name.
        numbers: what is said of a committee, by field; None for what is not said.
        rates: shares of the nodes of a round.
    """
    kind = named("secure_sum", name)
    known = {field.name for field in msgspec.structs.fields(kind)}
    said = {field: number for field, number in numbers.items() if number is not None}
    if known.issuperset(numbers):
        if "committee" not in said:
            raise ConfigError(
                "a sum with a committee needs --members, its size; --sum secagg needs no committee"
            )
        said = {"corrupt_members": 0, "absent_members": 1, **said}
    elif said:
        raise ConfigError(
            "--members, --drawn, --corrupt, --absent and --epoch-rounds are about a committee, and --sum "
            f"{name} has none: take them out, and say with --dropout-rate and --corrupt-rate which shares of "
            "the nodes may drop out or collude"
        )
    return cast("OneShot | SecAgg", kind(**said, **rates))


def _record(
    value_range: float | None,
    clip: float | None,
    bits: int,
    noise: tuple[str, float],
    carried: Mapping[str, Any],
) -> Record:
    """A record with exact sums, or with noise.

    Args:
        value_range: range of a parameter, for exact sums.
        clip: clip norm, for noise.
        bits: bits of a value.
        noise: kind of the noise, and its multiplier.
        carried: fields of the record that say what it carries.
    """
    kind, multiplier = noise
    if not multiplier:
        if value_range is None or clip is not None:
            raise ConfigError(
                "exact sums need --range, the largest change of a parameter; --clip belongs to "
                "--noise-multiplier"
            )
        return Record(FixedPoint(value_range, bits, rounding="nearest"), **carried)
    if clip is None or value_range is not None:
        raise ConfigError(
            "noise needs --clip, the largest norm of a whole update, and no --range: longer updates are "
            "shortened"
        )
    chosen = read_noise({"kind": kind, "noise_multiplier": multiplier})
    return Record(FixedPoint(clip, bits), beyond="clip", noise=chosen, **carried)


def _write_new(made: Agreement, out: Path) -> None:
    """Write an agreement; one of other terms or nodes that is there may be in use, and stays."""
    if out.exists() and Agreement.read(out).digest != made.digest:
        raise ConfigError(
            f"{out} holds another agreement: move it away, or name another file with --out"
        )
    made.write(out)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A node's copy of the agreement.")],
    parameters: Annotated[
        int, typer.Option(help="Length of the model, for the cost of noise.", min=1)
    ] = 1_000_000,
) -> None:
    """At each node: check a copy, and print what names it; compare that with the other nodes by telephone."""
    found = _told(lambda: Agreement.read(file))
    typer.echo(f"agreement {found.digest.hex()[:32]}: {len(found.nodes)} nodes")
    for line in _lines(found):
        typer.echo(line)
    for line in _told(lambda: list(_costs(found, parameters))):
        typer.echo(line)
    for assumption in _told(lambda: list(_assumptions(found, parameters))):
        typer.echo(f"- {assumption}")


def _assumptions(found: Agreement, parameters: int) -> Iterator[str]:
    """What the sums of all kinds of records assume, each once; short vectors may assume less."""
    terms, said = found.terms, dict[str, None]()
    for kind, record in terms.records.items():
        model = dict.fromkeys(record.arrays[:1], np.zeros(parameters))
        length = vectors(found, kind, model).length
        facts = Round("", 1, kind, terms.min_cohort, length, bytes(32))
        said |= dict.fromkeys(terms.sum.assumptions(sum_spec(facts, found)))
    yield from (*said, *terms.assumptions_here)


def _lines(found: Agreement) -> Iterator[str]:
    """Everything that the digest covers; fields are not listed by hand, so that none is forgotten."""
    terms = found.terms
    yield from (f"node {node}: identity {key.hex()}" for node, key in sorted(found.nodes.items()))
    yield from (f"member {node}: key {card.hex()}" for node, card in sorted(found.members.items()))
    for term in fields(terms):
        if term.name != "records":
            yield f"{term.name}: {getattr(terms, term.name)!r}"
    for kind, record in sorted(terms.records.items()):
        yield from (f"{kind}, {at.name}: {getattr(record, at.name)!r}" for at in fields(record))


def _costs(found: Agreement, parameters: int) -> Iterator[str]:
    """What answers cost a node: both epsilons of each kind of record, as if there were no other."""
    for kind, record in sorted(found.terms.records.items()):
        if record.noise is None:
            yield f"{kind}: exact sums, without privacy towards those who see them"
            continue
        from fedavg.adapters.exchange.vectors.costs import epsilons  # noqa: PLC0415 - loads the accountant
        from fedavg.adapters.exchange.vectors.noisy import NoisyCoordinates  # noqa: PLC0415

        model = dict.fromkeys(record.arrays[:1], np.zeros(parameters))
        cost = NoisyCoordinates.of(found.terms, kind, len(found.nodes), model).cost
        for answers in (1, 10, 100):
            spent = epsilons({cost: answers}, found.terms.delta)
            yield f"{kind}, {answers} answers of a node: {spent}"


def _ranges(what: str, given: list[str] | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in given or ():
        name, _, value = one.rpartition("=")
        try:
            limit = float(value)
        except ValueError:
            raise ConfigError(f"{what} is given as NAME=RANGE, not {one!r}") from None
        if name in found:
            raise ConfigError(f"{what} is given once, and {name!r} has two ranges")
        found[name] = limit
    return found


def _told(action: Callable[[], _T]) -> _T:
    """Run, and turn an error of ours into one line."""
    try:
        return action()
    except (FedAvgError, SecAggError, DpError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
