"""The clip of a run: a constant, or one that follows the median of the units' norms from public sums alone.

With `MedianClip` each unit adds one more coordinate to its clipped gradient: about ½ if the gradient is
shorter than the clip C, and about −½ if it is longer. At the median these cancel, for any number of units, so
that no count is needed. The coordinate is under the same secure sum and the same noise as the gradient, and
its length is part of the sensitivity (Andrew, Thakkar, McMahan, Ramaswamy 2021, arXiv 1905.03871).

Gradients are divided by C before they are rounded: then one unit's vector is as long at every C, and so are
the grid, the range and the noise. Privacy therefore does not depend on who says what C is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClipRule", "FixedClip", "MedianClip"]

_MOST_SHARE = 0.5  # of the units, that a step's sum may say are too many on one side


class ClipRule(Protocol):
    """How long a unit's gradient may be, and what a silo's vector holds beside it."""

    @property
    def start(self) -> float:
        """The clip of the first step."""
        ...

    @property
    def largest(self) -> float:
        """The largest clip of any step; public."""
        ...

    @property
    def coordinates(self) -> int:
        """Number of coordinates of a unit's vector beside its gradient, and of numbers beside the model."""
        ...

    @property
    def gradient_length(self) -> float:
        """Largest norm of the gradient's part of one unit's vector."""
        ...

    @property
    def unit_length(self) -> float:
        """Largest norm of one unit's whole vector: the sensitivity before rounding."""
        ...

    def sent(self, clip: float) -> NDArray[np.float32]:
        """The numbers that the server sends after the model, float32[coordinates]."""
        ...

    def given(self, numbers: NDArray[np.floating]) -> float:
        """The clip that the server sent.

        Raises:
            LocalProtocolError: it is out of the public range.
        """
        ...

    def vector(self, total: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
        """The vector that a silo rounds, of its sum of clipped gradients and, after it, of its balance."""
        ...

    def gradient_units(self, clip: float) -> float:
        """Units of gradients in one unit of the vector."""
        ...

    def moved(self, clip: float, balance: NDArray[np.float64]) -> float:
        """The next step's clip, by what a step's mean vector holds after the gradient."""
        ...

    def told(self, stddev: float) -> str:
        """What a clip that moves does and costs, in one sentence; "" for a constant one.

        Args:
            stddev: standard deviation of the noise on a coordinate of a step's mean vector.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedClip:
    """A constant clip: a `ClipRule`.

    Args:
        start: C.

    Example:
        >>> FixedClip(0.5).unit_length, FixedClip(0.5).coordinates
        (0.5, 0)
    """

    start: float

    @property
    def largest(self) -> float:
        """C."""
        return self.start

    @property
    def coordinates(self) -> int:
        """None beside the gradient."""
        return 0

    @property
    def gradient_length(self) -> float:
        """C."""
        return self.start

    @property
    def unit_length(self) -> float:
        """C."""
        return self.start

    def sent(self, clip: float) -> NDArray[np.float32]:
        """Nothing: the clip is part of the plan."""
        del clip
        return np.empty(0, np.float32)

    def given(self, numbers: NDArray[np.floating]) -> float:
        """C."""
        del numbers
        return self.start

    def vector(self, total: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
        """The sum itself."""
        del clip
        return total

    def gradient_units(self, clip: float) -> float:
        """The vector is in units of gradients."""
        del clip
        return 1.0

    def moved(self, clip: float, balance: NDArray[np.float64]) -> float:
        """The same clip."""
        del balance
        return clip

    def told(self, stddev: float) -> str:
        """Nothing."""
        del stddev
        return ""


@dataclass(frozen=True, slots=True)
class MedianClip:
    """A clip that follows the median of the norms of units: a `ClipRule`.

    Args:
        start: the clip of the first step.
        rate: η: a step multiplies the clip by e^(−η·b), for the mean b of the units' ±½.
        noise_share: share by which the coordinate beside the gradient lengthens a unit's vector, and so the
            noise.
        span: the clip stays between start ÷ span and start · span.

    Example:
        >>> rule = MedianClip(1.0, rate=0.2, noise_share=0.01, span=100.0)
        >>> round(rule.weight, 3), round(rule.unit_length, 6)
        (0.284, 1.01)
        >>> round(rule.moved(1.0, rule.vector(np.array([0.0, -50.0]), 1.0)[1:] / 100), 4)  # all are longer
        1.1052
    """

    start: float
    rate: float
    noise_share: float
    span: float

    @property
    def weight(self) -> float:
        """The factor of the ±½: a unit's vector with it is 1 + noise_share times as long as without."""
        return 2 * math.sqrt((1 + self.noise_share) ** 2 - 1)

    @property
    def smallest(self) -> float:
        """The smallest clip of any step."""
        return self.start / self.span

    @property
    def largest(self) -> float:
        """The largest clip of any step."""
        return self.start * self.span

    @property
    def coordinates(self) -> int:
        """The ±½."""
        return 1

    @property
    def gradient_length(self) -> float:
        """1: gradients are divided by the clip."""
        return 1.0

    @property
    def unit_length(self) -> float:
        """The norm of a gradient of length 1 with ½ of the weight beside it, rounded up."""
        return math.hypot(self.gradient_length, self.weight / 2) * (1 + 2.0**-48)

    def sent(self, clip: float) -> NDArray[np.float32]:
        """The clip."""
        return np.array([clip], np.float32)

    def given(self, numbers: NDArray[np.floating]) -> float:
        """See `ClipRule.given`."""
        clip = float(numbers[0])
        # The sum is as private at any clip; one out of range would give nothing to learn from.
        low, high = self.sent(self.smallest), self.sent(self.largest)
        if not float(low[0]) <= clip <= float(high[0]):
            raise LocalProtocolError(
                f"the server's clip {clip:g} is not within {self.smallest:g} … {self.largest:g}"
            )
        return clip

    def vector(self, total: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
        """The sum in units of the clip, and the weighted sum of the ±½."""
        found = total / clip
        found[-1] = total[-1] * self.weight
        return found

    def gradient_units(self, clip: float) -> float:
        """The vector is in units of the clip."""
        return clip

    def moved(self, clip: float, balance: NDArray[np.float64]) -> float:
        """The clip, multiplied by e^(−η·b); in float32, as it is sent."""
        share = float(np.clip(balance[0] / self.weight, -_MOST_SHARE, _MOST_SHARE))
        next_clip = clip * math.exp(-self.rate * share)
        return float(self.sent(min(max(next_clip, self.smallest), self.largest))[0])

    def told(self, stddev: float) -> str:
        """See `ClipRule.told`."""
        return (
            f"the clip follows the median of the norms, from {self.start:g} on and within "
            f"{self.smallest:g} … {self.largest:g}; the noise is {self.unit_length - 1:.1%} longer for it, "
            f"and each step's share of shorter units is known up to a standard deviation of "
            f"{stddev / self.weight:.1%}"
        )
