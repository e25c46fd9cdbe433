"""A node's own keys: its identity, its sealing keys for a committee, and the public card of both."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import msgspec

from fedavg.adapters.exchange.keys.sealing import HeldKeys, SealingFolder
from fedavg.errors import ConfigError
from fedavg.files import replace_file
from secagg import Directory, Identity, SecAggError
from secagg.committee import Committee, SealingKey

if TYPE_CHECKING:
    from pathlib import Path

    from fedavg.adapters.exchange.keys.sealing import KeyPlace

__all__ = ["KEYS_FILE", "Card", "NodeKeys"]

KEYS_FILE = "node.key"

_CARD = struct.Struct("<4sI32s")
_MAGIC = b"FXC1"


@dataclass(frozen=True, slots=True)
class Card:
    """The public half of a node's keys, which goes into an agreement.

    Args:
        node: id of the node, 0 … 2^32 − 1.
        identity: its 32-byte public identity.
        sealing: its signed public sealing key of the present epoch.
    """

    node: int
    identity: bytes
    sealing: bytes

    def check(self) -> None:
        """Check that the identity has signed the sealing key, so that nothing of the card was altered.

        Raises:
            ConfigError: it has not.
        """
        try:
            Committee(Directory({self.node: self.identity}), [self.sealing], epoch=None)
        except SecAggError as error:
            raise ConfigError(
                f"the card of node {self.node} was damaged or altered on its way ({error}): ask the node for "
                "its node.card again"
            ) from None

    def to_text(self) -> str:
        """The card as one line of hexadecimal digits."""
        return (_CARD.pack(_MAGIC, self.node, self.identity) + self.sealing).hex()

    @classmethod
    def from_text(cls, text: str) -> Card:
        """Read `to_text`.

        Raises:
            ConfigError: the text is no card.
        """
        try:
            data = bytes.fromhex(text.strip())
        except ValueError:
            data = b""
        if len(data) <= _CARD.size or data[:4] != _MAGIC:
            raise ConfigError(
                "this is no card of a node; a node makes its card with its keys "
                "(python -m fedavg.adapters.exchange keys)"
            )
        _, node, identity = _CARD.unpack(data[: _CARD.size])
        return cls(node, identity, data[_CARD.size :])


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: int
    identity: str

    def __repr__(self) -> str:
        return "_File(<redacted>)"


@dataclass(frozen=True, slots=True, repr=False)
class NodeKeys:
    """One node's secret keys.  The node makes them itself, and only the card leaves it.

    Args:
        node: id of the node, 0 … 2^32 − 1.
        identity: its signing key, for as long as the node is enrolled.
        sealing: its keys as a member of a committee, each of which serves for one epoch.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> keys = NodeKeys.generate(3)
        >>> keys
        NodeKeys(<redacted>)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keys.write(Path(folder))
        ...     NodeKeys.read(Path(folder)).card == keys.card
        True
        >>> Card.from_text(keys.card.to_text()).node
        3
    """

    node: int
    identity: Identity = field(repr=False)
    sealing: KeyPlace = field(repr=False)

    def __repr__(self) -> str:
        return "NodeKeys(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("NodeKeys holds secret keys and cannot be pickled or copied")

    @classmethod
    def generate(cls, node: int) -> NodeKeys:
        """Draw new keys.

        Raises:
            secagg.LocalProtocolError: the id is no integer of 32 bits.
        """
        identity = Identity.generate()
        first = SealingKey.generate(identity, node, epoch=int(time.time()))
        sealing = HeldKeys({first.epoch: first.private_bytes()})
        return cls(first.member_id, identity, sealing)

    @property
    def card(self) -> Card:
        """The public half, at present.

        Raises:
            ConfigError: there is no sealing key.
        """
        return Card(self.node, self.identity.public, self._newest().card)

    def key_of(self, epoch: int) -> SealingKey:
        """The sealing key of an epoch.

        Raises:
            ConfigError: it cannot be read, or is damaged.
        """
        try:
            return SealingKey.from_private_bytes(
                self.sealing.secret(epoch), self.identity, self.node, epoch=epoch
            )
        except SecAggError:
            raise ConfigError(
                f"the sealing key of epoch {epoch} is damaged: remove its file; the node makes a new key "
                "with its next answer"
            ) from None

    def _newest(self) -> SealingKey:
        epochs = self.sealing.epochs()
        if not epochs:
            raise ConfigError(
                "this node has no sealing key: python -m fedavg.adapters.exchange renew FOLDER makes one"
            )
        return self.key_of(epochs[-1])

    def write(self, folder: Path) -> None:
        """Write the keys to new files that only their owner can read.

        Raises:
            ConfigError: the folder has keys, or cannot be written.
        """
        path = folder / KEYS_FILE
        if path.exists():
            raise ConfigError(
                f"{path} exists: a node that lost its keys is a new node; move the old file away first"
            )
        held, sealing = _File(self.node, self.identity.private_bytes().hex()), self._newest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # First, so that a folder without `node.key` is one in which this was not finished.
            SealingFolder(folder).put(sealing.epoch, sealing.private_bytes())
            replace_file(path, msgspec.json.encode(held), mode=0o600, sole=True)
        except OSError as error:
            raise ConfigError(f"the keys cannot be written: {error}") from None

    @classmethod
    def read(cls, folder: Path) -> NodeKeys:
        """Read the keys that `write` wrote.

        Raises:
            ConfigError: there are none, they are damaged, or others than their owner can read the file.
        """
        path = folder / KEYS_FILE
        try:
            open_to_others = path.stat().st_mode & 0o077
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"there are no keys in {folder}: {error.strerror}; make them at the node "
                "(python -m fedavg.adapters.exchange keys)"
            ) from None
        if open_to_others:
            raise ConfigError(
                f"others can read {path}: chmod 600 it, and make new keys if they did"
            )
        try:
            held = msgspec.json.decode(data, type=_File)
            identity = Identity.from_private_bytes(bytes.fromhex(held.identity))
        # The causes quote what they read, which is a key.
        except (msgspec.MsgspecError, ValueError, SecAggError):
            raise ConfigError(
                f"{path} holds no keys of a node of this version, or is damaged"
            ) from None
        return cls(held.node, identity, SealingFolder(folder))
