"""The privacy budget before a run: ε from noise, noise from ε, and how they trade off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dp import (
    Accountant,
    DpError,
    FixedSizeSampling,
    NoSampling,
    PoissonSampling,
    calibrate_noise_multiplier,
)
from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.errors import PlanError
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
    Sensitivity,
    Shares,
    guaranteed_variance,
    share_stddev,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dp import Bracket
    from fedavg.privacy.noise import Event, Noise, Sampling

__all__ = ["MECHANISMS", "SAMPLINGS", "Answer", "Setting", "answer", "noise_for", "tradeoff"]

_Kind = DistributedGaussian | DistributedSkellam | DistributedDiscreteGaussian | CentralGaussian
_NOISES: dict[str, type[_Kind]] = {
    "gaussian": DistributedGaussian,
    "skellam": DistributedSkellam,
    "discrete-gaussian": DistributedDiscreteGaussian,
    "central-gaussian": CentralGaussian,
}
MECHANISMS = tuple(_NOISES)
SAMPLINGS = ("poisson", "fixed", "none")
_LARGEST_EPSILON, _LARGEST_NOISE = 1e4, 1e6


@dataclass(frozen=True, slots=True)
class Setting:
    """What a budget depends on, beside its noise.

    Args:
        rate: share of the clients that a round asks, in (0, 1]; 1 without sampling.
        rounds: releases.
        delta: None takes 1 ÷ (100 · clients).
        clients: size of the population.
        sampling: "poisson" (a coin a client), "fixed" (exactly rate · clients) or "none" (everybody).
        mechanism: a name of `MECHANISMS`.
        participations: rounds in which one client sends an update at most, for the server's view; None
            takes three standard deviations above the mean.
        parameters: of the model; noise on a grid depends on it a little.
        honest_fraction: share of a cohort that stays to the end and does not collude.

    Raises:
        PlanError: a value out of range, by name.

    Example:
        >>> Setting(rate=0.2, rounds=60).delta_used, Setting(rate=0.2, rounds=60).most_participations
        (1e-05, 22)
    """

    rate: float = 0.2
    rounds: int = 60
    delta: float | None = None
    clients: int = 1000
    sampling: str = "poisson"
    mechanism: str = "gaussian"
    participations: int | None = None
    parameters: int = 1970
    honest_fraction: float = 0.8

    def __post_init__(self) -> None:
        for name in ("rounds", "clients", "participations", "parameters"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise PlanError(f"{name} must be at least 1, not {value}")
        for name in ("rate", "honest_fraction"):
            share: float = getattr(self, name)
            if not 0 < share <= 1:
                raise PlanError(f"{name} must lie above 0 and at most at 1, not {share:g}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise PlanError(f"delta must lie between 0 and 1, not {self.delta:g}")
        _known("sampling", self.sampling, SAMPLINGS)
        _known("mechanism", self.mechanism, MECHANISMS)
        if self.sampling == "none" and self.rate != 1:
            raise PlanError(f"sampling 'none' asks everybody: leave the rate {self.rate:g} out")
        if self.participations is not None and self.participations > self.rounds:
            raise PlanError(
                f"a client cannot take part in {self.participations} of {self.rounds} rounds"
            )
        if self.cohort < 1:
            raise PlanError(
                f"a rate of {self.rate:g} among {self.clients} clients leaves no cohort: raise one of them"
            )

    @property
    def delta_used(self) -> float:
        """Given, or 1 ÷ (100 · clients)."""
        return 0.01 / self.clients if self.delta is None else self.delta

    @property
    def cohort(self) -> int:
        """Expected size of a cohort."""
        return round(self.rate * self.clients)

    @property
    def scheme(self) -> Sampling:
        """For the accountant."""
        if self.sampling == "none":
            return NoSampling()
        if self.sampling == "poisson":
            return PoissonSampling(self.rate)
        return FixedSizeSampling(self.cohort, self.clients)

    @property
    def most_participations(self) -> int:
        """Rounds in which one client takes part, nearly certainly at most."""
        if self.participations is not None:
            return self.participations
        mean = self.rate * self.rounds
        return min(self.rounds, math.ceil(mean + 3 * math.sqrt(mean * (1 - self.rate))))

    @property
    def shares(self) -> Shares:
        """How the noise is cut: cohorts vary by six standard deviations at most."""
        spread = 6 * math.sqrt(self.cohort) if self.sampling == "poisson" else 0.0
        return Shares(self.honest_fraction, min(self.clients, math.ceil(self.cohort + spread)))


def _known(name: str, value: str, names: Sequence[str]) -> None:
    if value not in names:
        raise PlanError(f"{name} {value!r} is none of {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Both epsilons of one setting at one noise.

    Args:
        setting: what was asked.
        noise_multiplier: standard deviation of the noise in a sum ÷ clip norm.
        release: ε for whoever sees the models, between proven bounds; the upper one is the claim.
        server: ε for the server, which knows each cohort; None when it sees sums without noise.
    """

    setting: Setting
    noise_multiplier: float
    release: Bracket
    server: float | None


