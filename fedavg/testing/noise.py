"""The contract of a noise: independent integers of the stated strength, with an accounted cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dp import Accountant, NoSampling
from fedavg.errors import PlanError
from fedavg.privacy.noise import Sensitivity, Shares, guaranteed_variance
from fedavg.testing.parts import check_travels, require

if TYPE_CHECKING:
    from fedavg.privacy.noise import Noise

__all__ = ["NoiseContract"]

_DRAWS = 200_000
_SIGMAS = 5.5  # two-sided 3.8e-8 for one Gaussian comparison; each test makes at most five


class NoiseContract:
    """Tests of a noise: inherit it, and let `part` return your noise with a noise multiplier of about 1.

    Statistical tests draw 200,000 integers; each fails for correct noise with a probability below 1e-6.  The
    suite cannot show that `event` states the true cost: compare that with a known answer.

    Example:
        >>> from fedavg import DistributedSkellam
        >>> class Half(DistributedSkellam, frozen=True, tag="half-noise-example"):
        ...     def sample(self, stddev, size):
        ...         return super().sample(stddev / 2, size)
        >>> class TestHalf(NoiseContract):
        ...     def part(self):
        ...         return Half(1.0)
        >>> TestHalf().test_draws_are_integers_of_the_stated_strength()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: asked for a standard deviation of 3, got 1...
    """

    sensitivity = Sensitivity(l2=500.0, l1=500.0 * math.sqrt(64), dimension=64)
    """Sensitivity of the updates whose cost is computed, in grid units."""

    shares = Shares(honest_fraction=0.5, cap=20)

    def part(self) -> Noise:
        """Return the noise to test."""
        raise PlanError("noise suite: define part(self), which returns the noise to test")

    def test_it_travels_in_a_plan(self) -> None:
        """A plan with the noise has a digest and can be rebuilt in another process."""
        check_travels("noise", self.part())

    def test_draws_are_integers_of_the_stated_strength(self) -> None:
        """Check mean and variance, for a kurtosis of at most 3 + 1/σ²."""
        for stddev in (3.0, 50.0):
            drawn = self.part().sample(stddev, _DRAWS)
            require(drawn.dtype == np.int64 and drawn.shape == (_DRAWS,), "draws are int64[size]")
            values = drawn.astype(np.float64)
            mean, power = float(values.mean()), float((values**2).mean())
            require(abs(mean) < _SIGMAS * stddev / math.sqrt(_DRAWS), f"the mean is {mean:.3g}")
            spread = stddev**2 * math.sqrt((2 + 1 / stddev**2) / _DRAWS)
            least, most = stddev**2 - _SIGMAS * spread, stddev**2 + 0.25 + _SIGMAS * spread
            inside = least < power < most  # rounding may add up to a quarter
            require(
                inside, f"asked for a standard deviation of {stddev:g}, got {math.sqrt(power):.4g}"
            )

    def test_every_draw_is_fresh(self) -> None:
        """Two draws are not correlated."""
        # Two draws from one repeated key would have correlation 1.
        one, other = (self.part().sample(50.0, _DRAWS).astype(np.float64) for _ in range(2))
        found = float((one * other).mean()) / 2500.0
        require(
            abs(found) < _SIGMAS / math.sqrt(_DRAWS) * 1.01,
            f"two draws have correlation {found:.3g}",
        )

    def test_tails_are_bounded(self) -> None:
        """A magnitude that noise exceeds with probability e^−7 is exceeded no more often."""
        noise, probability = self.part(), math.exp(-7)
        bound = noise.tail(2500.0, 7.0)
        beyond = int((np.abs(noise.sample(50.0, _DRAWS)) > bound).sum())
        expected = _DRAWS * probability
        # The added 10 allows for small counts, where the normal approximation is poor.
        most = expected + _SIGMAS * math.sqrt(expected) + 10
        require(
            beyond <= most, f"{beyond} of {_DRAWS:,} draws exceed a bound made for {expected:.0f}"
        )

    def test_more_noise_costs_less(self) -> None:
        """The accountant accepts the event; ε is positive and finite, and falls with the noise."""
        found: list[float] = []
        for multiplier in (1.0, 2.0, 4.0):
            noise = self.part().at(multiplier)
            require(noise.noise_multiplier == multiplier, "`at` returns noise of another strength")
            event = noise.event(self.sensitivity, self.shares, NoSampling())
            # The upper end is compared, which is what a plan would certify.
            found.append(Accountant().compose(event).upper_epsilon(1e-5))
        falls = math.inf > found[0] > found[1] > found[2] > 0
        require(falls, f"epsilon is {found} at noise multipliers 1, 2 and 4")

    def test_the_guaranteed_variance_covers_the_claim(self) -> None:
        """The honest survivors add at least the claimed variance."""
        noise = self.part()
        claimed = (noise.noise_multiplier * self.sensitivity.l2) ** 2
        require(noise.held_back >= 0, "`held_back` is negative")
        require(
            guaranteed_variance(noise, self.sensitivity) >= claimed,
            "less than the claimed variance is added",
        )
