"""The agreement: terms, identities of all nodes, and a committee if any, in one public file of every party.

A node acts on the file in its own folder alone.  Its digest is part of every request and of the name of every
sum, so that a server with another agreement gets a refusal and no sum.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import numpy as np

from dp import DpError
from dp.checks import is_a
from fedavg import encoding
from fedavg.adapters.exchange.terms import Record, Terms
from fedavg.errors import ConfigError, FedAvgError, PlanError
from fedavg.files import check_writable, replace_file
from fedavg.parts import check_registered, names, registered, union
from fedavg.parts.nearest import explained, key_offered, offered
from fedavg.sums.interface import SumSpec
from secagg import Directory, SecAggError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fedavg.adapters.exchange.keys.keys import Card
    from fedavg.privacy.noise import Noise
    from fedavg.sums.one_shot import OneShot
    from secagg.committee import Committee

__all__ = ["AGREEMENT_FILE", "Agreement", "read_noise"]

AGREEMENT_FILE = "agreement.json"
OURS = (encoding.FixedPoint, encoding.Quantised)
"""Encodings that an agreement may name; their import registers them."""
WITH_COMMITTEE, WITHOUT = "fedavg.sums.one_shot", "fedavg.sums.masked"
"""Modules that register the sums which an agreement may name. A process starts for every message: the
catalogue of all parts, or the other sum, would be loaded each time."""

_FORMAT: Literal["fedavg exchange agreement 1"] = "fedavg exchange agreement 1"
_CANONICAL = msgspec.msgpack.Encoder(order="deterministic")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["fedavg exchange agreement 1"]
    terms: dict[str, Any]
    nodes: dict[int, str]
    committee: dict[int, str]


@dataclass(frozen=True, eq=False)
class Agreement:
    """What all nodes and the server hold, each in a file of its own.

    Args:
        terms: the records and the sum.
        nodes: id of every node to its 32-byte public identity.
        members: id of every member of the committee, who is a node, to its first signed public sealing key,
            which later ones replace; nobody for a sum without a committee.

    Raises:
        PlanError: the committee has another size than the sum says, or there are fewer nodes than a round
            asks.
        secagg.SecAggError: an identity or a sealing key is no proper one.

    Example:
        >>> from fedavg import FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import NodeKeys, Record, Terms
        >>> keys = [NodeKeys.generate(node) for node in range(6)]
        >>> terms = Terms(
        ...     OneShot(committee=6, corrupt_members=1, absent_members=1),
        ...     {"train": Record(FixedPoint(1.0, 20, rounding="nearest"))},
        ...     max_weight=1000,
        ... )
        >>> agreement = Agreement.among(terms, [key.card for key in keys])
        >>> Agreement.from_bytes(agreement.to_bytes()).digest == agreement.digest
        True
    """

    terms: Terms
    nodes: Mapping[int, bytes]
    members: Mapping[int, bytes]

    def __post_init__(self) -> None:
        terms = self.terms
        if not is_a(terms, Terms):
            raise PlanError(f"terms must be Terms, not {type(terms).__name__}")
        if len(self.members) != terms.sum.committee:
            raise PlanError(
                f"the sum says committee={terms.sum.committee}, and {len(self.members)} members are named"
            )
        if len(self.nodes) < terms.min_cohort:
            raise PlanError(
                f"{len(self.nodes)} nodes are enrolled, and a round asks at least {terms.min_cohort}"
            )
        check_registered(terms.sum)
        terms.sum.check_population(len(self.nodes))
        for kind, record in terms.records.items():
            check_registered(record.encoding)
            if record.noise is not None:
                self._check_noise(kind, record)
        # They are made here, so that a bad identity or card is refused when the file is read.
        committee = self.committee(self.members.values())
        if committee is None:
            _ = self.material
        else:
            cast("OneShot", terms.sum).among(
                committee, self.nodes
            )  # refuses others than the drawn ones

    def _check_noise(self, kind: str, record: Record) -> None:
        """Refuse noise that these nodes cannot add, or that nobody can account for."""
        from fedavg.adapters.exchange.vectors.noisy import NoisyCoordinates  # noqa: PLC0415 - see `WITHOUT`

        check_registered(record.noise)
        # Any model will do: what depends on its length is checked when it is known.
        probe = {name: np.zeros(1) for name in record.arrays}
        try:
            NoisyCoordinates.of(self.terms, kind, len(self.nodes), probe).check()
        except (DpError, FedAvgError) as error:
            raise PlanError(f"the noise of record {kind!r} does not fit: {error}") from error

    @classmethod
    def among(
        cls, terms: Terms, cards: Iterable[Card], *, members: Iterable[int] | None = None
    ) -> Agreement:
        """Put an agreement together from the cards of all nodes.

        Args:
            terms: the records and the sum.
            cards: the nodes' cards.
            members: ids of the nodes that form the committee; None for those that the sum draws, or for those
                of the lowest ids where it draws none.

        Raises:
            PlanError: two cards have one id, a member has no card, or others were drawn.
        """
        held: dict[int, Card] = {}
        for card in cards:
            if card.node in held:
                raise PlanError(
                    f"two cards are of node {card.node}; each node has an id of its own"
                )
            held[card.node] = card
        if len(held) < terms.sum.committee:
            raise PlanError(
                f"a committee of {terms.sum.committee} members needs as many nodes, and there are "
                f"{len(held)} cards: add cards, or agree on a smaller committee"
            )
        known = {node: held[node].identity for node in sorted(held)}
        drawn = cast("OneShot", terms.sum).drawn_from(known) if terms.sum.drawn else ()
        first = sorted(held)[: terms.sum.committee]
        chosen = list(drawn or first) if members is None else sorted(set(members))
        if unknown := [node for node in chosen if node not in held]:
            raise PlanError(f"member {unknown[0]} of the committee has no card")
        return cls(
            terms,
            known,
            {node: held[node].sealing for node in chosen},
        )

    @functools.cached_property
    def material(self) -> bytes:
        """The public material from which the parties load their sides of a sum without a committee."""
        # No party of such a sum has material of its own, so that this is public; any sum will do.
        spec = SumSpec(1, 1, None, len(self.nodes), self.terms.weight.encode())
        return self.terms.sum.provision(spec, self.nodes).clients

    @functools.cached_property
    def _pinned(self) -> tuple[Directory, Directory]:
        """All nodes, and the members; a directory remembers the signatures that it has verified."""
        members = {member: self.nodes[member] for member in self.members}
        return Directory(dict(self.nodes)), Directory(members)

    def committee(self, cards: Iterable[bytes]) -> Committee | None:
        """The committee with the sealing keys that these cards name; None for a sum without one.

        Whether a key's epoch is over, no card shows: `fedavg.adapters.exchange.nodes.epochs` knows it.

        Args:
            cards: cards of the members; as many may lack one as may be absent.

        Raises:
            PlanError: a member is no node of the agreement.
            secagg.SecAggError: a card is not signed by its member, or too many members have none.
        """
        if strangers := [member for member in self.members if member not in self.nodes]:
            raise PlanError(f"member {strangers[0]} of the committee is no node of the agreement")
        _, members = self._pinned  # refuses what no session would take
        if not self.members:
            return None
        from secagg.committee import Committee  # noqa: PLC0415 - see `WITHOUT`

        return Committee(members, cards, epoch=None, absent=self.terms.sum.absent_members)

    def signed_key(self, member: int, card: bytes) -> tuple[int, bytes]:
        """The epoch and the public sealing key that a member's card names.

        Raises:
            secagg.SecAggError: the member did not sign it.
        """
        from secagg.committee import Committee  # noqa: PLC0415 - see `WITHOUT`

        alone = Committee(Directory({member: self.nodes[member]}), [card], epoch=None)
        return alone.epoch, alone.sealing[0]

    def has_signed(self, card: bytes) -> bool:
        """Whether the member that a card names is one of this agreement's, and has signed it."""
        from secagg.committee import card_member  # noqa: PLC0415 - see `WITHOUT`

        try:
            member = card_member(card)
            return member in self.members and bool(self.signed_key(member, card))
        except SecAggError:
            return False

    @functools.cached_property
    def digest(self) -> bytes:
        """32 bytes that name this agreement."""
        plain = msgspec.to_builtins(self._file(), str_keys=True)
        for record in plain["terms"]["records"].values():
            # The encoder sorts maps, and the first pattern that fits a name gives its range.
            record["ranges"] = list(record["ranges"].items())
        return hashlib.sha256(_FORMAT.encode() + _CANONICAL.encode(plain)).digest()

    def to_bytes(self) -> bytes:
        """The agreement as text (JSON) for people to read."""
        return msgspec.json.format(msgspec.json.encode(self._file()), indent=2) + b"\n"

    def _file(self) -> _File:
        return _File(
            _FORMAT,
            _written(self.terms),
            {node: identity.hex() for node, identity in self.nodes.items()},
            {member: card.hex() for member, card in self.members.items()},
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Agreement:
        """Read `to_bytes`.

        Raises:
            ConfigError: the bytes hold no agreement, or an impossible one.
        """
        try:
            held = msgspec.json.decode(data, type=_File)
            importlib.import_module(WITH_COMMITTEE if held.committee else WITHOUT)
            return cls(
                _read_terms(held.terms),
                {node: bytes.fromhex(identity) for node, identity in held.nodes.items()},
                {member: bytes.fromhex(card) for member, card in held.committee.items()},
            )
        except (FedAvgError, SecAggError, msgspec.MsgspecError, ValueError, TypeError) as error:
            raise ConfigError(f"this is no agreement: {error}") from error
        except RecursionError:
            raise ConfigError("this is no agreement: its values are nested too deeply") from None
        except KeyError as error:
            raise ConfigError(f"this is no agreement: its terms lack {error}") from None

    def write(self, path: Path) -> None:
        """Write the file; every node and the server get a copy.

        Raises:
            ConfigError: the file cannot be written.
        """
        check_writable(path)
        try:
            replace_file(path, self.to_bytes())
        except OSError as error:
            raise ConfigError(f"the agreement cannot be written: {error}") from None

    @classmethod
    def read(cls, path: Path) -> Agreement:
        """Read the file.

        Raises:
            ConfigError: there is no such file, or it holds no agreement.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read the agreement {path}: {error.strerror}") from None
        return cls.from_bytes(data)


def _written(terms: Terms) -> dict[str, Any]:
    """Terms as plain values; parts carry their names."""
    plain: dict[str, Any] = {f.name: getattr(terms, f.name) for f in fields(terms)}
    plain["records"] = {
        kind: {f.name: msgspec.to_builtins(getattr(record, f.name)) for f in fields(record)}
        for kind, record in terms.records.items()
    }
    plain["sum"] = msgspec.to_builtins(terms.sum)
    return plain


def _read_terms(plain: dict[str, Any]) -> Terms:
    records = msgspec.convert(plain["records"], dict[str, dict[str, Any]])
    _check_keys("its terms have", plain, Terms)
    read: dict[str, Record] = {}
    for kind, held in records.items():
        _check_keys(f"record {kind!r} has", held, Record)
        parts: dict[str, Any] = {
            "encoding": _part(held["encoding"], "encoding"),
            "noise": read_noise(held.get("noise")),
        }
        read[kind] = Record(**{**held, **parts})
    given: dict[str, Any] = {**plain, "records": read}
    given["sum"] = _part(plain["sum"], "secure_sum")
    return Terms(**given)


def _check_keys(whose: str, plain: dict[str, Any], kind: type[Terms | Record]) -> None:
    """Refuse keys that there are not, in the words of the file."""
    known = [field.name for field in fields(kind)]
    if unknown := [key for key in plain if key not in known]:
        raise ConfigError(f"{whose} an unknown key {unknown[0]!r}{key_offered(unknown[0], known)}")


def _part(plain: object, family: Literal["encoding", "secure_sum", "noise"]) -> Any:  # noqa: ANN401 - of the family
    """A part as an agreement's file has it.

    Raises:
        ConfigError: there is no part of this kind.
    """
    named = plain.get("kind") if isinstance(plain, dict) else plain
    if named not in names(family):
        for module in (WITH_COMMITTEE, WITHOUT):  # so that all sums are named
            importlib.import_module(module)
        what = family.replace("_", " ")
        if named in names(family):
            raise ConfigError(
                f"the {what} {named!r} does not fit the committee that the file lists"
            )
        raise ConfigError(f"there is no {what} {named!r}; {offered(named, names(family))}")
    try:
        return msgspec.convert(plain, union(family))
    except msgspec.ValidationError as error:
        said = explained(str(error), registered(family)[str(named)])
        raise ConfigError(f"{family.replace('_', ' ')} {named!r}: {said}") from None


def read_noise(plain: object) -> Noise | None:
    """A noise as an agreement's file has it; None for none.

    Raises:
        ConfigError: there is no such noise, or its values are out of range.
    """
    if plain is None:
        return None
    importlib.import_module("fedavg.privacy.noise")  # registers them; see `WITHOUT`
    return _part(plain, "noise")
