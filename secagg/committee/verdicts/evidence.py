"""Evidence that more than c members reject a client's shares, and a check that anybody can perform.

It consists of the client's signature on its contribution and the signed reports of the members, so no client
can be convicted without c + 1 members, one of which is honest.  It does not show that the server delivered
the envelopes that the client sent: it convinces a reader who trusts the server in this respect.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from secagg.committee.params.params import CommitteeParams
from secagg.committee.sealing import Committee, pinned
from secagg.committee.verdicts.findings import judge
from secagg.committee.wire.codec import decode, values_of
from secagg.committee.wire.messages import Report, listed
from secagg.crypto.keys import SIGNATURE_SIZE, Directory
from secagg.errors import RemoteProtocolError, WireFormatError
from secagg.errors.conviction import Conviction, Offence
from secagg.guards.checks import context_of, instance, octets

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_rejection", "of_reports"]

_HEAD = struct.Struct(f"<I{SIGNATURE_SIZE}sI")
_NAMED = struct.Struct("<I32s")
_LENGTH = struct.Struct("<I")


def of_reports(
    index: int, signature: bytes, names: Sequence[tuple[int, bytes]], reports: Sequence[bytes]
) -> bytes:
    """The evidence.

    Args:
        index: the contribution's index in the delivery.
        signature: the client's signature on it.
        names: (client, name) of the whole delivery.
        reports: the members' messages.
    """
    head = _HEAD.pack(index, signature, len(names)) + listed(names)
    return head + b"".join(_LENGTH.pack(len(report)) + report for report in reports)


def check_rejection(
    conviction: Conviction,
    *,
    params: CommitteeParams,
    committee: Committee,
    clients: Directory,
    context: bytes,
) -> None:
    """Raise unless the evidence shows that more than c members reject the client's shares.

    Args:
        conviction: the conviction, as a collector states it.
        params: parameters of the session.
        committee: the committee.
        clients: identities of the clients.
        context: context of the session.

    Raises:
        RemoteProtocolError: the evidence does not show it; the culprit is "server".
        WireFormatError: the bytes are no evidence.
        LocalProtocolError: an argument has another type.

    Example:
        >>> from secagg import Conviction, Directory, Identity, Offence
        >>> from secagg.committee import Committee, CommitteeParams, SealingKey
        >>> params = CommitteeParams.for_committee(
        ...     2, corrupt=0, absent=0, vector_length=2, max_clients=3, max_abs=9, min_clients=3
        ... )
        >>> who = {i: Identity.generate() for i in range(2)}
        >>> cards = [SealingKey.generate(it, i, epoch=1).card for i, it in who.items()]
        >>> committee = Committee(Directory({i: it.public for i, it in who.items()}), cards, epoch=1)
        >>> rumour = Conviction(7, Offence.REJECTED_SHARES, b"the server says so")
        >>> check_rejection(
        ...     rumour, params=params, committee=committee, clients=Directory({}), context=b"round 1"
        ... )
        Traceback (most recent call last):
        secagg.errors.WireFormatError: evidence ends early
    """
    conviction = instance("conviction", conviction, Conviction)
    params = instance("params", params, CommitteeParams)
    clients = pinned("clients", clients)
    session = instance("committee", committee, Committee).session(params, context_of(context))
    index, signature, names, messages = _read(octets("evidence", conviction.evidence), params)
    client_id, name = names[index]
    identity = clients.identity(client_id)
    _require(conviction.offence is Offence.REJECTED_SHARES, "an offence of this protocol")
    _require(
        client_id == conviction.client_id and identity is not None, "the client's contribution"
    )
    _require(clients.verify(identity or b"", signature, name), "the client's signature")
    reports: dict[int, Report] = {}
    for message in messages:
        named, report = decode(message, params)
        if not isinstance(report, Report):
            raise WireFormatError("evidence is made of reports")
        _require(named == session, "reports of the session")
        _require(report.member_id in committee.ids, "reports of members")
        place = committee.place(report.member_id)
        _require(place not in reports, "one report a member")
        _require(len(report.opened) == len(names), "reports on the whole delivery")
        statement, identity = report.statement(session, names), committee.identities[place]
        signed = committee.directory.verify(identity, report.signature, statement)
        _require(signed, f"a signature of member {report.member_id}")
        reports[place] = report
    _require(params.radius(len(reports)) is not None, "enough reports")
    # The verdict is computed again; that of the server is not believed.
    opened = {place: report.opened for place, report in reports.items()}
    found = judge(params, opened, {p: values_of(params, report) for p, report in reports.items()})
    _require(index in found.guilty, "enough members against the client")


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise RemoteProtocolError(f"shows no evidence: it lacks {what}", "server")


def _read(
    data: bytes, params: CommitteeParams
) -> tuple[int, bytes, list[tuple[int, bytes]], list[bytes]]:
    if len(data) < _HEAD.size:
        raise WireFormatError("evidence ends early")
    index, signature, count = _HEAD.unpack_from(data)
    at = _HEAD.size + count * _NAMED.size
    if not index < count <= params.max_clients or at > len(data):
        raise WireFormatError("evidence with a list of contributions that cannot be")
    names = list(_NAMED.iter_unpack(data[_HEAD.size : at]))
    reports: list[bytes] = []
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            raise WireFormatError("evidence ends within a length")
        at = start + int.from_bytes(data[start - _LENGTH.size : start], "little")
        if at > len(data) or len(reports) >= params.n_members:
            raise WireFormatError("evidence ends within a report, or has too many")
        reports.append(data[start:at])
    return index, signature, names, reports
