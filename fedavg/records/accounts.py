"""The three accounts of a run, and the noise that the last of them needs; numbers only.

Let n silos take part in a sum, of which d may be missing and c tell the server all that they know. Every silo
adds noise of variance V/(n − d − c), with V = (z·Δ)² + the variance that the theorem holds back. Then the
honest silos that are guaranteed to be in the sum add V together. An observer of the models, or the server
alone, knows no silo's noise, so that n − d shares count for them; against the server with c silos n − d − c
do. The silos' coins are independent of one another and seen by nobody, so that all three are sums over a
Poisson sample of the union of the silos' units (docs/records.md).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dp import (
    SAMPLER_TV_ERROR,
    Accountant,
    FailureEvent,
    InvalidParameterError,
    TruncatedPoissonSampling,
    calibrate_noise_multiplier,
)
from fedavg.errors import PlanError
from fedavg.privacy.noise import DistributedGaussian, Sensitivity, Shares, guaranteed_variance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.privacy.noise import Event

__all__ = ["Epsilons", "NoiseAccount", "calibrated", "smallest_cap"]

_TRIES, _STEP = 50, 1e-4
_FOR_FAILURES = 0.1  # largest part of δ that failures may take
_USUAL = 30.0  # the padding that is chosen for a plan leaves room for any ε up to this


def smallest_cap(rate: float, units: int, tail: float) -> int:
    """The smallest number that a draw of `units` coins exceeds with at most the probability `tail`.

    Example:
        >>> smallest_cap(0.5, 10, 1e-9), smallest_cap(0.01, 5000, 1e-9)
        (10, 98)
    """
    candidates = range(1, units)
    # Halving, since the inverse of the tail loses its digits below 1e-16.
    short = bisect_left(
        candidates, -tail, key=lambda cap: -TruncatedPoissonSampling(rate, units, cap).failure
    )
    return candidates[short] if short < len(candidates) else units


@dataclass(frozen=True, slots=True)
class Epsilons:
    """The ε of one unit, towards three observers, at one δ.

    Args:
        release: towards an observer of the released models.
        server: towards the server, which sees every sum; None when it sees more than sums.
        colluding: towards the server together with `colluders` silos; None when it sees more than sums.
            This is the number that the budget bounds.
        colluders: c.
        delta: δ.

    Example:
        >>> Epsilons(2.7, 2.7, 3.0, colluders=1, delta=1e-5).colluding
        3.0
    """

    release: float
    server: float | None
    colluding: float | None
    colluders: int
    delta: float


@dataclass(frozen=True, slots=True)
class NoiseAccount:
    """Noise and cost of one silo's vector among others.

    Args:
        noise_multiplier: z, for the budget's observer.
        sensitivity: how far one unit moves the sum, in grid units.
        sampling: the coins of one draw.
        draws: number of noisy gradients in one vector: each is charged.
        silos: largest number of silos in a sum, n.
        missing: number of silos that may be missing from a sum of n, d.
        colluders: c.
        alone: whether every silo adds the whole noise, so that no other silo's noise counts for the budget.
    """

    noise_multiplier: float
    sensitivity: Sensitivity
    sampling: TruncatedPoissonSampling
    draws: int
    silos: int
    missing: int
    colluders: int
    alone: bool

    @property
    def noise(self) -> DistributedGaussian:
        """The noise at the budget's strength."""
        return DistributedGaussian(self.noise_multiplier)

    def counted(self, roster: int) -> int:
        """Number of shares that the budget's observer does not know."""
        return 1 if self.alone else roster - self.missing - self.colluders

    def share_variance(self, roster: int) -> float:
        """Variance of one silo's noise, in grid units."""
        return guaranteed_variance(self.noise, self.sensitivity) / self.counted(roster)

    def share_stddev(self, roster: int) -> float:
        """Standard deviation of one silo's noise, in grid units."""
        return math.sqrt(self.share_variance(roster))

    def budget_event(self) -> Event:
        """Cost of one noisy gradient for the budget: the same for every roster."""
        return self._event(self.counted(self.silos), self.silos)

    def failure(self, sums: int) -> FailureEvent:
        """Probability, over so many sums, of what the theorems exclude: the errors of samplers' tables."""
        each = self.silos * self.sensitivity.dimension * SAMPLER_TV_ERROR
        return FailureEvent(min(1.0, sums * self.draws * each))

    def _event(self, shares: int, roster: int) -> Event:
        """The event of one noisy gradient for an observer that does not know so many shares."""
        visible = shares * self.share_variance(roster) - self.noise.held_back
        if visible <= 0:
            raise PlanError("the shares are too small for this noise; lower rounding")
        seen = self.noise.at(math.sqrt(visible) / self.sensitivity.l2)
        part = Shares(shares / roster, self.silos)
        return seen.event(self.sensitivity, part, self.sampling)

    def spent(self, rosters: Mapping[int, int], *, colluders: int) -> Accountant:
        """The account of some sums towards an observer that knows the noise of `colluders` silos.

        Args:
            rosters: number of sums for each size of the roster, those without a result included.
            colluders: number of silos whose noise the observer knows.
        """
        account = Accountant()
        for roster, count in rosters.items():
            shares = roster - self.missing - colluders
            # Several noisy gradients are added within a silo, so that others' noise does not hide them.
            if self.draws > 1 or shares < self.counted(roster):
                shares = self.counted(roster)
            account = account.compose(self._event(shares, roster), count * self.draws)
        return account.compose(self.failure(sum(rosters.values())))

    def budget_account(self, sums: int) -> Accountant:
        """The account of so many sums, as a silo's ledger counts them."""
        account = Accountant().compose(self.budget_event(), sums * self.draws)
        return account.compose(self.failure(sums))


