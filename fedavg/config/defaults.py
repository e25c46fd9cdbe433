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
from fedavg.plan.deltas import usual_delta

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
        The configuration without open settings, and the choices made; for a built-in set they do not include
        values taken from the built-in example.

    Example:
        >>> from fedavg.config.settings import Config
        >>> config, chosen = with_defaults(Config(), Facts(True, 1000, 20, numbers=True))
        >>> config.local.epochs, [choice.key for choice in chosen if choice.value == 0.1]
        (1, ['local.lr', 'secure_sum.dropout_rate'])
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
        # Of a built-in set the example's values are the documented ones; only deviations are announced.
        if facts.own or why != _EXAMPLE:
            found.append(Chosen(key, value, why))
    return config, tuple(found)


def _of(facts: Facts, why: str) -> str:
    """The reason of a value that the built-in example has too: it needs none for a built-in set."""
    return why if facts.own else _EXAMPLE


def _rate(config: Config, facts: Facts) -> tuple[float | None, str]:
    clients = facts.clients
    # The sampler is asked by its fields, so that one of the user's own is treated alike.
    if "rate" not in named("cohort", config.cohort.kind).__struct_fields__:
        return None, _EXAMPLE
    if config.privacy.private:
        if not facts.own or 0.2 * clients <= _MANY:
            return 0.2, _of(
                facts, "a fifth of the clients a round is enough for their mean to learn from"
            )
        # Two digits keep the rate readable in the written configuration.
        rate = float(f"{_MANY / clients:.2g}")
        asked = f"{rate * clients:,.0f} of {clients:,}"
        return rate, f"about {asked} clients a round bear the noise, and more would cost much time"
    if clients <= 50:
        return 1.0, f"{clients} clients are few: all of them train in every round"
    # Without noise more clients in a round hardly improve the mean.
    asked = min(max(50.0, 0.2 * clients), 200.0)
    rate = float(f"{asked / clients:.2g}")
    if rate == 0.2 and not facts.own:
        return rate, _EXAMPLE
    return rate, f"about {asked:.0f} of {clients:,} clients a round are enough without noise"


def _delta(config: Config, facts: Facts) -> tuple[float | None, str]:
    if not config.privacy.private:
        return None, _EXAMPLE
    clients = config.privacy.population or facts.clients
    delta = usual_delta(clients)
    # The default of few clients is the usual one and needs no announcement.
    if delta == usual_delta(1):
        return delta, _of(facts, f"it is usual, and far below 1 / {clients:,} clients")
    return delta, f"a delta has to be far below 1 / {clients:,} clients: it is 1 / (100 x clients)"


def _exampled(config: Config, facts: Facts) -> bool:
    """Whether the example's learning rates fit: a built-in set, or classes with clipping and noise."""
    return not facts.own or (config.privacy.private and not facts.numbers)


def _single(config: Config, facts: Facts) -> bool:
    """Whether a client takes one step a round by default: for numbers under noise.

    The squared error pulls hard towards unusual rows, and a client of few rows overshoots on one in several
    steps. Clipping then keeps the wrong direction, round after round. A single step is along the gradient.
    """
    return facts.own and config.privacy.private and facts.numbers


def _single_step(config: Config) -> bool:
    """Whether clients take one step a round of one batch, by what is given or was chosen before."""
    local = config.local
    return config.privacy.private and (local.steps or local.epochs) == 1 and not local.batch_size


def _epochs(config: Config, facts: Facts) -> tuple[int, str]:
    if _single(config, facts):
        return (
            1,
            "under noise one step a round is along the gradient, and more overshoot on unusual rows",
        )
    return 4, _of(
        facts, "a round costs more than an epoch, and four epochs stay near the shared model"
    )


def _local_rate(config: Config, facts: Facts) -> tuple[float, str]:
    if config.local.optimizer in ADAPTIVE:
        return 0.01, "it is usual for Adam"
    if _exampled(config, facts):
        return 1.0, _of(
            facts, "updates are clipped under noise, so that a long step only sets a direction"
        )
    if config.model.name == "softmax":
        # The squared error is curved four times as much; a single step is clipped before it can overshoot.
        most = 1 if facts.numbers and not _single_step(config) else 4
        rate = float(f"{min(0.1, most / facts.inputs):.2g}")
        return (
            rate,
            f"a step of at most {most} / {facts.inputs} inputs of unit scale cannot overshoot",
        )
    return 0.1, "it is usual for SGD on inputs of unit scale"


def _server(config: Config, facts: Facts) -> tuple[str, str]:
    if config.privacy.private or not facts.own or config.blocks != type(config.blocks)():
        return "momentum", _of(facts, "it averages over rounds, the noise as well as the updates")
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
        return 3.0, _of(
            facts, "a clipped mean update is short, and momentum smooths the noise of long steps"
        )
    if config.privacy.private:
        return 0.5, "momentum lengthens it five times, and larger steps would add up the noise"
    return 1.0, "the mean of the clients' updates is applied as it is"


def _tau(config: Config, facts: Facts) -> tuple[float, str]:
    if _adaptive(config) and facts.own:
        return 1e-4, "with small learning rates the clients' updates are small"
    return 1e-3, _EXAMPLE


def _schedule(config: Config, facts: Facts) -> tuple[str, str]:
    if _adaptive(config):
        return "cosine", "steps of a fixed size have to become smaller towards the end"
    return "constant", _of(
        facts, "steps follow the size of the updates, which shrinks towards the end"
    )


def _assumed(config: Config, facts: Facts) -> tuple[float, str]:
    if not config.privacy.private and facts.clients < _FEW_CLIENTS:
        return 0.0, f"{facts.clients} clients are too few to go on without one of them"
    return 0.1, _of(facts, "a tenth of a round's clients may fall silent without ending it")


def _simulated(config: Config, facts: Facts) -> tuple[float, str]:
    value, why = _assumed(config, facts)
    # A run without assumed drop-outs must not simulate any.
    return (
        (value, why) if not value else (0.03, _of(facts, "a few clients are made to fall silent"))
    )


# The order matters: later choices read earlier ones.
_RULES: dict[str, Callable[[Config, Facts], tuple[Any, str]]] = {
    "cohort.rate": _rate,
    "privacy.delta": _delta,
    "local.epochs": _epochs,
    "local.lr": _local_rate,
    "server.optimizer": _server,
    "server.lr": _server_rate,
    "server.schedule": _schedule,
    "server.tau": _tau,
    "secure_sum.dropout_rate": _assumed,
    "simulation.dropout": _simulated,
}
