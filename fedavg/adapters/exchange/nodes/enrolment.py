"""Enrolment of nodes: each makes its keys, and one file with all cards becomes the agreement.

The server takes no part: a party that makes nodes' keys could pose as all of them, and one that lists the
nodes could add its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fedavg import checks
from fedavg.adapters.exchange.agreement import AGREEMENT_FILE, Agreement
from fedavg.adapters.exchange.keys.ages import KeyAges
from fedavg.adapters.exchange.keys.keys import Card, NodeKeys
from fedavg.adapters.exchange.keys.sealing import SealingFolder
from fedavg.adapters.exchange.nodes.epochs import MemberKeys
from fedavg.adapters.exchange.nodes.ledger import LEDGER_FILE
from fedavg.adapters.exchange.nodes.node import JOURNAL_FILE
from fedavg.errors import ConfigError
from fedavg.files import FileJournal, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from fedavg.adapters.exchange.terms import Terms

__all__ = ["CARD_FILE", "enrol_here", "make_node", "read_card", "renew_sealing"]

CARD_FILE = "node.card"
_UNTIL_AGREED = KeyAges(7 * 86400.0)
"""For a folder without an agreement, whose keys no other node has seen."""


def make_node(folder: Path, node: int) -> Card:
    """Make a node's keys in its own folder, and its public card and its empty journal beside them.

    Args:
        folder: the node's folder, which is made if it does not exist.
        node: id of the node.

    Raises:
        ConfigError: the folder has keys, or cannot be written.
        JournalError: the journal cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     card = make_node(Path(folder), 5)
        ...     read_card(Path(folder) / CARD_FILE) == card
        ...     sorted(p.name for p in Path(folder).glob("[jn]*"))
        True
        ['journal', 'node.card', 'node.key']
    """
    keys = NodeKeys.generate(node)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}") from None
    # Of two that make a node here at once, the second finds the first one's keys, and not a half of them.
    with SealingFolder(folder).locked():
        # Old keys end this here, so that a journal is made for new keys only.
        keys.write(folder)
        FileJournal(folder / JOURNAL_FILE)
        try:
            replace_file(folder / CARD_FILE, f"{keys.card.to_text()}\n".encode())
        except OSError as error:
            raise ConfigError(f"the card cannot be written: {error}") from None
        return keys.card


def renew_sealing(folder: Path) -> bytes:
    """Begin a new epoch at a member: nothing opens any more what was sealed to its present key.

    Use it where no further sum ends the epoch, such as after the last run. A sum that is under way loses
    this member.

    Args:
        folder: the node's folder.

    Returns:
        The card of the new key.

    Raises:
        ConfigError: there are no keys, they cannot be kept, or the agreement is damaged.
        JournalError: the journal is missing, empty or damaged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = make_node(Path(folder), 5).sealing
        ...     renew_sealing(Path(folder)) == first
        False
    """
    keys = NodeKeys.read(folder)
    journal = FileJournal(folder / JOURNAL_FILE, create=False)
    agreed = folder / AGREEMENT_FILE
    ages = Agreement.read(agreed).terms.key_ages if agreed.exists() else _UNTIL_AGREED
    return MemberKeys(keys, journal, 1, ages, time.time).renew()


def read_card(path: Path) -> Card:
    """Read a card from a file.

    Raises:
        ConfigError: there is no such file, or it holds no card, or one that was altered.
    """
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError(f"cannot read the card {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    try:
        card = Card.from_text(text)
        card.check()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return card


def enrol_here(
    folder: Path, nodes: int, terms: Terms, *, epsilon: float | None = None
) -> Agreement:
    """Enrol all nodes on one machine, for simulations and tests.

    Args:
        folder: gets one folder for each node, named by its id from 0, and the agreement.
        nodes: number of nodes.
        terms: what they agree on.
        epsilon: the privacy budget of each node, at the terms' δ; for terms with noise, and for no others.

    Raises:
        ConfigError: a folder has keys, or cannot be written, or `epsilon` does not fit the terms.
        PlanError: the terms do not fit so many nodes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from fedavg import FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import Node, Record, Terms
        >>> terms = Terms(
        ...     OneShot(committee=6, corrupt_members=1, absent_members=1),
        ...     {"train": Record(FixedPoint(1.0, 20, rounding="nearest"))},
        ...     max_weight=1000,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     agreement = enrol_here(Path(folder), 6, terms)
        ...     Node.open(Path(folder) / "5")
        Node(5, <redacted>)
    """
    count = checks.config.whole("nodes", nodes, terms.min_cohort)
    private = any(record.noise is not None for record in terms.records.values())
    if private is not (epsilon is not None):
        raise ConfigError(
            "terms with noise need the privacy budget of each node (epsilon=…)"
            if private
            else "epsilon is a budget for noise, and no record of these terms has any"
        )
    cards = [make_node(folder / str(node), node) for node in range(count)]
    agreement = Agreement.among(terms, cards)
    for place in (folder, *(folder / str(node) for node in range(count))):
        agreement.write(place / AGREEMENT_FILE)
    if epsilon is not None:
        from dp import Ledger, SharedLedger  # noqa: PLC0415 - loads the accountant

        for node in range(count):
            budget = Ledger(checks.config.positive("epsilon", epsilon), terms.delta)
            SharedLedger.create(folder / str(node) / LEDGER_FILE, budget)
    return agreement
