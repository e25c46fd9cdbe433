"""SensitivityMap: one public choice, for all clients, of the coordinates that are encrypted.

Selective encryption (Jin et al. 2023, FedML-HE) encrypts the coordinates whose gradients reveal most about
the data, and sends the others unencrypted.  The method has no proof: a coordinate in the clear is visible,
even when its score is low.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from fedavg.errors import NonFiniteError, PlanError
from fedavg.parts import Part
from fedavg.sums.once import sum_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.sums.interface import SecureSum

__all__ = ["UNCOUNTED", "SensitivityMap", "Source"]

UNCOUNTED = (
    "the map was chosen by clients' private scores without noise, and no ledger counts that: under "
    "differential privacy choose by public data or at random"
)
"""Why a plan with noise refuses a map that was chosen by clients' private scores."""

Source = Literal["public", "clients", "random"]

_SCORE_BITS = 16  # a client's scores are rounded to this many bits, relative to its largest score


class SensitivityMap(Part, frozen=True, tag=False):
    """A public choice among the d coordinates of a model.

    Make it with `from_scores`, `from_clients` or `random`.

    Args:
        length: d, the number of coordinates.
        packed: the choice, one bit for each coordinate, as `numpy.packbits` packs it.
        source: origin of the scores: "public" data, private scores of "clients" (summed securely; only
            without differential privacy, since no ledger counts them), or "random" for no scores.
        covered: share of the total score in the chosen coordinates; None if there are no scores.

    Raises:
        PlanError: the map chooses no coordinate or all of them, or has a wrong number of bits.

    Example:
        >>> chosen = SensitivityMap.from_scores(np.array([5.0, 0.0, 3.0, 2.0]), 0.5)
        >>> chosen.mask.tolist(), chosen.covered, chosen.exposed
        ([True, False, True, False], 0.8, 0.5)
    """

    length: int
    packed: bytes
    source: Source
    covered: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source not in ("public", "clients", "random"):
            raise PlanError(f"source must be 'public', 'clients' or 'random', not {self.source!r}")
        if self.length < 2 or len(self.packed) != -(-self.length // 8):
            raise PlanError("a map has one bit for each coordinate, and at least two coordinates")
        # Spare bits are zero, so that a choice has one form and one digest.
        padding = self.packed[-1] & ((1 << (-self.length % 8)) - 1)
        if padding or not 0 < self.count < self.length:
            raise PlanError(
                "a map must choose some coordinates and not others: to encrypt all of them use the "
                "encrypted sum alone, to encrypt none use the other sum alone"
            )
        if self.covered is not None and not 0 <= self.covered <= 1 + 1e-9:
            raise PlanError(f"covered must be a share between 0 and 1, not {self.covered!r}")

    def __repr__(self) -> str:
        """All fields, the choice as a digest: plans are compared by their printed form."""
        digest = hashlib.sha256(self.packed).hexdigest()
        return (
            f"SensitivityMap({self.count} of {self.length} coordinates, source={self.source!r}, "
            f"covered={self.covered!r}, sha256={digest})"
        )

    @classmethod
    def from_scores(
        cls, scores: NDArray[np.float64], share: float, *, source: Source = "public"
    ) -> SensitivityMap:
        """Choose the ⌈share·d⌉ coordinates with the largest scores; among equal scores, the first ones.

        Args:
            scores: float64[d], no score negative.
            share: share of the coordinates to choose, between 0 and 1.
            source: origin of the scores; see `SensitivityMap`.

        Raises:
            NonFiniteError: a score is NaN or infinite.
            PlanError: a score is negative, or the share chooses no coordinate or all of them.
        """
        if not bool(np.isfinite(scores).all()):
            raise NonFiniteError("a score is NaN or infinite: the model or its data overflow")
        if scores.ndim != 1 or bool((scores < 0).any()):
            raise PlanError("scores must be a vector of numbers that are not negative")
        # A stable order makes the choice the same everywhere, also among equal scores.
        order = np.argsort(-scores, kind="stable")[: _count(share, scores.size)]
        mask = np.zeros(scores.size, dtype=bool)
        mask[order] = True
        chosen = cls(scores.size, np.packbits(mask).tobytes(), source)
        return msgspec.structs.replace(chosen, covered=chosen.coverage(scores))

    @classmethod
    def from_clients(
        cls, scores: Mapping[int, NDArray[np.float64]], share: float, secure_sum: SecureSum
    ) -> SensitivityMap:
        """Choose by the clients' own scores, of which the server learns only the sum.

        Each client's scores are divided by the client's largest score and rounded to 16 bits.  So all clients
        have equal weight, and the server does not learn the scale of a client's scores.

        Args:
            scores: client id to float64[d].
            share: share of the coordinates to choose; see `from_scores`.
            secure_sum: secure sum that adds the scores; it must hide updates.

        Raises:
            PlanError: the secure sum does not hide updates or needs more clients; also as in
                `from_scores`.
        """
        # The scores of one client show something of its data.
        if not secure_sum.hides_updates:
            raise PlanError(
                "clients' scores are private: add them under a secure sum that hides updates"
            )
        if len(scores) < secure_sum.smallest_cohort():
            raise PlanError(
                f"scores of {len(scores)} clients cannot be summed by {secure_sum.kind}, which needs "
                f"{secure_sum.smallest_cohort()} or more"
            )
        encoded = {client: _encode(vector) for client, vector in scores.items()}
        largest = (1 << _SCORE_BITS) - 1
        result = sum_once(secure_sum, encoded, max_abs=largest, context=b"sensitivity scores")
        return cls.from_scores(result.total.astype(np.float64), share, source="clients")

    @classmethod
    def random(cls, length: int, share: float, *, seed: int) -> SensitivityMap:
        """Choose at random, with a public seed, as a baseline for other choices."""
        order = np.random.default_rng(seed).permutation(length)  # noqa: TID251 - a public seed
        mask = np.zeros(length, dtype=bool)
        mask[order[: _count(share, length)]] = True
        return cls(length, np.packbits(mask).tobytes(), "random")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[d]: True for each coordinate that is to be encrypted."""
        bits = np.unpackbits(np.frombuffer(self.packed, dtype=np.uint8), count=self.length)
        return bits.astype(bool)

    def coverage(self, scores: NDArray[np.float64]) -> float | None:
        """Share of the total score in the chosen coordinates; None if all scores are zero.

        Raises:
            PlanError: the number of scores is not d.
        """
        if scores.shape != (self.length,):
            raise PlanError(f"expected {self.length} scores, got shape {scores.shape}")
        total = float(scores.sum())
        return float(scores[self.mask].sum()) / total if total else None

    @property
    def count(self) -> int:
        """Number of chosen coordinates."""
        return int.from_bytes(self.packed, "big").bit_count()

    @property
    def exposed(self) -> float:
        """Share of the coordinates that are not chosen."""
        return 1 - self.count / self.length


def _count(share: float, length: int) -> int:
    if not 0 < share < 1:
        raise PlanError(
            f"the share of coordinates to encrypt must be between 0 and 1, not {share!r}: to encrypt "
            "all of them use the encrypted sum alone"
        )
    return math.ceil(share * length)


def _encode(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    if not bool(np.isfinite(scores).all()):
        raise NonFiniteError("a score is NaN or infinite: the model or its data overflow")
    largest = float(np.abs(scores).max())
    if not largest:
        return np.zeros(scores.shape, dtype=np.int64)
    unit = (1 << _SCORE_BITS) - 1
    # Scores are scaled by each client's largest, so that no client's scores outweigh the others'.
    return np.rint(np.abs(scores) * (unit / largest)).astype(np.int64)
