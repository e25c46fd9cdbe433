"""Settings without an effect: a key that nothing reads beside the other settings is refused by name.

A key counts as given if it differs from its default, because the configuration that a run writes has every
key.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fedavg.config.settings import Config
from fedavg.errors import ConfigError
from fedavg.optimizers.local import ADAPTIVE
from fedavg.parts import named, registered

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.parts import Family

__all__ = ["READ_WHEN", "check_effects", "is_read"]


def _get(config: Config, key: str) -> object:
    return functools.reduce(getattr, key.split("."), config)


def _goes_with(key: str, *values: object) -> Callable[[Config], str]:
    """A setting that is read with some values of another key."""

    def unread(config: Config) -> str:
        now = _get(config, key)
        if now is None or now in values:
            return ""
        return f"it goes with {key} = {' or '.join(map(repr, values))}, and that is {now!r}"

    return unread


def _field(family: Family, key: str, name: str) -> Callable[[Config], str]:
    """A setting that is read by parts with a field of its name; a part that is still open may be one."""

    def unread(config: Config) -> str:
        kind = _get(config, key)
        if kind is None or (kind != "none" and name in _fields(family, str(kind))):
            return ""
        having = [known for known in registered(family) if name in _fields(family, known)]
        return f"it goes with {key} = {' or '.join(map(repr, having))}, and that is {kind!r}"

    return unread


def _fields(family: Family, kind: str) -> tuple[str, ...]:
    """The settings of a part; those of a sum that is made of two sums are also theirs."""
    fields = named(family, kind).__struct_fields__
    return (*fields, *_OF_TWO_SUMS) if "chosen" in fields else fields


_OF_TWO_SUMS = (
    *("scheme", "share", "choice", "rest"),
    *("key_at", "threat_model", "dropout_rate", "corrupt_rate"),
)


def _private(config: Config) -> str:
    return "" if config.privacy.private else "it goes with noise, and privacy.noise is 'none'"


def _exact(config: Config) -> str:
    """The range of a coordinate: of the run itself without noise, and of its baseline with noise."""
    if not config.privacy.private or config.baseline:
        return ""
    return "under noise privacy.clip is the bound, and without a baseline nothing reads the range"


def _encoded(name: str) -> Callable[[Config], str]:
    """A setting of encodings that a kind of the user's own may not have."""

    def unread(config: Config) -> str:
        kind = config.encoding.kind
        if kind == "auto" or name in _fields("encoding", kind):
            return ""
        return f"encoding.kind = {kind!r} has no {name}"

    return unread


def _named_encoding(config: Config) -> str:
    return "" if config.encoding.kind != "auto" else "it goes with an encoding.kind of your own"


def _in_blocks(config: Config) -> str:
    blocks = config.blocks
    if blocks.count or blocks.memory or blocks.patterns:
        return ""
    return "it goes with blocks.count, blocks.memory or blocks.patterns, and none of them is given"


def _share_of_blocks(config: Config) -> str:
    return _in_blocks(config) or _field("blocks", "blocks.kind", "share")(config)


def _of_file(config: Config) -> str:
    return "" if config.model.file else "it goes with model.file, and that is left out"


def _of_epochs(config: Config) -> str:
    steps = config.local.steps
    return f"local.steps = {steps} is the number of steps, in place of epochs" if steps else ""


def _adaptive(config: Config) -> str:
    now = config.local.optimizer
    if now in ADAPTIVE:
        return ""
    return f"it goes with local.optimizer = {' or '.join(map(repr, ADAPTIVE))}, and that is {now!r}"


def _watched(config: Config) -> str:
    return "" if config.evaluation.patience else "it goes with evaluation.patience, and that is 0"


def _personal(config: Config) -> str:
    if config.personalization.kind != "none":
        return ""
    return "it goes with a personalisation, and personalization.kind is 'none'"


def _whole_model(config: Config) -> str:
    if not config.personalization.head:
        return ""
    return "the shared part of the model predicts nothing without the clients' own personalization.head"


