"""SensitivityMap: which coordinates of an update are worth encrypting, one public choice for all clients.

Selective encryption (Jin et al. 2023, FedML-HE) encrypts the coordinates whose gradients say most about
the data and leaves the rest.  It has no proof: a coordinate that is left open is seen, whatever its score.
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
"""Why a plan with noise takes no map of the clients' own."""

Source = Literal["public", "clients", "random"]

_SCORE_BITS = 16  # a client's scores are rounded to so many bits of its largest


class SensitivityMap(Part, frozen=True, tag=False):
    """A public choice among a model's d coordinates.

    Make it with `from_scores`, `from_clients` or `random`.

    Args:
        length: d.
        packed: the choice, one bit a coordinate, as `numpy.packbits` packs it.
        source: what it was computed from: "public" data, private scores of "clients" (summed securely; only
            without differential privacy, since no ledger counts them), or nothing ("random").
        covered: share of the total score that the chosen coordinates have; None if there are no scores.

    Raises:
        PlanError: a choice of nothing or of everything, or bits that do not fit.

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
            raise PlanError("a map has one bit for each of at least two coordinates")
        padding = self.packed[-1] & ((1 << (-self.length % 8)) - 1)
        if padding or not 0 < self.count < self.length:
            raise PlanError(
                "a map chooses some coordinates and leaves some: to encrypt all of them use the "
                "encrypted sum itself, for none of them the other"
            )
        if self.covered is not None and not 0 <= self.covered <= 1 + 1e-9:
            raise PlanError(f"covered is a share, not {self.covered!r}")

    def __repr__(self) -> str:
        """All that it holds, the choice as a digest: plans are compared by what they print."""
        digest = hashlib.sha256(self.packed).hexdigest()
        return (
            f"SensitivityMap({self.count} of {self.length} coordinates, source={self.source!r}, "
            f"covered={self.covered!r}, sha256={digest})"
        )

    @classmethod
    def from_scores(
        cls, scores: NDArray[np.float64], share: float, *, source: Source = "public"
    ) -> SensitivityMap:
        """Choose the ⌈share·d⌉ coordinates with the largest scores; of equal ones the first.

        Args:
            scores: float64[d], none negative.
            share: of the coordinates, between 0 and 1.
            source: what the scores were computed from.

        Raises:
            NonFiniteError: scores with NaN or infinity.
            PlanError: negative scores, or a share that chooses nothing or everything.
        """
        if not bool(np.isfinite(scores).all()):
            raise NonFiniteError("a score is NaN or infinite: the model or its data overflow")
        if scores.ndim != 1 or bool((scores < 0).any()):
            raise PlanError("scores are a vector of magnitudes, none negative")
        order = np.argsort(-scores, kind="stable")[: _count(share, scores.size)]
        mask = np.zeros(scores.size, dtype=bool)
        mask[order] = True
        chosen = cls(scores.size, np.packbits(mask).tobytes(), source)
        return msgspec.structs.replace(chosen, covered=chosen.coverage(scores))

    @classmethod
    def from_clients(
        cls, scores: Mapping[int, NDArray[np.float64]], share: float, secure_sum: SecureSum
    ) -> SensitivityMap:
        """Choose by the clients' own scores, of which a server learns the sum only.

        Each client's scores are divided by its largest and rounded to 16 bits, so that every client has
        one voice and its scale stays with it.

        Args:
            scores: client id to float64[d].
            share: see `from_scores`.
            secure_sum: adds the scores; one that hides updates.

        Raises:
            PlanError: a secure sum that hides nothing, or fewer clients than it needs; else see
                `from_scores`.
        """
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
        """Choose at random, by a public seed: what any cleverer choice has to beat."""
        order = np.random.default_rng(seed).permutation(length)  # noqa: TID251 - a public seed
        mask = np.zeros(length, dtype=bool)
        mask[order[: _count(share, length)]] = True
        return cls(length, np.packbits(mask).tobytes(), "random")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[d]: True where a coordinate is to be encrypted."""
        bits = np.unpackbits(np.frombuffer(self.packed, dtype=np.uint8), count=self.length)
        return bits.astype(bool)

    def coverage(self, scores: NDArray[np.float64]) -> float | None:
        """Share of all scores that the chosen coordinates have; None if all are zero.

        Raises:
            PlanError: not d scores.
        """
        if scores.shape != (self.length,):
            raise PlanError(f"expected {self.length} scores, got shape {scores.shape}")
        total = float(scores.sum())
        return float(scores[self.mask].sum()) / total if total else None

    @property
    def count(self) -> int:
        """Coordinates that are chosen."""
        return int.from_bytes(self.packed, "big").bit_count()

    @property
    def exposed(self) -> float:
        """Share of the coordinates that are left."""
        return 1 - self.count / self.length


def _count(share: float, length: int) -> int:
    if not 0 < share < 1:
        raise PlanError(
            f"the share of coordinates to encrypt lies between 0 and 1, not {share!r}: to encrypt "
            "all use the encrypted sum itself"
        )
    return math.ceil(share * length)


def _encode(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    if not bool(np.isfinite(scores).all()):
        raise NonFiniteError("a score is NaN or infinite: the model or its data overflow")
    largest = float(np.abs(scores).max())
    if not largest:
        return np.zeros(scores.shape, dtype=np.int64)
    unit = (1 << _SCORE_BITS) - 1
    return np.rint(np.abs(scores) * (unit / largest)).astype(np.int64)
