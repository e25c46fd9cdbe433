"""What the server settles: which clients go together, and the removal of every mask from their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.crypto.keys import AgreementKey
from secagg.crypto.masks import add_masks
from secagg.crypto.shamir import rebuild
from secagg.errors import Aborted, AbortReason
from secagg.roster import pair_seed, self_seed
from secagg.wire.messages import seed_commitment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from secagg.crypto.ring import RingArray
    from secagg.roster import Roster


__all__ = ["SumResult", "compatible", "remove_masks"]

SEEDS_AT_ONCE = 1024
"""Ciphers alive at a time while masks are removed."""


@dataclass(frozen=True, slots=True, eq=False)
class SumResult:
    """What a session reveals.

    Args:
        total: int64[d], the survivors' sum modulo 2^b, centred.
        survivors: ids of those whose inputs are in it, ascending.
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]


def compatible(roster: Roster, opened: Mapping[int, AbstractSet[int]]) -> set[int]:
    """The largest-minded choice of clients in which all neighbours opened each other's shares.

    A client whose dealt shares do not open, or that claims so of others', is at odds with its
    neighbours.  Whoever is at odds with most goes first, so that one liar who accuses many goes alone.
    Honest clients are at odds with liars only: this is the greedy vertex cover, so c liars who work
    together have at most c·(1 + ln n) clients left out, themselves included; one liar costs one client.

    Args:
        roster: the roster.
        opened: position → neighbours' positions whose shares opened, for each client that answered.

    Returns:
        The positions that may give an input.
    """
    at_odds: dict[int, set[int]] = {}
    for position, peers in opened.items():
        for other in set(roster.neighbours(position)).difference(peers):
            if other in opened:
                at_odds.setdefault(position, set()).add(other)
                at_odds.setdefault(other, set()).add(position)
    chosen = set(opened)
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
    roster: Roster,
    partner_root: bytes,
    survivors: AbstractSet[int],
    masked_with: Mapping[int, Sequence[int]],
    shares: Iterable[tuple[int, Mapping[int, bytes]]],
    commitments: Mapping[int, bytes],
    *,
    executor: Executor | None = None,
) -> None:
    """Subtract every survivor's self-mask, and the masks it shares with those who are not survivors.

    Args:
        total: sum of the survivors' masked inputs; altered in place, and only when all is rebuilt.
        roster: the roster.
        partner_root: hash of roster and partners.
        survivors: positions whose inputs are in the sum.
        masked_with: position → neighbours it masked with.
        shares: for each partner's position: holder's position → share, of the self-mask for survivors
            and of the mask key for others, checked against the commitments.
        commitments: survivors' commitments to their self-mask seeds.
        executor: of threads, to use more cores.

    Raises:
        Aborted: too few shares for a secret that is needed, or they rebuild another one.
    """
    added: list[bytes] = []
    subtracted: list[bytes] = []
    orphans = _orphans(survivors, masked_with)
    needed = {*survivors, *orphans}
    for position, held in shares:
        if position not in needed:
            continue
        needed.remove(position)
        secret, client_id = _rebuilt(roster, held, position), roster.client_id(position)
        if position in survivors:
            if (
                secret is None
                or seed_commitment(roster.session, client_id, secret) != commitments[position]
            ):
                raise _bad_dealer("self-mask seed", client_id)
            added.append(self_seed(roster, partner_root, secret, position))
            continue
        key = None if secret is None else AgreementKey.from_private_bytes(secret)
        if key is None or key.public != roster.entries[position].mask_key:
            raise _bad_dealer("mask key", client_id)
        for survivor in orphans[position]:
            seed = pair_seed(roster, partner_root, key, position, survivor)
            (added if survivor < position else subtracted).append(seed)
    for position in needed:
        _rebuilt(roster, {}, position)
    for start in range(0, max(len(added), len(subtracted)), SEEDS_AT_ONCE):
        part = slice(start, start + SEEDS_AT_ONCE)
        add_masks(total, subtracted[part], added[part], executor=executor)


def _bad_dealer(secret: str, client_id: int) -> Aborted:
    detail = f"the {secret} of client {client_id}"
    return Aborted(AbortReason.BAD_DEALER, detail, client_id)


def _orphans(
    survivors: AbstractSet[int], masked_with: Mapping[int, Sequence[int]]
) -> dict[int, list[int]]:
    """Position outside the sum → survivors whose inputs carry a mask shared with it."""
    orphans: dict[int, list[int]] = {}
    for survivor in sorted(survivors):
        for other in masked_with[survivor]:
            if other not in survivors:
                orphans.setdefault(other, []).append(survivor)
    return orphans


def _rebuilt(roster: Roster, held: Mapping[int, bytes], dealer: int) -> bytes | None:
    threshold = roster.params.threshold
    holders = sorted(held)[:threshold]
    if len(holders) < threshold:
        raise Aborted(
            AbortReason.TOO_FEW_UNMASK_SHARES,
            f"{len(held)} shares of client {roster.client_id(dealer)}'s secret, {threshold} needed",
        )
    return rebuild([holder + 1 for holder in holders], [held[holder] for holder in holders])
