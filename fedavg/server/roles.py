"""The parties of a run beside server and clients, each with its material of the secure sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedavg.server.key_holder import KeyHolder
from fedavg.server.opener import Opener
from fedavg.sums.interface import KEY_HOLDER
from fedavg.sums.sides.others import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.protocol.agreement import RunAgreement
    from fedavg.sums.interface import Provision, SecureSum
    from he import Journal

__all__ = ["Role", "opening_roles"]


class Role(Protocol):
    """A party that answers messages."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer one message."""
        ...


def opening_roles(
    agreement: RunAgreement,
    secure_sum: SecureSum,
    provision: Provision,
    journal: Journal | None = None,
) -> dict[int, Role]:
    """The parties that open sums, by address: a key holder, the members of a committee, or nobody.

    Args:
        agreement: what all roles agreed on, such as a resolved plan.
        secure_sum: the secure sum.
        provision: its material.
        journal: record of what each of them does once for a sum; None keeps it in this process.
    """
    found: dict[int, Role] = {}
    if provision.key_holder is not None:
        side = secure_sum.key_holder_side(provision.key_holder)
        found[KEY_HOLDER] = KeyHolder(agreement, side, journal)
    if provision.openers:
        # What openers do once for a sum is recorded for each by its own key, so they may share a journal.
        facts = MemoryJournal() if journal is None else journal
        for address, material in provision.openers.items():
            found[address] = Opener(agreement, secure_sum.opener_side(material), facts)
    return found
