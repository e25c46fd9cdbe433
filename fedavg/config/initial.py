"""A first configuration for the user's own file: TOML with each choice and its reason."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fedavg.data.settings import Chosen, DataConfig

__all__ = ["initial_text"]

_WIDTH = 100
_WHAT = {
    "data.name": "the examples",
    "data.schema": "what each column is, with the reason; correct it there",
    "data.target": "what is predicted",
    "data.client": "the column that says whose row it is",
    "data.clients": "clients to spread the examples over",
    "data.task": "what is predicted: classes, numbers or multi-label",
    "privacy.noise": "none: sums are exact and masked, and the models are not differentially private",
    "privacy.epsilon": "what the released models may tell about any one client; smaller is more private",
}


def initial_text(
    data: DataConfig, *, epsilon: float | None, rounds: int, chosen: Iterable[Chosen]
) -> str:
    """The text of a configuration.

    Args:
        data: known settings of the data; values that equal their default are left out.
        epsilon: privacy budget of a run under noise; None for a run without noise.
        rounds: number of rounds to train.
        chosen: settings that were left open, with their reasons.

    Returns:
        TOML that `load_config` reads.

    Example:
        >>> from fedavg.data.settings import DataConfig
        >>> text = initial_text(DataConfig(name="t.csv", target="y"), epsilon=None, rounds=60, chosen=())
        >>> text.splitlines()[-2:]
        ['# none: sums are exact and masked, and the models are not differentially private', 'noise = "none"']
    """
    plain, default = msgspec.to_builtins(data), msgspec.to_builtins(type(data)())
    # Only what differs from the defaults is written, so that the file stays short.
    values = {f"data.{key}": value for key, value in plain.items() if value != default[key]}
    values["data.name"] = data.name
    privacy: dict[str, Any] = {"privacy.noise": "none"}
    if epsilon is not None:
        privacy = {"privacy.epsilon": epsilon}
    reasons = {choice.key: f"chosen because {choice.why}" for choice in chosen}
    values |= {choice.key: choice.value for choice in chosen} | privacy
    lines = ["# Written by `fedavg init`: change what you know better.", f"rounds = {rounds}"]
    for table in dict.fromkeys(key.partition(".")[0] for key in values):
        lines += ["", f"[{table}]"]
        keys = [key for key in values if key.partition(".")[0] == table]
        lines += [line for key in keys for line in _setting(key, values[key], reasons)]
    return "\n".join(lines) + "\n"


def _setting(key: str, value: object, reasons: Mapping[str, str]) -> list[str]:
    said = "; ".join(filter(None, (_WHAT.get(key, ""), reasons.get(key, ""))))
    comment = textwrap.wrap(said, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    plain = tomli_w.dumps({key.partition(".")[2]: value}).removesuffix("\n")
    return [*comment, plain]
