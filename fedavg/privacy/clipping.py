"""Adaptive clipping in a plan: its initial clip norm, its quantile, and its share of the noise."""

from __future__ import annotations

from dp import AdaptiveClipper, InvalidParameterError, bit_weight
from fedavg import checks
from fedavg.errors import PlanError
from fedavg.parts import Part, Trait, register

__all__ = ["AdaptiveClipping"]

_COHORT_PER_STDDEV = 20  # Andrew et al. 2021, §3.1: noise on the count of a twentieth of the cohort


@register("clipping")
class AdaptiveClipping(Part, frozen=True, tag="adaptive"):
    """A clip norm that follows a quantile of the updates' norms (Andrew et al. 2021).

    Each client's vector gets one more private coordinate, which says whether its update was within the clip
    norm.  It is under the same secure sum, noise and event, and its length is part of the sensitivity.

    Args:
        initial: clip norm of the first round; None takes the encoding's.
        quantile: fraction of the clients whose updates should not be shortened.
        learning_rate: largest change of the logarithm of the clip norm in one round.
        bit_stddev: standard deviation of the noise on the number of clients within the clip norm; None takes
            the expected cohort ÷ 20.  It must exceed half the noise multiplier.

    Example:
        >>> AdaptiveClipping(quantile=0.8).clipper(0.5).clip_norm
        0.5
    """

    initial: float | None = None
    quantile: float = 0.5
    learning_rate: float = 0.2
    bit_stddev: float | None = None

    @property
    def traits(self) -> frozenset[Trait]:
        """States that the clip norm follows the norms of whole updates."""
        return frozenset({Trait.ADAPTS_CLIP})

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            # The clipper checks quantile and rate itself; a clip norm of 1 stands in for the encoding's.
            self.clipper(1.0)
        except InvalidParameterError as error:
            raise PlanError(f"adaptive clipping: {error}") from error
        if self.bit_stddev is not None:
            checks.plan.positive("bit_stddev", self.bit_stddev)

    def clipper(self, default: float) -> AdaptiveClipper:
        """The clipper of the first round."""
        start = default if self.initial is None else self.initial
        return AdaptiveClipper(start, self.quantile, self.learning_rate)

    def bit_units(self, l2: float, noise_multiplier: float, expected_cohort: float) -> int:
        """Grid units by which a client says "within" (plus) or "beyond" (minus); at least 1.

        Args:
            l2: sensitivity of the encoded update, in grid units.
            noise_multiplier: noise multiplier of the joint release.
            expected_cohort: public expected size of a cohort.

        Raises:
            PlanError: the count would use up the whole budget.
        """
        stddev = self.bit_stddev
        if stddev is None:
            stddev = expected_cohort / _COHORT_PER_STDDEV
        try:
            # Whole units keep the bit on the grid; the sensitivity is computed from the rounded number.
            return max(1, round(l2 * bit_weight(noise_multiplier, stddev)))
        except InvalidParameterError as error:
            raise PlanError(f"adaptive clipping: {error}, or enlarge the cohort") from error