def answer(setting: Setting, noise_multiplier: float, *, server: bool = True) -> Answer:
    """ε from noise.

    Args:
        setting: what else it depends on.
        noise_multiplier: > 0.
        server: leave the server's ε out where False, to save time.

    Raises:
        PlanError: a multiplier that is not positive.
        dp.DpError: a combination that no theorem covers.

    Example:
        >>> found = answer(Setting(rate=0.15, rounds=40, mechanism="central-gaussian"), 1.3)
        >>> 4.36 < found.release.high < 4.4, found.server
        (True, None)
    """
    noise = _NOISES[setting.mechanism](noise_multiplier)
    run = Accountant().compose(_event(setting, noise, setting.scheme), setting.rounds)
    seen = _server_epsilon(setting, noise) if server else None
    return Answer(setting, noise_multiplier, run.epsilon(setting.delta_used), seen)


def _grid(setting: Setting, noise: Noise) -> Sensitivity:
    """The coarsest grid on which every share of this noise is large enough for its theorem."""
    d = setting.parameters
    for bits in range(bits_for(d), 41):
        encoding = FixedPoint(1.0, bits)
        grid = Sensitivity(encoding.l2_sensitivity(d), encoding.l1_sensitivity(d), d)
        shares = setting.shares
        if (
            not noise.distributed
            or share_stddev(noise, grid, shares.honest_fraction, shares.cap) >= 2
        ):
            return grid
    raise PlanError("so little noise among so many clients needs a finer grid than there is")


def _event(setting: Setting, noise: Noise, scheme: Sampling) -> Event:
    return noise.event(_grid(setting, noise), setting.shares, scheme)


def _server_epsilon(setting: Setting, noise: Noise) -> float | None:
    """The server knows who takes part, and a client's own share does not protect it from the server."""
    if not noise.distributed:
        return None
    honest = setting.honest_fraction * setting.cohort
    grid = _grid(setting, noise)
    visible = guaranteed_variance(noise, grid) * (1 - 1 / honest) if honest > 1 else 0.0
    if visible <= noise.held_back:
        return None
    multiplier = math.sqrt(visible - noise.held_back) / grid.l2
    event = _event(setting, noise.at(multiplier), NoSampling())
    return Accountant().compose(event, setting.most_participations).epsilon(setting.delta_used).high


def noise_for(setting: Setting, epsilon: float) -> float:
    """Noise from ε: the smallest noise multiplier, to one part in 1,000, that keeps a release's ε.

    Raises:
        PlanError: an ε out of range, or out of reach.
        dp.DpError: a combination that no theorem covers.

    Example:
        >>> round(noise_for(Setting(sampling="none", rate=1.0, rounds=1), 1.0), 2)
        3.73
    """
    if not 0 < epsilon <= _LARGEST_EPSILON:
        raise PlanError(
            f"epsilon must lie above 0 and at most at {_LARGEST_EPSILON:g}, not {epsilon:g}"
        )

    def fits(multiplier: float) -> bool:
        return answer(setting, multiplier, server=False).release.high <= epsilon

    if isinstance(setting.scheme, FixedSizeSampling):
        high = 1.0
    else:
        high = calibrate_noise_multiplier(
            epsilon, setting.delta_used, sampling=setting.scheme, steps=setting.rounds
        )
        if fits(high):
            return high
        if fits(high * 1.001):  # a slack of the grid
            return high * 1.001
    low = high / 2
    while fits(low):
        low, high = low / 2, low
    while not fits(high):
        low, high = high, 2 * high
        if high > _LARGEST_NOISE:
            raise PlanError(f"no noise reaches epsilon={epsilon:g} in this setting")
    while high > low * 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def tradeoff(
    setting: Setting, noise_multiplier: float, *, points: int = 9
) -> tuple[tuple[Answer, ...], tuple[Answer, ...]]:
    """Answers around one noise multiplier, and answers along the rounds at that multiplier.

    Args:
        setting: what else ε depends on.
        noise_multiplier: the middle of the first curve, which spans a factor of 3 to either side.
        points: on the first curve, ≥ 2; the second has up to 10.

    Returns:
        By noise, rising; and by rounds, rising to the setting's own.
    """
    steps = [2 * k / (points - 1) - 1 for k in range(points)]
    by_noise = [_where_covered(setting, noise_multiplier * 3.0**step) for step in steps]
    marks = sorted({max(1, round(setting.rounds * k / 10)) for k in range(1, 11)})
    by_round = [
        _where_covered(
            replace(setting, rounds=rounds, participations=_part(setting, rounds)), noise_multiplier
        )
        for rounds in marks
    ]
    return tuple(a for a in by_noise if a), tuple(a for a in by_round if a)


def _where_covered(setting: Setting, noise_multiplier: float) -> Answer | None:
    """An answer, or None at the end of a curve that a theorem does not reach."""
    try:
        return answer(setting, noise_multiplier)
    except (DpError, PlanError):
        return None


def _part(setting: Setting, rounds: int) -> int | None:
    """A given limit on participations holds for shorter runs too."""
    return None if setting.participations is None else min(setting.participations, rounds)
