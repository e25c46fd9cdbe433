"""A silo's sum when some unit's gradient cannot be computed: that unit counts as zero, and no other changes.

If one failing record emptied a whole micro-batch or draw, one unit would move the sum by the gradients of all
the others, far beyond the clip that the noise is made for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.records.clipped.gradients import Gradients, Units

__all__ = ["contained_sum"]


def contained_sum(
    gradients: Gradients, units: Units, clip: float, length: int, *, balanced: bool = False
) -> tuple[NDArray[np.float64], Exception | None]:
    """The sum of the clipped gradients of those units for which there is one, float64[length].

    If the micro-batch raises an error, every unit is computed again, alone in a micro-batch of the same
    shape. This takes time, which shows that some record fails; a run should not depend on such records.

    Args:
        gradients: computes the sums.
        units: one micro-batch.
        clip: C.
        length: number of coordinates of the sum.
        balanced: whether the balance of the units follows their gradients, as in `Gradients.clipped_sum`.

    Returns:
        The sum, and the last error, or None.
    """
    try:
        return gradients.clipped_sum(units, clip, balanced=balanced), None
    except Exception as error:  # noqa: BLE001 - a module may raise anything
        last = error
    total = np.zeros(length)
    for place in range(len(units.drawn)):
        try:
            total += gradients.clipped_sum(_alone(units, place), clip, balanced=balanced)
        except Exception as error:  # noqa: BLE001 - as above
            last = error
    return total, last


def _alone(units: Units, place: int) -> Units:
    """One unit in every slot, of which only the first one counts."""
    index = torch.full((len(units.drawn),), place)
    drawn = torch.zeros_like(units.drawn)
    drawn[0] = units.drawn[place]
    return replace(
        units,
        features=units.features[index],
        labels=units.labels[index],
        weights=units.weights[index],
        drawn=drawn,
    )
