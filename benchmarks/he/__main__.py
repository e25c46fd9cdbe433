"""The suite's own command, `python -m benchmarks he`: with its picture, or a round for a user's model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.he.model import ModelFileError, tensor_sizes
from benchmarks.kit.command import begin, finish
from benchmarks.kit.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.he.play import Round
    from benchmarks.kit.bench import Bench

__all__ = ["main"]

_PEERS_BELOW = 4_000_000
"""Parameters of the largest model that peers are given: 80 bytes each, several times over."""

_MOST_BITS = 32
"""Widths that have parameters in every mode."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 also when a bar is missed, unless --check is given; 2 for a model that cannot be measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    bench = begin("he", options)
    from benchmarks import he as suite  # noqa: PLC0415 - after the environment is set
    from benchmarks.he.picture import draw  # noqa: PLC0415 - the same
    from he import CapacityError, UnsafeParametersError  # noqa: PLC0415 - the same

    if options.params is None and options.model is None:
        if (options.clients, options.bits, options.scheme) != (None, None, None):
            parser.error("--clients, --bits and --scheme go with --params or --model")
        suite.run(bench)
    else:
        try:
            _own(bench, options)
        except (ModelFileError, CapacityError, UnsafeParametersError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    status = finish(bench, options)
    picture = options.out / "he-parts.html"
    draw(options.out / "he.json", picture)
    print(f"wrote {picture}", file=sys.stderr)
    return status


def _own(bench: Bench, options: argparse.Namespace) -> None:
    """One round for the user's model: tables, no bars."""
    from benchmarks.he.against import beside, contest, tables  # noqa: PLC0415 - after the environment is set
    from benchmarks.he.play import play  # noqa: PLC0415 - the same
    from benchmarks.he.sides.ours import label, ours  # noqa: PLC0415 - the same
    from he import Params  # noqa: PLC0415 - the same

    what, bits = _round(options), options.bits or 20
    schemes = (options.scheme,) if options.scheme else ("bfv", "ckks")
    for scheme in schemes:  # what fits nothing is refused before anything is measured
        Params.for_sum(what.clients, max_abs=(1 << (bits - 1)) - 1, scheme=scheme)
    contestants = {label(scheme, bits): ours(scheme, bits) for scheme in schemes}
    if what.length <= _PEERS_BELOW:
        played = contest(bench, what, contestants, peer=bench.peer("nvflare") is not None)
    else:
        bench.say(f"Peers stay away: they are measured up to {_PEERS_BELOW:,} parameters.")
        with bench.progress(f"{what.length:,} parameters", what.clients * len(contestants)) as tick:
            played = play(what, contestants, tick=tick)
    bench.add(*beside(played))
    bench.add(*tables(played, f"n={what.clients}, {what.length:,} parameters, {bits} bits"))


def _round(options: argparse.Namespace) -> Round:
    from benchmarks.he.play import Round  # noqa: PLC0415 - after the environment is set

    if options.bits is not None and not 2 <= options.bits <= _MOST_BITS:
        raise ValueError(f"--bits must lie in 2 … {_MOST_BITS}, not {options.bits}")
    clients = 10 if options.clients is None else options.clients
    if options.model is not None:
        return Round(tensor_sizes(options.model), clients)
    return Round.even(options.params, clients)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks he",
        description="Without a model: the suite and a picture of where "
        "time and bytes go. With --params or --model: one round for that model, no bars.",
    )
    own = parser.add_mutually_exclusive_group()
    own.add_argument("--params", type=int, metavar="N", help="parameters of your model")
    own.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="read the sizes from .safetensors (its header) or from a state dict in .pt (weights only)",
    )
    parser.add_argument("--clients", type=int, metavar="N", help="clients of the round (10)")
    parser.add_argument("--bits", type=int, metavar="B", help="bits of a value, sign included (20)")
    parser.add_argument("--scheme", choices=("ckks", "bfv"), help="one scheme alone (both)")
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
