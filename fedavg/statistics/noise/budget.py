"""The budget of one release of statistics: its noise, and ε for each who may look."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from dp import Accountant, InvalidParameterError, NoSampling, calibrate_noise_multiplier
from fedavg import checks
from fedavg.errors import PlanError
from fedavg.privacy.noise import DistributedGaussian, Shares

if TYPE_CHECKING:
    from dp import Event
    from fedavg.privacy.noise import Noise, Sensitivity

__all__ = ["Chargeable", "Priced", "PrivacyBudget", "priced"]

_TRIES = 200
_STEP = 1.01
_FINEST = (2.0**21, 2.0**14)  # below the ends of the samplers of this package


class Chargeable(Protocol):
    """A ledger: `dp.Ledger` or `dp.SharedLedger`."""

    def charge(self, event: Event, count: int = 1, *, label: str = "") -> None:
        """Record releases that are about to be made, or refuse."""
        ...


@dataclass(frozen=True, slots=True)
class PrivacyBudget:
    """What the statistics of all columns together may cost one unit.

    Args:
        epsilon: ε against the server together with the colluding silos, > 0; for those who only see the
            result it is smaller.
        delta: δ, in (0, 1); far below 1 ÷ units.
        colluders: c, the silos that may tell the server what they know; None for the number that the secure
            sum assumes.
        noise: a distributed noise; its own strength is replaced by the one that ε needs.

    Raises:
        PlanError: a value is out of range, or the server would add the noise.

    Example:
        >>> PrivacyBudget(epsilon=1.0, delta=1e-6).noise.kind
        'gaussian'
    """

    epsilon: float
    delta: float
    colluders: int | None = None
    noise: Noise = field(default_factory=lambda: DistributedGaussian(1.0))

    def __post_init__(self) -> None:
        checks.plan.positive("epsilon", self.epsilon)
        checks.plan.proper_fraction("delta", self.delta)
        if self.colluders is not None:
            checks.plan.whole("colluders", self.colluders, 0)
        if not self.noise.distributed:
            raise PlanError(
                f"noise {self.noise.kind!r} is added by the server, which would see the sums without it: "
                "choose a distributed noise, such as DistributedGaussian"
            )

    def finest(self) -> float:
        """The largest standard deviation in grid units, out of a few, that the noise can be drawn with.

        Raises:
            PlanError: the noise takes none of them.
        """
        for finest in _FINEST:
            with suppress(InvalidParameterError):
                # A draw of nothing checks the range.
                self.noise.sample(finest, 0)
                return finest
        raise PlanError(
            f"noise {self.noise.kind!r} cannot be drawn with a standard deviation of {_FINEST[-1]:g}"
        )

    def start(self) -> float:
        """The noise multiplier of one Gaussian release, before the cost of the shares' own distribution."""
        return calibrate_noise_multiplier(self.epsilon, self.delta, sampling=NoSampling(), steps=1)


@dataclass(frozen=True, slots=True)
class Priced:
    """The noise of a release and its cost.

    Args:
        noise: the noise at the strength z that remains against the server with the colluding silos.
        event: what a ledger is charged: the release as those see it.
        honest_fraction: (n − c) ÷ n, the part of the noise that they do not know.
        epsilon: ε against the server with c silos.
        epsilon_release: ε for who sees the result, and for the server alone: all shares of noise are left.
        epsilon_two_silos: `epsilon`, for a unit with rows in two silos; it moves the sum twice as far.
    """

    noise: Noise
    event: Event
    honest_fraction: float
    epsilon: float
    epsilon_release: float
    epsilon_two_silos: float


def priced(budget: PrivacyBudget, sensitivity: Sensitivity, silos: int, colluders: int) -> Priced:
    """Find the noise that fits a budget.

    Args:
        budget: ε and δ.
        sensitivity: of the whole vector, in grid units.
        silos: n.
        colluders: c.

    Raises:
        PlanError: no silo would be left that keeps its noise to itself, or no noise fits.
    """
    if colluders >= silos:
        raise PlanError(
            f"of {silos} silos {colluders} may collude with the server: none is left whose noise protects "
            "the sums; name fewer colluders or more silos"
        )
    honest = (silos - colluders) / silos
    shares = Shares(honest, cap=silos)

    def epsilon_at(multiplier: float, silos_of_unit: int = 1) -> float:
        # A unit with rows in two silos moves the sum twice as far under the same noise.
        moved = replace(
            sensitivity, l2=silos_of_unit * sensitivity.l2, l1=silos_of_unit * sensitivity.l1
        )
        event = budget.noise.at(multiplier / silos_of_unit).event(moved, shares, NoSampling())
        return Accountant().compose(event).epsilon(budget.delta).high

    multiplier = budget.start()
    for _ in range(_TRIES):
        # A sum of shares is no exact Gaussian, and its event may cost a little more than one.
        if epsilon_at(multiplier) <= budget.epsilon:
            break
        multiplier *= _STEP
    else:
        raise PlanError(
            f"no {budget.noise.kind} noise gives ε = {budget.epsilon:g} at δ = {budget.delta:g} for these "
            "sums; raise delta or epsilon"
        )
    noise = budget.noise.at(multiplier)
    return Priced(
        noise=noise,
        event=noise.event(sensitivity, shares, NoSampling()),
        honest_fraction=honest,
        epsilon=epsilon_at(multiplier),
        epsilon_release=epsilon_at(multiplier / math.sqrt(honest)),
        epsilon_two_silos=epsilon_at(multiplier, 2),
    )
