"""Noise that the config of a run states: it must be the noise that the nodes have agreed on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.adapters.exchange import Terms
    from fedavg.privacy.noise import Noise

__all__ = ["mismatch", "ours"]

_OURS = re.compile(r"fedavg[-_. ]", re.IGNORECASE)
_STATED = ("fedavg-noise", "fedavg-noise-multiplier", "fedavg-clip")


def ours(key: str) -> bool:
    """Whether a key of a run's or a node's config is meant for this adapter, also with a slip.

    Example:
        >>> ours("fedavg-clip"), ours("FEDAVG_clip"), ours("fedavgm-momentum")
        (True, True, False)
    """
    return _OURS.match(key) is not None


def mismatch(run_config: Mapping[str, object], terms: Terms) -> str:
    """Why a run's config does not fit the agreement, as a sentence; "" if it fits, or states no noise.

    The agreement alone decides what a node does: a config that decided could be another one for each node.
    A run may state the noise, and server and nodes then refuse an agreement with another.

    Args:
        run_config: the config of the run.
        terms: the terms of the agreement.

    Example:
        >>> from fedavg import FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import Record, Terms
        >>> record = Record(FixedPoint(1.0, 20, rounding="nearest"))
        >>> committee = OneShot(committee=6, corrupt_members=1, absent_members=1)
        >>> terms = Terms(committee, {"train": record}, max_weight=9)
        >>> mismatch({"lr": 0.1}, terms)
        ''
        >>> mismatch({"fedavg-clip": 1.0}, terms)[:70]
        "the run's config states fedavg-clip=1.0, and the agreement has no nois"
    """
    stated = {key: value for key, value in run_config.items() if ours(key)}
    if unknown := sorted(set(stated) - set(_STATED)):
        known = offered(unknown[0], _STATED, lead="known are")
        return f"the run's config has an unknown key {unknown[0]!r}: {known}"
    noisy = {
        kind: _stateable(record.noise, record.encoding.clip)
        for kind, record in terms.records.items()
        if record.noise is not None
    }
    for key, value in stated.items():
        if not noisy:
            return (
                f"the run's config states {key}={value!r}, and the agreement has no noise: make one that has "
                "(python -m fedavg.adapters.exchange agree --noise-multiplier …), or take the key out"
            )
        for kind, agreed in noisy.items():
            if value != agreed[key]:
                return (
                    f"the run's config states {key}={value!r}, and the agreement says {agreed[key]!r} for "
                    f"record {kind!r}: run with the agreed value, or agree on another"
                )
    return ""


def _stateable(noise: Noise, clip: float) -> dict[str, object]:
    """The values that a config may state."""
    return dict(zip(_STATED, (noise.kind, noise.noise_multiplier, clip), strict=True))
