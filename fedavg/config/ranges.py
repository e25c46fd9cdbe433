"""The range of every number in a configuration, checked whether or not the run reads the number.

A part checks its own fields too, but only if the configuration builds it.  A number out of range is an error
here even where nothing reads it, so that a mistake is found when it is made.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fedavg import checks
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.config.settings import Config

__all__ = ["RANGES", "check_ranges"]

_MOST = 10**9  # no count of rounds, clients, examples or units is larger
_LARGEST_SEED = 2**63 - 1
_LARGEST_RATE = 1e6  # a learning rate or penalty beyond gives no finite model
_LEAST, _LARGEST = 1e-100, 1e100  # bounds of a clip norm and of an encoding's range
_LEAST_SHARE = 1e-6  # a smaller share chooses a single coordinate of nearly every model


def _whole(low: int, high: int = _MOST) -> Callable[[str, Any], object]:
    def check(key: str, value: int) -> None:
        if not low <= checks.config.whole(key, value, low) <= high:
            raise ConfigError(f"{key} must be at most {high:,}, not {value:,}")

    return check


def _between(
    low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> Callable[[str, Any], object]:
    def check(key: str, value: float) -> None:
        checks.config.finite(key, value)
        below = value <= low if open_low else value < low
        above = value >= high if open_high else value > high
        if below or above:
            begin, end = "(" if open_low else "[", ")" if open_high else "]"
            raise ConfigError(f"{key} must lie in {begin}{low:g}, {high:g}{end}, not {value!r}")

    return check


def _share(key: str, value: float) -> None:
    _between(0, 1, open_low=True, open_high=True)(key, value)
    if value < _LEAST_SHARE:
        raise ConfigError(f"{key} must be at least {_LEAST_SHARE:g}, not {value!r}")


def _channels(key: str, value: int) -> None:
    if value not in (0, 1, 3):
        raise ConfigError(
            f"{key} must be 1 for grey or 3 for colour, or 0 to follow the images, not {value}"
        )


def _buckets(key: str, value: int) -> None:
    _whole(0)(key, value)
    if value == 1:
        raise ConfigError(f"{key} must be 0 for no hashing, or 2 or more, not 1")


def _each(check: Callable[[str, Any], object]) -> Callable[[str, Any], object]:
    """The same check for each number of a list."""

    def checked(key: str, values: tuple[Any, ...]) -> None:
        for value in values:
            check(key, value)

    return checked


_positive = _between(0, _LARGEST_RATE, open_low=True)
_at_least_0 = _between(0, _LARGEST_RATE)
_share_of_all = _between(0, 1, open_low=True)
_below_1 = _between(0, 1, open_high=True)
_inside = _between(0, 1, open_low=True, open_high=True)
_clip = _between(_LEAST, _LARGEST)
_seed = _whole(0, _LARGEST_SEED)
_rising = _each(_inside)

RANGES: dict[str, Callable[[str, Any], object]] = {
    "rounds": _whole(1),
    "seed": _seed,
    "data.image_size": _each(_whole(1, 100_000)),
    "data.channels": _channels,
    "data.buckets": _buckets,
    "data.clients": _whole(1),
    "data.feature_strength": _at_least_0,
    "data.spread": _at_least_0,
    "data.alpha": _positive,
    "data.shards_per_client": _whole(1),
    "data.test_fraction": _inside,
    "data.split_seed": _seed,
    "model.hidden": _each(_whole(1)),
    "cohort.rate": _share_of_all,
    "cohort.size": _whole(1),
    "cohort.retries": _whole(0),
    "local.epochs": _whole(1),
    "local.batch_size": _whole(0),
    "local.steps": _whole(0),
    "local.lr": _positive,
    "local.milestones": _rising,
    "local.factor": _share_of_all,
    "local.warmup": _whole(0),
    "local.step_decay": _share_of_all,
    "local.l1": _at_least_0,
    "local.l2": _at_least_0,
    "local.proximal": _at_least_0,
    "local.momentum": _below_1,
    "local.beta1": _below_1,
    "local.beta2": _below_1,
    "local.weight_decay": _at_least_0,
    "local.clip_gradient": _at_least_0,
    "evaluation.patience": _whole(0),
    "evaluation.min_delta": _at_least_0,
    "server.lr": _positive,
    "server.milestones": _rising,
    "server.factor": _share_of_all,
    "server.warmup": _whole(0),
    "server.momentum": _below_1,
    "server.beta1": _below_1,
    "server.beta2": _below_1,
    "server.tau": _positive,
    "server.average_tail": _between(0, 1),
    "privacy.epsilon": checks.config.positive_or_infinite,
    "privacy.delta": _inside,
    "privacy.noise_multiplier": _positive,
    "privacy.clip": _clip,
    "privacy.max_participations": _whole(1),
    "privacy.population": _whole(1),
    "clipping.quantile": _inside,
    "clipping.learning_rate": _positive,
    "clipping.bit_stddev": _positive,
    "encoding.bits": _whole(0, 40),
    "encoding.range": _clip,
    "compression.fraction": _share_of_all,
    "secure_sum.share": _share,
    "secure_sum.dropout_rate": _below_1,
    "secure_sum.corrupt_rate": _below_1,
    "blocks.count": _whole(0),
    "blocks.share": _share_of_all,
    "blocks.seed": _seed,
    "personalization.epochs": _whole(0),
    "personalization.lr": _at_least_0,
    "personalization.strength": _at_least_0,
    "personalization.test_fraction": _inside,
    "simulation.workers": _whole(-1, 10_000),
    "simulation.dropout": _below_1,
}
"""The check of each key that holds a number or a list of numbers."""


def check_ranges(config: Config) -> None:
    """Refuse numbers out of their range, in every table.

    Raises:
        ConfigError: a number is out of range; the message begins with its key.
    """
    for key, check in RANGES.items():
        value: Any = functools.reduce(getattr, key.split("."), config)
        if value is not None:
            check(key, value)
