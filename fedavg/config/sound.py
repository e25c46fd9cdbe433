"""The sampling rate from which on a run under noise is sound, for populations that are small."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fedavg.config.build import build_plan
from fedavg.data.settings import Chosen
from fedavg.errors import CohortSizeError
from fedavg.plan.feasibility import cohort_bounds
from fedavg.plan.remedies import enough_rate

if TYPE_CHECKING:
    from fedavg.config.settings import Config

__all__ = ["sound_rate"]


def sound_rate(config: Config, num_clients: int, parameters: int) -> Chosen | None:
    """The smallest rate at which the sizes of the rounds stay within the secure sum's bounds.

    Args:
        config: a configuration under noise.
        num_clients: N, number of clients.
        parameters: d, number of parameters of the model.

    Returns:
        The rate, to one part in a hundred, with the reason; None if the configuration's own rate is enough.

    Raises:
        CohortSizeError: no rate is enough; the message says how many clients would be.

    Example:
        >>> from fedavg.config.build import load_config
        >>> config = load_config(None, {"privacy.epsilon": 5.0, "rounds": 60})
        >>> sound_rate(config, 60, 100).value, sound_rate(config, 1000, 100)
        (0.41, None)
    """
    plan = build_plan(config, parameters, num_clients=num_clients)
    check = functools.partial(cohort_bounds, num_rounds=config.rounds)
    try:
        check(plan, num_clients)
    except CohortSizeError:
        found = enough_rate(plan, num_clients, check)
        if found is None:
            raise
        why = (
            f"{num_clients:,} clients are few: at lower rates some rounds would be too small for the secure "
            "sum. A higher rate costs more noise; 'fedavg budget' shows how much"
        )
        return Chosen("cohort.rate", found[1], why)
    return None
