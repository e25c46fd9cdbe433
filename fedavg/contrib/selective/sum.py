"""Selective: chosen coordinates are added under encryption, and the others under masks or in the clear.

Selective encryption (Jin et al. 2023, FedML-HE) is faster because it leaves coordinates unencrypted, and no
bound is known on what these reveal: `examples/selective_encryption.py` reconstructs images from them.  By
default the other coordinates are masked, so that nothing is in the clear.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import msgspec
import numpy as np

from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.roles import (
    ENCRYPTED,
    OPENING,
    REST,
    SelectiveClientSide,
    SelectiveKeyHolderSide,
    SelectiveServerSide,
)
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.parts import Part, Trait, register
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.interface import Provision
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.sums.interface import SumSpec

__all__ = ["Selective"]


class _Pair(msgspec.Struct, frozen=True, array_like=True):
    """One role's material for both sums."""

    encrypted: bytes
    rest: bytes

    def __repr__(self) -> str:
        return "_Pair(<redacted>)"


@register("secure_sum")
class Selective(Part, frozen=True, tag="selective"):
    """Adds the coordinates of a `SensitivityMap` under encryption, and all others with a second sum.

    Coordinates beyond the map, such as a private example count, are always encrypted.

    Args:
        encrypted: sum for the chosen coordinates.
        rest: sum for the others: `SecAgg()`, or `InsecurePlain()`, which shows them to the server.
        chosen: the public map of coordinates to encrypt.

    Raises:
        PlanError: a part is of another kind.

    Example:
        >>> chosen = SensitivityMap.from_scores(np.array([5.0, 0.0, 3.0, 2.0]), 0.5)
        >>> Selective(Bfv(), SecAgg(), chosen).hides_updates
        True
        >>> Selective(Bfv(), InsecurePlain(), chosen).hides_updates
        False
    """

    encrypted: Ckks | Bfv
    rest: SecAgg | InsecurePlain
    chosen: SensitivityMap

    @property
    def traits(self) -> frozenset[Trait]:
        """States that the map names coordinates of the whole model."""
        private = self.chosen.source == "clients"
        return frozenset({Trait.COORDINATE_MAP} | ({Trait.CLIENT_MAP} if private else set()))

    @property
    def kind(self) -> str:
        """Name of the method; a name of its own marks a second sum in the clear."""
        return "selective" if self.hides_updates else "selective-insecure-plain"

    @property
    def upload_word_bits(self) -> int | None:
        """Width in the second sum, whose numbers `uploaded` returns."""
        return self.rest.upload_word_bits

    @property
    def hides_updates(self) -> bool:
        """Whether the server learns nothing but the sum: false with a second sum in the clear."""
        return self.rest.hides_updates

    @property
    def dropout_rate(self) -> float:
        """The drop-out rate that both sums tolerate."""
        return min(self.encrypted.dropout_rate, self.rest.dropout_rate)

    @property
    def threat_model(self) -> str:
        """The threat models of both sums."""
        masked = self.rest.hides_updates
        rest = f"under masks, {self.rest.threat_model}" if masked else "IN THE CLEAR"
        share = f"{1 - self.chosen.exposed:.1%} of the coordinates"
        return f"{share} under {self.encrypted.kind}, the rest {rest}"

    def received(self, spec: SumSpec) -> str:
        """See `SecureSum.received`: the coordinates that are not encrypted."""
        del spec
        if self.rest.hides_updates:
            return (
                "The coordinates that are not encrypted, under pairwise masks: uniform on the ring."
            )
        return (
            "The coordinates that are not encrypted, in the clear: this sum hides only the others."
        )

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """The assumptions of both sums, and the share of the coordinates that is in the clear."""
        encrypted, rest = self.parts(spec)
        chosen, how = self.chosen, {"public": "scores on public data", "random": "a public seed"}
        share = "" if chosen.covered is None else f", {chosen.covered:.1%} of all scores"
        by = how.get(chosen.source, "the sum of clients' private scores")
        size = f"{chosen.count:,} of {chosen.length:,}"
        lines = [
            f"{size} coordinates are encrypted{share}; chosen by {by}.",
            *(f"Encrypted coordinates: {line}" for line in self.encrypted.assumptions(encrypted)),
            *(f"The other coordinates: {line}" for line in self.rest.assumptions(rest)),
        ]
        if not self.hides_updates:
            lines.insert(
                1,
                f"INSECURE: the server reads {chosen.exposed:.1%} of every update in the clear. That these "
                "coordinates reveal little is a heuristic without proof.",
            )
        return tuple(lines)

    def smallest_cohort(self) -> int:
        """The number that both sums allow."""
        return max(self.encrypted.smallest_cohort(), self.rest.smallest_cohort())

    def min_survivors(self, roster_size: int) -> int:
        """The number that both sums need."""
        return max(self.encrypted.min_survivors(roster_size), self.rest.min_survivors(roster_size))

    def colluders(self, roster_size: int) -> int:
        """The larger number of both sums."""
        return max(self.encrypted.colluders(roster_size), self.rest.colluders(roster_size))

    def places(self, vector_length: int) -> NDArray[np.bool_]:
        """bool[vector_length]: the encrypted coordinates, including those beyond the map.

        Raises:
            PlanError: the vector is shorter than the map, or has several coordinates beyond it.
        """
        # The weight or the bit of adaptive clipping is one more coordinate, and it is always encrypted.
        beyond = vector_length - self.chosen.length
        if beyond not in (0, 1):
            raise PlanError(
                f"the map covers {self.chosen.length} parameters, but the vector has {vector_length} "
                "coordinates: compute the map for this model, and encode without rotation"
            )
        return np.append(self.chosen.mask, np.ones(beyond, dtype=bool))

    def parts(self, spec: SumSpec) -> tuple[SumSpec, SumSpec]:
        """The specifications of both sums: of the encrypted coordinates, and of the others."""
        length = int(self.places(spec.vector_length).sum())
        return (
            # The two sums have contexts of their own, so that no message of one fits the other.
            replace(spec, vector_length=length, context=_label(ENCRYPTED, spec.context)),
            replace(
                spec,
                vector_length=spec.vector_length - length,
                context=_label(REST, spec.context),
            ),
        )

    def check(self, spec: SumSpec) -> None:
        """Raise the errors of either sum, or PlanError for a map of another model."""
        encrypted, rest = self.parts(spec)
        self.encrypted.check(encrypted)
        self.rest.check(rest)

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Create the material of both sums."""
        specs = self.parts(spec)
        encrypted = self.encrypted.provision(specs[0], directory)
        rest = self.rest.provision(specs[1], directory)
        return Provision(
            server=msgspec.msgpack.encode(_Pair(encrypted.server, rest.server)),
            clients=msgspec.msgpack.encode(_Pair(encrypted.clients, rest.clients)),
            key_holder=encrypted.key_holder,
        )

    def server_side(self, material: bytes) -> SelectiveServerSide:
        """Load the server's side, which has no secret key."""
        pair = msgspec.msgpack.decode(material, type=_Pair)
        encrypted = self.encrypted.server_side(pair.encrypted)
        return SelectiveServerSide(self, encrypted, self.rest.server_side(pair.rest))

    def client_side(self, material: bytes) -> SelectiveClientSide:
        """Load the clients' side."""
        pair = msgspec.msgpack.decode(material, type=_Pair)
        encrypted = self.encrypted.client_side(pair.encrypted)
        return SelectiveClientSide(self, encrypted, self.rest.client_side(pair.rest))

    def key_holder_side(self, material: bytes) -> SelectiveKeyHolderSide:
        """Load the key holder's side."""
        return SelectiveKeyHolderSide(self, self.encrypted.key_holder_side(material))

    def opener_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: neither of the two sums has openers."""
        del material
        raise LocalProtocolError("selective has no openers")

    def describe(self, message: bytes) -> str:
        """The kind of a message."""
        if message[:1] == OPENING:
            return "opening of both sums"
        if message[:1] == ENCRYPTED:
            return self.encrypted.describe(message[1:])
        if message[:1] == REST:
            name = self.rest.describe(message[1:])
            return name if self.hides_updates else f"{name}, in part"
        return self.encrypted.describe(message)  # messages to and from the key holder

    def uploaded(self, message: bytes) -> NDArray[np.int64] | NDArray[np.uint64] | None:
        """The numbers of the second sum, masked or in the clear; ciphertexts show none."""
        return self.rest.uploaded(message[1:]) if message[:1] == REST else None


def _label(part: bytes, context: bytes) -> bytes:
    return hashlib.sha256(b"selective sum" + part + context).digest()
