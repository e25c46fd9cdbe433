"""Defaults of open settings, which depend on the data; each has a reason.

For the built-in sets the defaults are those of the built-in example.  No default depends on a row: they use
public counts, the kind of the labels, and the settings that were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.config.effect import is_read
from fedavg.data.settings import Chosen
from fedavg.optimizers.local import ADAPTIVE
from fedavg.parts import named
from fedavg.plan.plan import usual_delta

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.config.settings import Config

__all__ = ["Facts", "with_defaults"]

_MANY = 500  # largest default cohort under noise; the time of pairwise masks is quadratic in the clients
_FEW_CLIENTS = 10  # with fewer clients, the default assumes no drop-outs
_EXAMPLE = "as in the built-in example"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts on which the defaults depend.

    Args:
        own: whether the examples come from the user, and not from a built-in set.
        clients: number of clients, N.
        inputs: number of inputs that a model reads for one example.
        numbers: whether numbers are predicted.
    """

    own: bool
    clients: int
    inputs: int
    numbers: bool


def with_defaults(config: Config, facts: Facts) -> tuple[Config, tuple[Chosen, ...]]:
    """Complete the open settings of a configuration.

    Args:
        config: the configuration, whose open settings are None.
        facts: facts about the data.

    Returns:
        The configuration without open settings, and the choices made; they do not include values taken from
        the built-in example.

    Example:
        >>> from fedavg.config.settings import Config
        >>> config, chosen = with_defaults(Config(), Facts(True, 1000, 20, numbers=True))
        >>> config.local.lr, [choice.key for choice in chosen if choice.value == 0.05]
        (0.05, ['local.lr'])
    """
    found: list[Chosen] = []
    for key, rule in _RULES.items():
        table, _, name = key.partition(".")
        section = getattr(config, table)
        # A setting that was given stays, and later rules read it.
        if getattr(section, name) is not None or not is_read(config, key):
            continue
        value, why = rule(config, facts)
        if value is None:
            continue
        section = msgspec.structs.replace(section, **{name: value})
        config = msgspec.structs.replace(config, **{table: section})
        # The example's own values are the documented ones; only deviations are announced.
        if why != _EXAMPLE:
            found.append(Chosen(key, value, why))
    return config, tuple(found)


def _rate(config: Config, facts: Facts) -> tuple[float | None, str]:
    clients = facts.clients
    # The sampler is asked by its fields, so that one of the user's own is treated alike.
    if "rate" not in named("cohort", config.cohort.kind).__struct_fields__:
        return None, _EXAMPLE
    if config.privacy.private:
        if not facts.own or 0.2 * clients <= _MANY:
            return 0.2, _EXAMPLE
        # Two digits keep the rate readable in the written configuration.
        rate = float(f"{_MANY / clients:.2g}")
        asked = f"{rate * clients:,.0f} of {clients:,}"
        return rate, f"about {asked} clients a round bear the noise, and more would cost much time"
    if clients <= 50:
        return 1.0, f"{clients} clients are few: all of them train in every round"
    # Without noise more clients in a round hardly improve the mean.
    asked = min(max(50.0, 0.2 * clients), 200.0)
    rate = float(f"{asked / clients:.2g}")
    if rate == 0.2:
        return rate, _EXAMPLE
    return rate, f"about {asked:.0f} of {clients:,} clients a round are enough without noise"


def _delta(config: Config, facts: Facts) -> tuple[float | None, str]:
    if not config.privacy.private:
        return None, _EXAMPLE
    clients = config.privacy.population or facts.clients
    delta = usual_delta(clients)
    # The default of few clients is the usual one and needs no announcement.
    if delta == usual_delta(1):
        return delta, _EXAMPLE
    return delta, f"a delta has to be far below 1 / {clients:,} clients: it is 1 / (100 x clients)"


def _exampled(config: Config, facts: Facts) -> bool:
    """Whether the example's learning rates fit: a built-in set, or classes with clipping and noise."""
    return not facts.own or (config.privacy.private and not facts.numbers)


def _local_rate(config: Config, facts: Facts) -> tuple[float, str]:
    if config.local.optimizer in ADAPTIVE:
        return 0.01, "it is usual for Adam"
    if _exampled(config, facts):
        return 1.0, _EXAMPLE
    if config.model.name == "softmax":
        most = 1 if facts.numbers else 4  # the squared error is curved so much more
        rate = float(f"{min(0.1, most / facts.inputs):.2g}")
        return (
            rate,
            f"a step of at most {most} / {facts.inputs} inputs of unit scale cannot overshoot",
        )
    return 0.1, "it is usual for SGD on inputs of unit scale"


def _server(config: Config, facts: Facts) -> tuple[str, str]:
    if config.privacy.private or not facts.own or config.blocks != type(config.blocks)():
        return "momentum", _EXAMPLE
    return "adam", "its step depends little on the scale of the data"


def _adaptive(config: Config) -> bool:
    """Whether the size of the server's step is about its learning rate."""
    kind = named("server_optimizer", str(config.server.optimizer))
    return bool(getattr(kind, "adaptive", False))


def _server_rate(config: Config, facts: Facts) -> tuple[float, str]:
    if _adaptive(config):
        if config.model.name == "softmax":
            return 0.1, "the weights of a linear model are about 1"
        return 0.03, "the weights of a network are well below 1"
    if _exampled(config, facts):
        return 3.0, _EXAMPLE
    return 1.0, "the mean of the clients' updates is applied as it is"


def _tau(config: Config, facts: Facts) -> tuple[float, str]:
    if _adaptive(config) and facts.own:
        return 1e-4, "with small learning rates the clients' updates are small"
    return 1e-3, _EXAMPLE


def _schedule(config: Config, facts: Facts) -> tuple[str, str]:
    del facts
    if _adaptive(config):
        return "cosine", "steps of a fixed size have to become smaller towards the end"
    return "constant", _EXAMPLE


def _assumed(config: Config, facts: Facts) -> tuple[float, str]:
    if not config.privacy.private and facts.clients < _FEW_CLIENTS:
        return 0.0, f"{facts.clients} clients are too few to go on without one of them"
    return 0.1, _EXAMPLE


def _simulated(config: Config, facts: Facts) -> tuple[float, str]:
    value, why = _assumed(config, facts)
    # A run without assumed drop-outs must not simulate any.
    return (value, why) if not value else (0.03, _EXAMPLE)


# The order matters: later choices read earlier ones.
_RULES: dict[str, Callable[[Config, Facts], tuple[Any, str]]] = {
    "cohort.rate": _rate,
    "privacy.delta": _delta,
    "local.lr": _local_rate,
    "server.optimizer": _server,
    "server.lr": _server_rate,
    "server.schedule": _schedule,
    "server.tau": _tau,
    "secure_sum.dropout_rate": _assumed,
    "simulation.dropout": _simulated,
}
