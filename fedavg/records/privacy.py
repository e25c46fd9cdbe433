"""What a run promises to one person or one record, and the plan of such a run; values without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dp.checks import is_a
from fedavg import checks
from fedavg.errors import PlanError
from fedavg.optimizers.server import FedMomentum
from fedavg.parts import Part, family_of
from fedavg.records.accounts import smallest_cap
from fedavg.records.clip import FixedClip, MedianClip
from fedavg.records.clipped.portions import Portions
from fedavg.sums.masked import SecAgg

if TYPE_CHECKING:
    from fedavg.losses.interface import Loss
    from fedavg.models.features.interface import FixedFeatures
    from fedavg.models.layout import Layout
    from fedavg.optimizers.server import ServerOptimizer
    from fedavg.records.clip import ClipRule
    from fedavg.robust.rules import RobustMean
    from fedavg.sums.interface import SecureSum

__all__ = ["RecordPlan", "RecordPrivacy"]

_LEAST_ROUNDING, _MOST_ROUNDING = 1e-6, 0.5
_MEDIAN = 0.5
_CLIPS = (1e-25, 1e25)  # a clip that moves is sent in float32
_ADAPTS = {"clip_lr": 0.2, "clip_noise": 0.01, "clip_span": 100.0}  # what an adaptive clip takes


class RecordPrivacy(Part, frozen=True, tag=False):
    """The promise to one unit of one silo, and how it is kept. All fields are public constants.

    A *unit* is one person or one record. At each step every silo draws its own units, each by a coin of the
    operating system. It computes the gradient of each drawn unit, clips it to the norm `clip`, adds the
    clipped gradients, rounds the sum to a grid, and adds noise. Only the secure sum over the silos is seen.

    Args:
        unit: "person" (every silo names the person of each row, and one coin is drawn for each person) or
            "record". There is no default: "record" states that every row is another person.
        rate: q, the probability of each coin, in (0, 1].
        clip: C, the bound on the Euclidean norm of one unit's gradient.
        max_units: public bound on the number of units of any silo. It is declared and never counted, since
            the number of a silo's units is private.
        epsilon: the budget of every silo's units against the server together with `colluders` silos.
            Infinite for an account without a limit.
        delta: the δ at which every ε is stated.
        noise_multiplier: standard deviation of the noise that counts towards the budget ÷ sensitivity. None
            calibrates it to `epsilon` over all steps.
        noise: "shared" (every silo adds a share, and the sum carries the claimed noise) or "own" (every silo
            adds the whole noise, so that the claim holds even if all other silos collude).
        local_steps: number of gradients in one sum. With shared noise it is 1, see docs/records.md.
        local_lr: learning rate of the steps within a silo; needed when there are several.
        colluders: c, the number of silos that are assumed to tell the server all that they know. None takes
            the secure sum's own number.
        rows: the largest number of rows that one person contributes to a gradient.
        combine: "mean" or "sum" of the losses of a person's rows.
        most: the largest number of units that a silo takes in one step, to which it pads its work. None
            takes the smallest number that costs less than a thousandth of δ.
        padded: whether a silo's work is padded to `most` units. Without padding its time shows how many
            units were drawn, and no ε covers that: it is for simulations, where nobody times a silo.
        clip_by: "unit" (a unit's whole gradient is shortened to C) or "layer" (the gradient of each of the
            model's L layers is shortened by itself, to C/√L, so that the whole is no longer than C).
        clip_quantile: ½ for a clip that follows the median of the units' norms, from `clip` on; None for a
            constant one. Other quantiles are refused: they need a count of the units, which is private.
        clip_lr: η: the clip is multiplied by e^(−η·b) after each step, for the mean b of ½ (shorter) and −½
            (longer) over the units. None takes 0.2; only with `clip_quantile`.
        clip_noise: share by which the noise grows, since each unit also tells which of both it is. None takes
            0.01; only with `clip_quantile`.
        clip_span: the clip stays between `clip` ÷ span and `clip` · span. None takes 100; only with
            `clip_quantile`.
        rounding: largest share by which rounding to the grid may enlarge the sensitivity.

    Raises:
        PlanError: a field is out of range, or fields do not fit together; the message names them.

    Example:
        >>> privacy = RecordPrivacy(unit="record", rate=0.01, clip=1.0, max_units=5000, epsilon=3.0)
        >>> privacy.noise, privacy.most_units(num_draws=100) < 200
        ('shared', True)
        >>> RecordPrivacy(  # doctest: +ELLIPSIS
        ...     unit="record", rate=0.01, clip=1.0, max_units=9, epsilon=3.0, local_steps=5, local_lr=0.1
        ... )
        Traceback (most recent call last):
        fedavg.errors.PlanError: noise='shared' takes one gradient a sum, not local_steps=5: ...
    """

    unit: Literal["person", "record"]
    rate: float
    clip: float
    max_units: int
    epsilon: float = math.inf
    delta: float = 1e-5
    noise_multiplier: float | None = None
    noise: Literal["shared", "own"] = "shared"
    local_steps: int = 1
    local_lr: float | None = None
    colluders: int | None = None
    rows: int = 1
    combine: Literal["mean", "sum"] = "mean"
    most: int | None = None
    padded: bool = True
    rounding: float = 1e-3
    clip_by: Literal["unit", "layer"] = "unit"
    clip_quantile: float | None = None
    clip_lr: float | None = None
    clip_noise: float | None = None
    clip_span: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.positive_fraction("rate", self.rate)
        checks.plan.positive("clip", self.clip)
        checks.plan.positive_or_infinite("epsilon", self.epsilon)
        checks.plan.proper_fraction("delta", self.delta)
        for name in ("max_units", "local_steps", "rows"):
            checks.plan.whole(name, getattr(self, name))
        for name, floor in (("colluders", 0), ("most", 1)):
            if getattr(self, name) is not None:
                checks.plan.whole(name, getattr(self, name), floor)
        if self.noise_multiplier is not None:
            checks.plan.positive("noise_multiplier", self.noise_multiplier)
        elif math.isinf(self.epsilon):
            raise PlanError(
                "give a finite epsilon, to which noise is calibrated, or a noise_multiplier"
            )
        if not _LEAST_ROUNDING <= self.rounding <= _MOST_ROUNDING:
            raise PlanError(
                f"rounding must lie in {_LEAST_ROUNDING:g} … {_MOST_ROUNDING:g}, not {self.rounding!r}"
            )
        self._check_steps()
        self._check_unit()
        self._check_quantile()

    def _check_steps(self) -> None:
        if self.local_steps == 1:
            if self.local_lr is not None:
                raise PlanError("local_lr has no effect with one gradient a sum: leave it out")
            return
        if self.shares_noise:
            raise PlanError(
                f"noise='shared' takes one gradient a sum, not local_steps={self.local_steps}: later local "
                "steps react to the noise of earlier ones, so that a sum of noisy steps can carry less noise "
                "than is claimed (claimed ε 1.20, true 3.89). Take local_steps=1 and larger batches, or "
                "noise='own'"
            )
        if self.local_lr is None:
            raise PlanError("local_steps > 1 needs local_lr, the learning rate within a silo")
        checks.plan.positive("local_lr", self.local_lr)

    def _check_unit(self) -> None:
        if not self.by_person and (self.rows > 1 or self.combine != "mean"):
            what = f"rows={self.rows}" if self.rows > 1 else f"combine={self.combine!r}"
            raise PlanError(
                f"{what} is about the rows of one person, and unit='record' states that every row is another "
                "person. If a person can have several rows, take unit='person' and name the person of each "
                "row; otherwise leave rows and combine out"
            )

    def _check_quantile(self) -> None:
        options = [name for name in _ADAPTS if getattr(self, name) is not None]
        if self.clip_quantile is None:
            if options:
                raise PlanError(
                    f"{', '.join(options)} has no effect on a constant clip: leave it out, or take "
                    "clip_quantile=0.5"
                )
            return
        checks.plan.proper_fraction("clip_quantile", self.clip_quantile)
        if self.clip_quantile != _MEDIAN:
            raise PlanError(
                f"clip_quantile={self.clip_quantile:g}: only 0.5 is offered. Units tell whether they are "
                "shorter or longer than the clip by ½ and −½, which cancel at the median for any number of "
                "units. For another quantile the sum must be compared with the number of units that were "
                "drawn, which is private; with a public guess of it the clip would settle elsewhere"
            )
        if self.local_steps > 1:
            raise PlanError(
                f"clip_quantile needs one gradient a sum, not local_steps={self.local_steps}: an update of "
                "several steps does not tell the server which units were shorter"
            )
        for name in options:
            checks.plan.positive(name, getattr(self, name))
        rule = self._median_clip()
        for name, value, low, high in (
            ("clip_lr", rule.rate, 0.0, 2.0),
            ("clip_noise", rule.noise_share, 1e-6, 1.0),
            ("clip_span", rule.span, 1.0, 1e6),
            ("clip", self.clip, *_CLIPS),
        ):
            if not low <= value <= high:
                raise PlanError(
                    f"{name} must lie in {low:g} … {high:g} with clip_quantile, not {value:g}"
                )

    @property
    def clipping(self) -> ClipRule:
        """How long a unit's gradient may be: always C, or as long as the median of the norms."""
        return FixedClip(self.clip) if self.clip_quantile is None else self._median_clip()

    def _median_clip(self) -> MedianClip:
        given = {name: getattr(self, name) for name in _ADAPTS}
        rate, share, span = (
            usual if given[name] is None else float(given[name]) for name, usual in _ADAPTS.items()
        )
        return MedianClip(self.clip, rate=rate, noise_share=share, span=span)

    @property
    def by_person(self) -> bool:
        """Whether one coin is drawn for each person, with all of the person's rows."""
        return self.unit == "person"

    @property
    def label(self) -> str:
        """The name of a run's charges in a ledger: it says whose loss they are."""
        return f"records, per {self.unit}"

    @property
    def shares_noise(self) -> bool:
        """Whether the claimed noise is that of several silos together."""
        return self.noise == "shared"

    def portions(self, layout: Layout) -> Portions:
        """What of a gradient is shortened by itself."""
        return {"unit": Portions.whole, "layer": Portions.by_layer}[self.clip_by](layout)

    def most_units(self, num_draws: int) -> int:
        """b_max, the largest number of units that a silo takes in one draw.

        Args:
            num_draws: number of draws of the whole run, over which the probability of more is summed.
        """
        if self.most is not None:
            return min(self.most, self.max_units)
        return smallest_cap(self.rate, self.max_units, self._tail(num_draws))

    def _tail(self, num_draws: int) -> float:
        """The probability of a larger draw that costs at most a thousandth of δ over the whole run."""
        # A failure of probability p costs (1 + e^ε)·p of δ (docs/privacy.md §7).
        exponent = min(self.epsilon, 30.0)
        return self.delta / 1000 / num_draws / (1 + math.exp(exponent))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan:
    """All decisions of a run that protects units of silos.

    Args:
        privacy: the promise, and how it is kept.
        steps: T, the number of sums.
        divisor: the public number by which the sum of a step's gradients is divided, such as the rate times
            a declared number of units in all silos. It must not be computed from counts of rows.
        secure_sum: any secure sum. Its own `dropout_rate` says how many silos may be missing from a sum; the
            default tolerates none.
        server_optimizer: applied to minus the mean gradient, or with several local steps to the mean update.
        robust: how the means of groups are combined, each of which has a secure sum of its own, such as
            `MedianOfGroups(3)`; None takes one sum of all silos.
        loss: the loss of each record; None takes the one that fits the labels.
        micro_batch: the largest number of units that go through the model at once, in bounded memory. A
            silo's units are divided into micro-batches as evenly as possible.
        features: fixed public features, such as `Scattering()`, which every silo computes once for each row.
            The model then takes features in place of examples.

    Raises:
        PlanError: a value is out of range.

    Example:
        >>> privacy = RecordPrivacy(unit="record", rate=0.01, clip=1.0, max_units=5000, epsilon=3.0)
        >>> plan = RecordPlan(privacy=privacy, steps=100, divisor=200.0)
        >>> plan.secure_sum.min_survivors(10)  # no silo may be missing
        10
    """

    privacy: RecordPrivacy
    steps: int
    divisor: float
    secure_sum: SecureSum = SecAgg(dropout_rate=0.0)
    server_optimizer: ServerOptimizer = FedMomentum()  # noqa: RUF009 - a frozen part
    robust: RobustMean | None = None
    loss: Loss | None = None
    micro_batch: int = 128
    features: FixedFeatures | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", checks.plan.whole("steps", self.steps))
        object.__setattr__(self, "divisor", checks.plan.positive("divisor", self.divisor))
        if self.robust is not None and family_of(self.robust) != "robust":
            raise PlanError(
                "robust must be a rule over groups such as MedianOfGroups(3), or None, not "
                f"{self.robust!r:.80}"
            )
        size = checks.plan.whole("micro_batch", self.micro_batch)
        object.__setattr__(self, "micro_batch", size)
        if self.features is not None and not is_a(self.features, Part):
            raise PlanError(
                "features is a part such as fedavg.Scattering(), or None, not "
                f"{type(self.features).__name__}"
            )

    @property
    def num_draws(self) -> int:
        """Number of draws of a silo in the whole run."""
        return self.steps * self.privacy.local_steps
