"""How the server gets the sum from a sum of masked inputs: it reconstructs and removes every mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.crypto.keys import AgreementKey
from secagg.crypto.masks import add_masks
from secagg.crypto.shamir import rebuild
from secagg.errors import Aborted, AbortReason
from secagg.guards.checks import read_only
from secagg.session.roster import pair_seed, self_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from secagg.crypto.ring import RingArray
    from secagg.errors.conviction import Conviction
    from secagg.session.roster import Roster
    from secagg.verdicts.evidence import Dealing


__all__ = ["Masks", "SumResult", "find_masks", "remove_masks"]

SEEDS_AT_ONCE = 1024
"""Number of ciphers that exist at the same time while masks are removed."""


@dataclass(frozen=True, slots=True, eq=False)
class SumResult:
    """The result of a session.

    Args:
        total: int64[d], the survivors' sum modulo 2^b, centred; read-only.
        survivors: ids of the clients whose inputs are in it, ascending.
        convictions: clients that were shown to cheat, with the evidence.
        disputes: pairs (holder, dealer) where the holder says that the dealer's shares did not open. One of
            the two cheats, and at least one of them is not in the sum.

    Example:
        >>> import numpy as np
        >>> from secagg import Params, Phase, simulate
        >>> inputs = {i: np.array([i, -i]) for i in (5, 6, 7, 8)}
        >>> params = Params.for_cohort(4, 2, max_abs=9, dropout_rate=0.25)
        >>> result = simulate(inputs, params, drop={Phase.MASKED_INPUT: {6}})
        >>> result.survivors, result.total.tolist()
        ((5, 7, 8), [20, -20])
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]
    convictions: tuple[Conviction, ...] = ()
    disputes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", read_only(self.total))


@dataclass(frozen=True, slots=True, repr=False)
class Masks:
    """The masks to remove from a sum of masked inputs.

    Args:
        added: seeds of masks that the sum contains.
        subtracted: seeds of masks that it contains with a minus sign.
        bad: position of a dealer whose shares reconstruct another secret than it announced → those shares.
    """

    added: list[bytes]
    subtracted: list[bytes]
    bad: dict[int, dict[int, bytes]]


def find_masks(
    roster: Roster,
    partner_root: bytes,
    survivors: AbstractSet[int],
    masked_with: Mapping[int, Sequence[int]],
    shares: Iterable[tuple[int, Mapping[int, bytes]]],
    dealings: Mapping[int, Dealing],
) -> Masks:
    """Every survivor's self-mask, and the masks that it shares with clients that are not survivors.

    Args:
        roster: the roster.
        partner_root: hash of roster and partners.
        survivors: positions whose inputs are in the sum.
        masked_with: position → neighbours that it masked with.
        shares: for each partner's position: holder's position → share, of the self-mask for survivors
            and of the mask key for others, checked against the commitments.
        dealings: for each partner's position: what it announced.

    Raises:
        Aborted: there are too few shares for a secret that is needed.
    """
    masks = Masks([], [], {})
    orphans = _orphans(survivors, masked_with)
    needed = {*survivors, *orphans}  # a drop-out that masked with no survivor left no mask
    for position, held in shares:
        if position not in needed:
            continue
        needed.remove(position)
        secret, used = _rebuilt(roster, held, position, dealings[position])
        if secret is None:
            masks.bad[position] = used
        elif position in survivors:
            masks.added.append(self_seed(roster, partner_root, secret, position))
        else:
            key = AgreementKey.from_private_bytes(secret)
            for survivor in orphans[position]:
                seed = pair_seed(roster, partner_root, key, position, survivor)
                # The lower position of a pair adds its mask, and the drop-out's opposite mask never arrived.
                (masks.added if survivor < position else masks.subtracted).append(seed)
    for position in needed:
        _check_enough(roster, {}, position)
    return masks


def remove_masks(total: RingArray, masks: Masks, *, executor: Executor | None = None) -> None:
    """Remove masks from a sum.

    Args:
        total: sum of the survivors' masked inputs; modified in place.
        masks: masks that `find_masks` found, with no bad dealer.
        executor: executor of threads, to use several cores.
    """
    added, subtracted = masks.added, masks.subtracted
    for start in range(0, max(len(added), len(subtracted)), SEEDS_AT_ONCE):
        part = slice(start, start + SEEDS_AT_ONCE)
        # What the clients added is subtracted, and the reverse.
        add_masks(total, subtracted[part], added[part], executor=executor)


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


def _rebuilt(
    roster: Roster, held: Mapping[int, bytes], dealer: int, dealing: Dealing
) -> tuple[bytes | None, dict[int, bytes]]:
    """A dealer's secret, and the shares that reconstruct it; None if they reconstruct another one.

    The dealer's share of its own seed has no commitment.  If the shares including it do not fit, it is left
    out, so that it does no harm if there are enough others.
    """
    _check_enough(roster, held, dealer)
    ways = [sorted(held), sorted(held.keys() - {dealer})]
    threshold = roster.params.threshold
    used: dict[int, bytes] = {}
    for holders in ways:
        if len(holders) >= threshold:
            used = {holder: held[holder] for holder in holders[:threshold]}
            secret = rebuild([holder + 1 for holder in used], list(used.values()))
            if dealing.is_of(secret, roster):
                return secret, used
    return None, used


def _check_enough(roster: Roster, held: Mapping[int, bytes], dealer: int) -> None:
    threshold = roster.params.threshold
    if len(held) < threshold:
        raise Aborted(
            AbortReason.TOO_FEW_UNMASK_SHARES,
            f"{len(held)} shares of client {roster.client_id(dealer)}'s secret, {threshold} needed",
        )