def _partition(*kinds: str) -> Callable[[Config], str]:
    def unread(config: Config) -> str:
        now = config.data.partition
        if now in kinds or now == "auto":  # what "auto" becomes is known when the data is read
            return ""
        return f"it goes with data.partition = {' or '.join(map(repr, kinds))}, and that is {now!r}"

    return unread


_sum = functools.partial(_field, "secure_sum", "secure_sum.kind")
_server = functools.partial(_field, "server_optimizer", "server.optimizer")

READ_WHEN: dict[str, Callable[[Config], str]] = {
    "data.feature_strength": _goes_with("data.feature_skew", "affine", "rotation", "noise"),
    "data.spread": _partition("noisy-sort"),
    "data.alpha": _partition("dirichlet", "quantity"),
    "data.shards_per_client": _partition("shards"),
    "model.digest": _of_file,
    "model.fresh": _of_file,
    "local.epochs": _of_epochs,
    "local.milestones": _goes_with("local.schedule", "step"),
    "local.factor": _goes_with("local.schedule", "step"),
    "local.momentum": _goes_with("local.optimizer", "momentum"),
    "local.nesterov": _goes_with("local.optimizer", "momentum"),
    "local.beta1": _adaptive,
    "local.beta2": _adaptive,
    "evaluation.min_delta": _watched,
    "evaluation.by_client": _whole_model,
    "server.milestones": _goes_with("server.schedule", "step"),
    "server.factor": _goes_with("server.schedule", "step"),
    "server.momentum": _server("momentum"),
    "server.beta1": _server("beta1"),
    "server.beta2": _server("beta2"),
    "server.tau": _server("tau"),
    "privacy.noise_multiplier": _private,
    "privacy.clip": _private,
    "privacy.max_participations": _private,
    "privacy.ledger": _private,
    "privacy.options": _private,
    "clipping.quantile": _goes_with("clipping.kind", "adaptive"),
    "clipping.learning_rate": _goes_with("clipping.kind", "adaptive"),
    "clipping.bit_stddev": _goes_with("clipping.kind", "adaptive"),
    "encoding.range": _exact,
    "encoding.bits": _encoded("bits"),
    "encoding.rotate": _encoded("rotate"),
    "encoding.rounding": _encoded("rounding"),
    "encoding.options": _named_encoding,
    "compression.fraction": _goes_with("compression.kind", "random-k", "top-k"),
    "secure_sum.scheme": _sum("scheme"),
    "secure_sum.key_at": _sum("key_at"),
    "secure_sum.share": _sum("share"),
    "secure_sum.choice": _sum("choice"),
    "secure_sum.rest": _sum("rest"),
    "secure_sum.threat_model": _sum("threat_model"),
    "secure_sum.dropout_rate": _sum("dropout_rate"),
    "secure_sum.corrupt_rate": _sum("corrupt_rate"),
    "blocks.kind": _in_blocks,
    "blocks.share": _share_of_blocks,
    "blocks.seed": _in_blocks,
    "personalization.epochs": _personal,
    "personalization.lr": _personal,
    "personalization.strength": _field("personalization", "personalization.kind", "strength"),
    "personalization.head": _field("personalization", "personalization.kind", "head"),
    "personalization.test_fraction": _field(
        "personalization", "personalization.kind", "test_fraction"
    ),
    "personalization.options": _personal,
}
"""For each key that not every run reads: why this one does not, or "" where it does."""


def is_read(config: Config, key: str) -> bool:
    """Whether anything reads a key beside the other settings.

    Args:
        config: the configuration.
        key: dotted key.

    Example:
        >>> is_read(Config(), "secure_sum.share"), is_read(Config(), "secure_sum.corrupt_rate")
        (False, True)
    """
    return key not in READ_WHEN or not READ_WHEN[key](config)


def check_effects(config: Config) -> None:
    """Refuse settings that nothing reads beside the others.

    Raises:
        ConfigError: a setting differs from its default and has no effect; the message names what it goes
            with.
    """
    plain = Config()
    for key, unread in READ_WHEN.items():
        given = _get(config, key)
        why = "" if given == _get(plain, key) else unread(config)
        if why:
            raise ConfigError(
                f"{key} has no effect here: {why}. Leave {key} out, or change the other"
            )
