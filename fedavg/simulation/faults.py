"""Simulated drop-outs, decided by a public seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dp.checks import assign
from fedavg import checks

__all__ = ["Faults"]

_STAGES = 7  # training, then at most six messages of a secure sum


@dataclass(frozen=True, slots=True)
class Faults:
    """Simulated drop-outs: a client stops answering for the rest of a round, at any stage.

    Args:
        rate: probability per client and round.
        seed: public seed; drop-outs do not depend on data.

    Example:
        >>> Faults(rate=0.0).silent_from(client_id=1, round_index=0) is None
        True
    """

    rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        rate = checks.plan.fraction_below_one("the drop-out rate", self.rate)
        assign(self, rate=rate, seed=checks.plan.whole("seed", self.seed, 0))

    def silent_from(self, *, client_id: int, round_index: int, attempt: int = 0) -> int | None:
        """Stage (0 … 6) from which the client does not answer in this attempt, or None."""
        if self.rate == 0:
            return None
        # An attempt after the first has drop-outs of its own.
        place = (self.seed, client_id, round_index, *([attempt] if attempt else ()))
        public = np.random.default_rng(place)  # noqa: TID251 - public seed
        return int(public.integers(_STAGES)) if public.random() < self.rate else None
