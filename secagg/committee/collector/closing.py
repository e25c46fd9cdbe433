"""What follows from all messages of a phase: the next messages, the set, the sum, or the end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secagg.committee.arithmetic.sharing import rebuild
from secagg.committee.verdicts.disputes import settle
from secagg.committee.verdicts.evidence import of_reports
from secagg.committee.verdicts.findings import false_places, judge
from secagg.committee.wire.codec import encode, sums_of, values_of
from secagg.committee.wire.messages import Delivery, Proposal, Request
from secagg.errors import Aborted, AbortReason
from secagg.errors.conviction import Conviction, Offence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from secagg.committee.collector.admission import Accepted
    from secagg.committee.params.params import CommitteeParams
    from secagg.committee.wire.messages import Answer, Endorsement, Report

__all__ = ["Chosen", "choose", "deliveries", "proposals", "requests", "total"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The set that members are asked to sign.

    Args:
        included: for each contribution, ascending by client, whether it is in the set.
        members: places of the members that have no dispute with any of these.
        dropped: places of the members that are left out over disputes.
        convictions: the clients that are shown to have dealt wrong shares.
        disputes: (place of a member, client), all of them.
    """

    included: tuple[bool, ...]
    members: tuple[int, ...]
    dropped: frozenset[int]
    convictions: tuple[Conviction, ...]
    disputes: tuple[tuple[int, int], ...]


def deliveries(
    params: CommitteeParams, accepted: Sequence[Accepted], session: bytes
) -> dict[int, bytes]:
    """Place of a member → its delivery.

    Raises:
        Aborted: too few clients contributed.
    """
    if len(accepted) < params.min_clients:
        raise Aborted(
            AbortReason.TOO_FEW_CONTRIBUTIONS, f"{len(accepted)} of {params.min_clients} needed"
        )
    heads = tuple(one.head for one in accepted)
    signatures = tuple(one.message.signature for one in accepted)
    return {
        place: encode(
            Delivery(heads, signatures, tuple(one.message.envelopes[place] for one in accepted)),
            session,
        )
        for place in range(params.n_members)
    }


def choose(
    params: CommitteeParams,
    accepted: Sequence[Accepted],
    reports: Mapping[int, Report],
    session: bytes,
) -> Chosen:
    """Judge the contributions by the members' reports, and settle disputes.

    Args:
        params: parameters of the session.
        accepted: the contributions, ascending by client.
        reports: place of a member → its report.
        session: name of the session.

    Raises:
        Aborted: too few members reported.
    """
    needed = max(params.quorum, params.rebuild + params.corrupt)
    if len(reports) < needed:
        raise Aborted(AbortReason.TOO_FEW_REPORTS, f"{len(reports)} of {needed} needed")
    opened = {place: report.opened for place, report in reports.items()}
    # Residues have 21 bits; of a thousand members and many clients these are most of the memory.
    values = {place: values_of(params, one).astype(np.int32) for place, one in reports.items()}
    findings = judge(params, opened, values)
    # Members are left out only as long as enough of them remain for a sum.
    most = min(params.corrupt, len(reports) - needed)
    dropped, gone = settle(findings.disputes, most)
    out = gone | findings.guilty | findings.unclear
    clients = [one.head.client_id for one in accepted]
    return Chosen(
        tuple(index not in out for index in range(len(accepted))),
        tuple(sorted(reports.keys() - dropped)),
        dropped,
        tuple(
            Conviction(
                clients[index],
                Offence.REJECTED_SHARES,
                of_reports(
                    index,
                    accepted[index].message.signature,
                    [one.pair for one in accepted],
                    [encode(reports[place], session) for place in sorted(reports)],
                ),
            )
            for index in sorted(findings.guilty)
        ),
        tuple(
            (place, clients[index])
            for index, places in sorted(findings.disputes.items())
            for place in sorted(places)
        ),
    )


def check_size(params: CommitteeParams, chosen: Chosen) -> None:
    """Raise Aborted unless the set is large enough to be signed."""
    size = sum(chosen.included)
    if size < params.min_clients:
        raise Aborted(AbortReason.TOO_FEW_SURVIVORS, f"{size} of {params.min_clients} needed")


def proposals(
    chosen: Chosen, accepted: Sequence[Accepted], reports: Mapping[int, Report], session: bytes
) -> dict[int, bytes]:
    """Place of a member → the set to sign, with the member's own report."""
    names = tuple(one.pair for one in accepted)
    included = bytes(chosen.included)
    out: dict[int, bytes] = {}
    for place in chosen.members:
        report = reports[place]
        values = hashlib.sha256(report.values).digest()
        message = Proposal(names, included, report.opened, values, report.signature)
        out[place] = encode(message, session)
    return out


def requests(
    params: CommitteeParams,
    members: Iterable[Accepted],
    endorsements: Mapping[int, Endorsement],
    session: bytes,
) -> dict[int, bytes]:
    """Place of each signer → the request for its sum.

    Args:
        params: parameters of the session.
        members: the contributions in the set, ascending by client.
        endorsements: place of a member → its signature.
        session: name of the session.

    Raises:
        Aborted: too few members signed.
    """
    if len(endorsements) < params.quorum:
        raise Aborted(
            AbortReason.TOO_FEW_SIGNATURES, f"{len(endorsements)} of {params.quorum} needed"
        )
    places = sorted(endorsements)
    quorum = tuple((place, endorsements[place].signature) for place in places[: params.quorum])
    included = tuple(members)
    heads = tuple(one.head for one in included)
    short = encode(Request(quorum, (), ()), session)
    out: dict[int, bytes] = {}
    for place in places:
        if not endorsements[place].needs:
            out[place] = short
            continue
        envelopes = tuple(one.message.envelopes[place] for one in included)
        out[place] = encode(Request(quorum, heads, envelopes), session)
    return out


def total(params: CommitteeParams, answers: Mapping[int, Answer]) -> NDArray[np.int64]:
    """The sum, int64[vector_length]: corrected, or refused.

    Args:
        params: parameters of the session.
        answers: place of a member → its answer.

    Raises:
        Aborted: too few answers, or more false ones than can be corrected.
    """
    radius = params.radius(len(answers))
    if radius is None:
        needed = params.rebuild + params.corrupt
        raise Aborted(AbortReason.TOO_FEW_ANSWERS, f"{len(answers)} of {needed} needed")
    places = sorted(answers)
    table = np.array([sums_of(params, answers[place]) for place in places])
    false = false_places(params, places, table, radius)
    if false is None:
        raise Aborted(
            AbortReason.FALSE_ANSWERS,
            f"of {len(answers)} answers more than {radius} are false, which is what can be corrected",
        )
    kept = [row for row, place in enumerate(places) if place not in false][: params.rebuild]
    return rebuild(params, [places[row] for row in kept], table[kept])
