"""The secrets that a client must drop: one session's keys, seed, input and shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from secagg.crypto.keys import AgreementKey, Secret, entropy
from secagg.crypto.shamir import SECRET_SIZE, SHARE_SIZE
from secagg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secagg.crypto.keys import Identity
    from secagg.crypto.ring import RingArray

__all__ = ["Ephemeral", "present"]

_T = TypeVar("_T")


class Ephemeral(Secret):
    """Secrets that must not be kept after use; each is dropped as soon as it has been used."""

    __slots__ = (
        "channel",
        "due",
        "held",
        "identity",
        "input",
        "mask",
        "own_share",
        "routes",
        "seed",
    )

    def __init__(self, identity: Identity) -> None:
        self.identity: Identity | None = identity
        self.channel: AgreementKey | None = AgreementKey.generate()
        self.mask: AgreementKey | None = AgreementKey.generate()
        self.seed: bytes | None = entropy(SECRET_SIZE)
        self.input: RingArray | None = None  # words of the ring
        # neighbour's position → key of its envelope to this client
        self.routes: dict[int, bytes] = {}
        self.held: dict[int, bytes] = {}  # neighbour's position → its two shares
        self.due: dict[int, bytes] = {}  # the one of the two that the signed survivors ask for
        self.own_share = b""

    @classmethod
    def emptied(cls, identity: Identity) -> Ephemeral:
        """No secret but the identity: what a suspended client still has is put back by its phase."""
        found = cls.__new__(cls)
        found.forget()
        found.identity = identity
        return found

    def sign(self, message: bytes) -> bytes:
        """A signature by the client's identity."""
        return present(self.identity).sign(message)

    def settle(self, survived: Sequence[int]) -> None:
        """Keep of each pair of shares only the one that the signed survivors ask for.

        That is a survivor's share of the self-mask's seed, or a drop-out's share of the mask key. The other
        one can never be asked for.

        Args:
            survived: 1 for each position of the roster whose client survived, else 0.
        """
        self.due = {
            place: both[:SHARE_SIZE] if survived[place] else both[SHARE_SIZE:]
            for place, both in self.held.items()
        }
        self.held = {}

    def forget(self) -> None:
        """Drop everything, even if other code still holds this object."""
        self.identity = self.channel = self.mask = self.seed = self.input = None
        self.routes, self.held, self.due, self.own_share = {}, {}, {}, b""


def present(value: _T | None) -> _T:
    """A value that is present in this phase.

    Raises:
        LocalProtocolError: the value was dropped.
    """
    if value is None:
        raise LocalProtocolError("used after it was erased")
    return value
