"""The server's last step: which inputs go together, and the removal of every mask from their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.cohort import pair_seed, self_seed
from secagg.errors import Aborted, AbortReason
from secagg.keys import AgreementKey
from secagg.masks import add_masks
from secagg.messages import seed_commitment
from secagg.shamir import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from secagg.cohort import Cohort
    from secagg.ring import RingArray

__all__ = ["compatible", "remove_masks"]

Shares = dict[int, dict[int, bytes]]
"""Dealer's position → holder's position → share."""


def compatible(cohort: Cohort, masked_with: Mapping[int, AbstractSet[int]]) -> set[int]:
    """The largest-minded choice of inputs in which all neighbours masked with each other.

    A client whose dealt shares do not open, or that claims so of others', is at odds with its
    neighbours.  Whoever is at odds with most goes first, so that one liar who accuses many goes alone.
    Honest clients are at odds with liars only: this is the greedy vertex cover, so c liars who work
    together have at most c·(1 + ln n) clients left out, themselves included.

    Args:
        cohort: the roster.
        masked_with: position → neighbours' positions, for each input that arrived.

    Returns:
        The positions to sum.
    """
    at_odds: dict[int, set[int]] = {}
    for position, peers in masked_with.items():
        for other in cohort.neighbours(position):
            if other in masked_with and not (other in peers and position in masked_with[other]):
                at_odds.setdefault(position, set()).add(other)
    chosen = set(masked_with)
    while at_odds:
        worst = max(at_odds, key=lambda position: (len(at_odds[position]), -position))
        chosen.discard(worst)
        for other in at_odds.pop(worst):
            at_odds[other].discard(worst)
            if not at_odds[other]:
                del at_odds[other]
    return chosen


def remove_masks(
    total: RingArray,
    cohort: Cohort,
    survivors: AbstractSet[int],
    masked_with: Mapping[int, AbstractSet[int]],
    shares: Shares,
    commitments: Mapping[int, bytes],
) -> None:
    """Subtract every survivor's self-mask, and the masks it shares with those who are not survivors.

    Args:
        total: sum of the survivors' masked inputs; altered in place, and only when all is rebuilt.
        cohort: the roster.
        survivors: positions whose inputs are in the sum.
        masked_with: position → neighbours it masked with.
        shares: self-mask shares of survivors and mask-key shares of the others, checked against their
            commitments.
        commitments: survivors' commitments to their self-mask seeds.

    Raises:
        Aborted: too few shares for a secret that is needed, or they rebuild another one.
    """
    added: list[bytes] = []
    subtracted: list[bytes] = []
    for position in sorted(survivors):
        secret = _rebuilt(cohort, shares, position)
        client_id = cohort.client_id(position)
        if (
            secret is None
            or seed_commitment(cohort.session, client_id, secret) != commitments[position]
        ):
            raise Aborted(AbortReason.BAD_DEALER, f"the self-mask seed of client {client_id}")
        added.append(self_seed(cohort, secret, position))
    for position, partners in _orphans(survivors, masked_with).items():
        secret = _rebuilt(cohort, shares, position)
        key = None if secret is None else AgreementKey.from_private_bytes(secret)
        if key is None or key.public != cohort.entries[position].mask_key:
            client_id = cohort.client_id(position)
            raise Aborted(AbortReason.BAD_DEALER, f"the mask key of client {client_id}")
        for survivor in partners:
            seed = pair_seed(cohort, key, position, survivor)
            (added if survivor < position else subtracted).append(seed)
    add_masks(total, plus=subtracted, minus=added)


def _orphans(
    survivors: AbstractSet[int], masked_with: Mapping[int, AbstractSet[int]]
) -> dict[int, list[int]]:
    """Position outside the sum → survivors whose inputs carry a mask shared with it."""
    orphans: dict[int, list[int]] = {}
    for survivor in sorted(survivors):
        for other in masked_with[survivor] - survivors:
            orphans.setdefault(other, []).append(survivor)
    return orphans


def _rebuilt(cohort: Cohort, shares: Shares, dealer: int) -> bytes | None:
    threshold = cohort.params.threshold
    holders: Iterable[int] = sorted(shares.get(dealer, {}))[:threshold]
    held = [shares[dealer][holder] for holder in holders]
    if len(held) < threshold:
        raise Aborted(
            AbortReason.TOO_FEW_UNMASK_SHARES,
            f"{len(held)} shares of client {cohort.client_id(dealer)}'s secret, {threshold} needed",
        )
    return rebuild([holder + 1 for holder in holders], held)
