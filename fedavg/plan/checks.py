"""Which parts of a plan do not go together, and why: one table of traits instead of a check for every pair.

Each part states what it does as traits (`fedavg.parts.Trait`).  A row of the table names two traits that no
plan may have at once, and the reason.  A new part that states its traits is covered by the rows that exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.errors import PlanError
from fedavg.parts import Trait

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CLASHES", "Claim", "Clash", "check_together"]


@dataclass(frozen=True, slots=True)
class Clash:
    """Two traits that do not go together.

    Args:
        one: a trait of some part.
        other: a trait of some part, of another one or of the same.
        why: the reason, and what to do instead.
        under_noise: whether this holds under differential privacy only.
    """

    one: Trait
    other: Trait
    why: str
    under_noise: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a plan, by the name that a message gives it, with its traits."""

    name: str
    traits: frozenset[Trait]


_NO_DP_STATE = (
    "what clients remember of earlier rounds depends on earlier cohorts, and in cohorts of fixed "
    "size whoever was drawn says something about all others: no theorem that we know covers both; "
    "use PoissonCohort"
)
_WHOLE_MAP = (
    "a map of what to encrypt names parameters of the whole model, and other places or lengths are "
    "sent: send the whole update, or encrypt everything"
)

CLASHES = (
    Clash(
        Trait.NOISE,
        Trait.EXAMPLE_WEIGHTS,
        "weights by example counts have no bounded sensitivity: under differential privacy use "
        "weighting='equal'",
    ),
    Clash(
        Trait.NOISE,
        Trait.UNBOUNDED_NORM,
        "noise is calibrated against a bound on the rounded norm: under differential privacy "
        "encode with FixedPoint and rounding='stochastic'",
    ),
    Clash(
        Trait.NOISE,
        Trait.RETRIES,
        "under differential privacy a round is not tried again: sampling amplifies privacy only "
        "for cohorts that are drawn once, and a draw that is repeated because too few came is "
        "another distribution; a skipped round stays skipped and charged (retries=0)",
    ),
    Clash(
        Trait.NOISE,
        Trait.RESIDUAL,
        "under differential privacy error feedback gathers what clipping cuts off and sends stale "
        "directions in its place: measured, it costs accuracy (docs/algorithms.md); leave it out",
    ),
    Clash(
        Trait.NOISE,
        Trait.CLIENT_MAP,
        "the map was chosen by clients' private scores without noise, and no ledger counts that: "
        "under differential privacy choose by public data or at random",
    ),
    Clash(
        Trait.NO_NOISE,
        Trait.FINITE_BUDGET,
        "a budget of epsilon needs noise: choose one, or drop the budget",
    ),
    Clash(
        Trait.NO_NOISE,
        Trait.ADAPTS_CLIP,
        "adaptive clipping needs noise: without it nothing is clipped, and the counts that it "
        "learns from would be private data in the clear; choose a noise, or drop clipping",
    ),
    Clash(
        Trait.NO_NOISE,
        Trait.BOUNDED_NORM,
        "without noise, encode with rounding='nearest' (a range per coordinate), or with Quantised "
        "for stochastic rounding",
    ),
    Clash(Trait.REMEMBERS_ROUNDS, Trait.DEPENDENT_DRAWS, _NO_DP_STATE, under_noise=True),
    Clash(
        Trait.COORDINATE_MAP,
        Trait.MIXES_COORDINATES,
        "rotation mixes all parameters, so that no coordinate is worth more than another: encode "
        "with rotate=False, or encrypt everything",
    ),
    Clash(Trait.COORDINATE_MAP, Trait.PARTIAL_VECTOR, _WHOLE_MAP),
    Clash(Trait.COORDINATE_MAP, Trait.EXTRA_VECTOR, _WHOLE_MAP),
    Clash(Trait.COORDINATE_MAP, Trait.BLOCKS, _WHOLE_MAP),
    Clash(
        Trait.READS_GRADIENT,
        Trait.STATEFUL_STEPS,
        "a client's mean gradient is read off its update, which only plain steps allow: use "
        "optimizer='sgd' at the clients (the server's is free)",
    ),
    Clash(
        Trait.READS_GRADIENT,
        Trait.PROXIMAL,
        "a proximal term would enter the control variates, although it is no gradient of a "
        "client's loss: use SCAFFOLD or FedProx",
    ),
    Clash(
        Trait.EQUAL_WEIGHTS,
        Trait.EXAMPLE_WEIGHTS,
        "control variates are an unweighted mean over all clients, and so must be the updates "
        "(Karimireddy et al. 2020, Algorithm 1): use weighting='equal' or leave it out",
    ),
    Clash(
        Trait.READS_GRADIENT,
        Trait.PARTIAL_VECTOR,
        "each client's mean gradient is read off all of its newest update, which random-k does not "
        "send: leave out one of the two (few-bit encodings go with both)",
    ),
    Clash(
        Trait.READS_GRADIENT,
        Trait.RESIDUAL,
        "each client's mean gradient is read off its newest update, to which error feedback adds "
        "older ones: leave out one of the two (few-bit encodings go with both)",
    ),
    Clash(
        Trait.READS_GRADIENT,
        Trait.BLOCKS,
        "SCAFFOLD's control variates are means over all clients of the whole model, and a client "
        "trains one block: use SCAFFOLD or blocks",
    ),
    Clash(
        Trait.PARTIAL_VECTOR,
        Trait.BLOCKS,
        "a block is a part of the model already, another one each round: random-k and error "
        "feedback do not go with blocks (few-bit encodings and downloads do)",
    ),
    Clash(
        Trait.RESIDUAL,
        Trait.BLOCKS,
        "a block is a part of the model already, another one each round: random-k and error "
        "feedback do not go with blocks (few-bit encodings and downloads do)",
    ),
    Clash(
        Trait.ADAPTS_CLIP,
        Trait.BLOCKS,
        "adaptive clipping follows the norm of one update of the whole model, and blocks differ in "
        "theirs: give the blocks one clip norm that stays",
    ),
    Clash(
        Trait.OWN_MODEL,
        Trait.BLOCKS,
        "a client of blocks trains one block a round, and a model of its own would be trained "
        "whole: personalise by fine-tuning after the last round, or drop the blocks",
    ),
)


def check_together(claims: Iterable[Claim]) -> None:
    """Refuse parts that do not go together.

    Args:
        claims: all parts of a plan with their traits.

    Raises:
        PlanError: names both parts and the reason.

    Example:
        >>> noise, budget = Claim("CentralGaussian", {Trait.NOISE}), Claim("Budget", {Trait.FINITE_BUDGET})
        >>> check_together([noise, budget])
        >>> check_together([Claim("no noise", {Trait.NO_NOISE}), budget])
        Traceback (most recent call last):
        fedavg.errors.PlanError: no noise does not go with Budget: a budget of epsilon needs noise: ...
    """
    all_claims = list(claims)
    having: dict[Trait, Claim] = {}
    for claim in all_claims:
        for trait in claim.traits:
            having.setdefault(trait, claim)
    for clash in CLASHES:
        one, other = having.get(clash.one), having.get(clash.other)
        if one is None or other is None or (clash.under_noise and Trait.NOISE not in having):
            continue
        raise PlanError(f"{one.name} does not go with {other.name}: {clash.why}")
