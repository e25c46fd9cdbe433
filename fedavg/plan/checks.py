"""Combinations of parts that a plan refuses: one table of traits instead of a check for every pair.

Each part states what it does as traits (`fedavg.parts.Trait`).  A row of the table names two traits that one
plan must not have together, and the reason.  The existing rows also cover a new part that states its traits.
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
    """Two traits that must not occur together.

    Args:
        one: a trait of some part.
        other: a trait of another part, or of the same part.
        why: the reason, and what to do instead.
        under_noise: whether the row applies under differential privacy only.
    """

    one: Trait
    other: Trait
    why: str
    under_noise: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a plan with its traits, and the name by which messages refer to it."""

    name: str
    traits: frozenset[Trait]


_NO_DP_STATE = (
    "the state that clients keep depends on earlier cohorts, and in cohorts of fixed size the draw of "
    "one client says something about all others: no theorem that we know covers both; "
    "use PoissonCohort"
)
_WHOLE_MAP = (
    "a map of what to encrypt names parameters of the whole model, but this plan sends other "
    "coordinates: send the whole update, or encrypt everything"
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
        "for cohorts that are drawn once, and a draw that is repeated because too few clients came "
        "has another distribution; a skipped round stays skipped and charged (retries=0)",
    ),
    Clash(
        Trait.NOISE,
        Trait.RESIDUAL,
        "under differential privacy error feedback collects what clipping cuts off and sends these "
        "outdated directions later: measured, it costs accuracy (docs/algorithms.md); leave it out",
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
        "a budget of epsilon needs noise: choose a noise, or drop the budget",
    ),
    Clash(
        Trait.NO_NOISE,
        Trait.ADAPTS_CLIP,
        "adaptive clipping needs noise: without it nothing is clipped, and the counts that it "
        "uses would be private data in the clear; choose a noise, or drop clipping",
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
        "SCAFFOLD computes a client's mean gradient from its update, which only plain SGD steps "
        "allow: use optimizer='sgd' at the clients (any optimiser at the server)",
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
        "SCAFFOLD computes each client's mean gradient from its whole newest update, which random-k "
        "does not send: leave out one of the two (few-bit encodings go with both)",
    ),
    Clash(
        Trait.READS_GRADIENT,
        Trait.RESIDUAL,
        "SCAFFOLD computes each client's mean gradient from its newest update, to which error feedback "
        "adds older ones: leave out one of the two (few-bit encodings go with both)",
    ),
    Clash(
        Trait.READS_GRADIENT,
        Trait.BLOCKS,
        "SCAFFOLD's control variates are means over all clients for the whole model, but a client of "
        "blocks trains one block: use SCAFFOLD or blocks",
    ),
    Clash(
        Trait.PARTIAL_VECTOR,
        Trait.BLOCKS,
        "a client of blocks already sends a part of the model, a different one each round: random-k "
        "and error feedback do not go with blocks (few-bit encodings and downloads do)",
    ),
    Clash(
        Trait.RESIDUAL,
        Trait.BLOCKS,
        "a client of blocks already sends a part of the model, a different one each round: random-k "
        "and error feedback do not go with blocks (few-bit encodings and downloads do)",
    ),
    Clash(
        Trait.ADAPTS_CLIP,
        Trait.BLOCKS,
        "adaptive clipping follows the norm of an update of the whole model, and the norms of blocks "
        "differ: use one fixed clip norm for all blocks",
    ),
    Clash(
        Trait.OWN_MODEL,
        Trait.BLOCKS,
        "a client of blocks trains one block a round, but a model of its own would be trained "
        "as a whole: personalise by fine-tuning after the last round, or drop the blocks",
    ),
)


def check_together(claims: Iterable[Claim]) -> None:
    """Refuse a plan whose parts do not go together.

    Args:
        claims: all parts of the plan with their traits.

    Raises:
        PlanError: two parts do not go together; the message names both and the reason.

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
            # The first part with a trait is the one that a message names.
            having.setdefault(trait, claim)
    for clash in CLASHES:
        one, other = having.get(clash.one), having.get(clash.other)
        if one is None or other is None or (clash.under_noise and Trait.NOISE not in having):
            continue
        raise PlanError(f"{one.name} does not go with {other.name}: {clash.why}")
