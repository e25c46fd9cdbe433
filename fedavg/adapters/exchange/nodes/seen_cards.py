"""The newest card that a node has seen of each member: it shows them to a server that does not know them.

They are public, and nothing relies on them at the node: what it has seen, its journal knows.  A card is a
proof that its member has begun that epoch.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from fedavg.errors import ConfigError
from fedavg.files import replace_file
from secagg import LocalProtocolError
from secagg.committee import card_epoch, card_member

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["CardFile", "SeenCards", "newest_of"]

CARDS_FILE = "members.cards"


class SeenCards(Protocol):
    """A place for cards; `CardFile` is one.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept: SeenCards = CardFile(Path(folder))
        ...     kept.cards
        ()
    """

    @property
    def cards(self) -> tuple[bytes, ...]:
        """The cards."""
        ...

    def keep(self, cards: tuple[bytes, ...]) -> None:
        """Replace the cards."""
        ...


@dataclass(frozen=True, slots=True)
class CardFile:
    """The cards as a file of the node's folder, which may be removed at any time.

    Args:
        folder: the node's folder.
    """

    folder: Path

    @property
    def cards(self) -> tuple[bytes, ...]:
        """See `SeenCards.cards`; none where the file is missing, or holds no cards."""
        try:
            data = (self.folder / CARDS_FILE).read_bytes()
            return msgspec.msgpack.decode(data, type=tuple[bytes, ...])
        except (OSError, msgspec.DecodeError):
            return ()

    def keep(self, cards: tuple[bytes, ...]) -> None:
        """See `SeenCards.keep`.

        Raises:
            ConfigError: the file cannot be written.
        """
        path = self.folder / CARDS_FILE
        try:
            replace_file(path, msgspec.msgpack.encode(cards))
        except OSError as error:
            raise ConfigError(
                f"the members' cards cannot be kept in {path}: {error.strerror}"
            ) from None


def newest_of(*several: Iterable[bytes]) -> tuple[bytes, ...]:
    """The newest card of each member, by ascending ids.

    Example:
        >>> from secagg import Identity
        >>> from secagg.committee import SealingKey
        >>> who = Identity.generate()
        >>> old, new = (SealingKey.generate(who, 4, epoch=epoch).card for epoch in (1, 2))
        >>> newest_of([new], [old, b"no card"]) == (new,)
        True
    """
    found: dict[int, bytes] = {}
    for cards in several:
        for card in cards:
            with suppress(LocalProtocolError):
                member = card_member(card)
                if member not in found or card_epoch(card) > card_epoch(found[member]):
                    found[member] = card
    return tuple(found[member] for member in sorted(found))