def calibrated(account: NoiseAccount, epsilon: float, delta: float, sums: int) -> float:
    """A noise multiplier whose certified ε over all sums is within the budget, and nearly all of it.

    Args:
        account: all but its noise multiplier is used.
        epsilon: the budget.
        delta: δ.
        sums: number of sums.

    Raises:
        PlanError: no noise reaches the budget, or no ε as large as this can be certified.
    """
    _check_certifiable(account, epsilon, delta, sums)
    try:
        found = calibrate_noise_multiplier(
            epsilon, delta, sampling=account.sampling, steps=sums * account.draws
        )
    except InvalidParameterError as error:
        raise PlanError(
            f"no noise reaches epsilon={epsilon:g} at delta={delta:g} over {sums} sums ({error}): raise "
            "most, which bounds the units of a draw, or take fewer steps"
        ) from error
    # The shares' distance from one Gaussian, and the samplers' tables, add a little to the Gaussian's ε.
    for _ in range(_TRIES):
        tried = replace(account, noise_multiplier=found)
        if tried.budget_account(sums).upper_epsilon(delta) <= epsilon:
            return found
        found *= 1 + _STEP
    raise PlanError(
        f"no noise reaches epsilon={epsilon:g} on this grid: lower rounding, which makes the grid finer"
    )


def _check_certifiable(account: NoiseAccount, epsilon: float, delta: float, sums: int) -> None:
    """Refuse a budget at which what the theorems exclude costs more than a tenth of δ.

    A failure of probability p costs (1 + e^ε)·p of δ. Beyond some ε it costs all of δ: less noise then has
    no finite ε at all, and a search for the budget's noise would look for it in vain, for minutes.
    """
    draws = account.sampling.failure * sums * account.draws
    failure = draws + account.failure(sums).probability
    room = _FOR_FAILURES * delta / failure - 1 if failure else math.inf
    if room > 0 and epsilon <= math.log(room):
        return
    most = account.sampling.max_size
    largest = math.floor(10 * math.log(room)) / 10 if room > 1 else 0.0
    if largest >= _USUAL:
        raise PlanError(
            f"epsilon={epsilon:g} is more than can be certified at delta={delta:g}: a draw of more than "
            f"{most} units, or an error of a sampler, has the probability {failure:.1g} over {sums} sums "
            f"and costs e^epsilon times that of delta. Take epsilon={largest:g} or less. To try out weaker "
            "noise without such a bound, give noise_multiplier, and epsilon=inf"
        )
    raise PlanError(
        f"no noise reaches epsilon={epsilon:g} at delta={delta:g} over {sums} sums: with the probability "
        f"{failure:.1g} a draw has more than most={most} units, or a sampler errs, and this alone costs more "
        f"than a tenth of delta: raise most, which bounds the units of a draw, or take fewer steps"
    )
