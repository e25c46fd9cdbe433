"""The tables of who takes part, and of how updates are protected and travel."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "BroadcastConfig",
    "ClippingConfig",
    "CohortConfig",
    "CompressionConfig",
    "EncodingConfig",
    "PrivacyConfig",
    "SumConfig",
]


class CohortConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Poisson with a rate, or fixed with a size; a round without a sum is tried again `retries` times.

    A size that is left out is 100. A rate beside a fixed size, or a size beside a rate, is refused.

    Left out, retries are 2 without noise, and 0 with it, where there can be none. A rate that is left out
    is .2 under noise, less where that would be more than 500 clients of a file of one's own, and follows the
    number of clients without noise.
    """

    kind: str = "poisson"
    rate: float | None = None
    size: int | None = None
    retries: int | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class PrivacyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Noise and budget. Without noise_multiplier, it is calibrated to epsilon over all rounds.

    A delta that is left out is 1e-5, and 1 / (100 x clients) where that is less.

    `population` is N, the declared and public number of enrolled clients, of whom some may never answer; left
    out, it is the number of clients that hold data.

    `ledger` is the file of a budget that several runs on the same clients share (`fedavg ledger create`).
    """

    noise: str = "gaussian"
    epsilon: float | None = None
    delta: float | None = None
    noise_multiplier: float | None = None
    clip: float = 0.5
    max_participations: int | None = None
    population: int | None = None
    ledger: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def private(self) -> bool:
        """Whether noise is added."""
        return self.noise != "none"


class ClippingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A clip norm that stays privacy.clip, or starts there and follows a quantile of the norms."""

    kind: Literal["fixed", "adaptive"] = "fixed"
    quantile: float = 0.5
    learning_rate: float = 0.2
    bit_stddev: float | None = None

    @property
    def adapts(self) -> bool:
        """Whether the clip norm follows a quantile."""
        return self.kind == "adaptive"


class EncodingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Integers: bits 0 chooses; `range` bounds a coordinate (rotated: the norm) when there is no noise.

    Without noise, `rounding` "auto" is "nearest", or "stochastic" where `rotate` or one bit needs it:
    unbiased, and what lies beyond the range is clamped.

    `kind` "auto" follows from these settings. A kind of your own is named as it is registered. It is given
    the clip norm under noise, or the range without, as `clip`, and the other settings of this table where it
    has such fields; its further fields are `options`.
    """

    kind: str = "auto"
    bits: int = 0
    rotate: bool = False
    rounding: Literal["auto", "nearest", "stochastic"] = "auto"
    range: float = 8.0
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class CompressionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Random-k sends the same `fraction` of the places for all; clients may keep what was left out."""

    kind: Literal["none", "random-k", "top-k"] = "none"
    fraction: float = 0.1
    error_feedback: bool = False


class BroadcastConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the model travels to the clients; integers have a scale for each output channel."""

    format: Literal["float32", "float16", "int8", "int4"] = "float32"


class SumConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the integers are added, and what is assumed of the clients.

    Of "encrypted-secagg": `scheme` encrypts. There, and of "ckks", "bfv" and "selective", `key_at` can
    decrypt: the key holder alone, or all clients, which sends half the bytes or less; left out, it is
    the key holder under "encrypted-secagg" and the clients elsewhere. Of "selective": `scheme` encrypts a
    `share` of the coordinates, chosen by `choice` (from the held-out examples, which are the server's
    own; at random; or from the clients' own examples, by scores that `scheme` adds under encryption
    before the first round, without noise only), and `rest` adds the others. "one-shot": each client encrypts
    under a key of its own, and only the sum of the keys opens. Its `options` are `keys` ("committee" or
    "secagg"), and `committee`, `corrupt_members`, `absent_members`, `epoch_rounds`, `drawn` and `candidates`
    of a committee.
    """

    kind: str = "secagg"
    scheme: Literal["bfv", "ckks"] = "bfv"
    key_at: Literal["holder", "clients"] | None = None
    share: float = 0.2
    choice: Literal["public", "random", "clients"] = "public"
    rest: Literal["secagg", "insecure-plain"] = "secagg"
    threat_model: Literal["malicious", "malicious-local", "semi-honest"] = "malicious"
    dropout_rate: float | None = None
    corrupt_rate: float = 0.1
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
