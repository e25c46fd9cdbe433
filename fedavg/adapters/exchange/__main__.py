"""Enrolment from the command line: `python -m fedavg.adapters.exchange --help`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
import typer

from dp import DpError
from fedavg.adapters.exchange.agreement import AGREEMENT_FILE, Agreement, read_noise
from fedavg.adapters.exchange.keys import KEYS_FILE
from fedavg.adapters.exchange.nodes.enrolment import CARD_FILE, make_node, read_card
from fedavg.adapters.exchange.terms import Record, Terms
from fedavg.encoding import FixedPoint
from fedavg.errors import ConfigError, FedAvgError
from fedavg.sums.one_shot import OneShot
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["app"]

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
def agree(  # one option for each term
    cards: Annotated[list[Path], typer.Argument(help="The cards of all nodes.")],
    max_weight: Annotated[int, typer.Option(help="Largest number of examples of a node.")],
    members: Annotated[int, typer.Option(help="Size of the committee: the nodes of lowest ids.")],
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
    noise: Annotated[str, typer.Option(help="Kind of the noise.")] = "gaussian",
    delta: Annotated[float, typer.Option(help="Delta at which the server states epsilon.")] = 1e-5,
    corrupt: Annotated[int, typer.Option(help="Members that may collude with the server.")] = 0,
    absent: Annotated[int, typer.Option(help="Members that may be absent.")] = 1,
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
    train: _Metrics = None,
    evaluate: _Metrics = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path(AGREEMENT_FILE),
) -> None:
    """Anywhere but at the server: put the cards together; every node reads the result and keeps a copy."""

    def agreed() -> Agreement:
        make = partial(_record, value_range, clip, bits, (noise, noise_multiplier))
        records = {"train": make(metrics=_ranges(train))}
        if evaluate:
            records["evaluate"] = make(arrays=(), metrics=_ranges(evaluate))
        committee = OneShot(committee=members, corrupt_members=corrupt, absent_members=absent)
        terms = Terms(
            committee,
            records,
            max_weight,
            min_cohort=min_cohort,
            attempts=attempts,
            max_rounds=max_rounds,
            delta=delta,
        )
        made = Agreement.among(terms, [read_card(path) for path in cards])
        made.write(out)
        return made

    typer.echo(f"{out}: {_told(agreed).digest.hex()[:32]}")


def _record(
    value_range: float | None,
    clip: float | None,
    bits: int,
    noise: tuple[str, float],
    arrays: tuple[str, ...] = ("*",),
    *,
    metrics: dict[str, float],
) -> Record:
    """A record with exact sums, or with noise."""
    kind, multiplier = noise
    if not multiplier:
        if value_range is None or clip is not None:
            raise ConfigError(
                "exact sums need --range, the largest change of a parameter; --clip belongs to "
                "--noise-multiplier"
            )
        return Record(
            FixedPoint(value_range, bits, rounding="nearest"), arrays=arrays, metrics=metrics
        )
    if clip is None or value_range is not None:
        raise ConfigError(
            "noise needs --clip, the largest norm of a whole update, and no --range: longer updates are "
            "shortened"
        )
    chosen = read_noise({"kind": kind, "noise_multiplier": multiplier})
    return Record(FixedPoint(clip, bits), arrays, metrics=metrics, beyond="clip", noise=chosen)


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
    for assumption in found.terms.sum.assumptions:
        typer.echo(f"- {assumption}")


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


def _ranges(given: list[str] | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in given or ():
        name, _, value = one.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"a metric is given as NAME=RANGE, not {one!r}") from None
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
