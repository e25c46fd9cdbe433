"""A sum by a committee: a client's one message, a member's three, and the opening of few and many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Stopwatch, Timing
from secagg import Directory, Identity
from secagg.committee import (
    Collector,
    Committee,
    CommitteeParams,
    CommitteePhase,
    Contributor,
    Member,
    SealingKey,
)
from secagg.committee.collector import closing
from secagg.committee.wire.codec import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.kit.bench import Bench
    from secagg.committee.wire.messages import Answer

__all__ = ["play", "run"]

_CONTEXT = b"benchmarks.secagg.committee"
_WATCHED = 3
"""Members that are timed, each a new object for each message and with directories of its own."""


class _Facts:
    """A journal in memory."""

    def __init__(self) -> None:
        self._facts: set[bytes] = set()

    def add(self, fact: bytes, /) -> bool:
        new = fact not in self._facts
        self._facts.add(fact)
        return new


@dataclass(frozen=True, slots=True)
class Played:
    """One session.

    Args:
        clients: CPU seconds of each client.
        members: CPU seconds of each watched member, over its three messages.
        down: bytes that a watched member received.
        up: bytes that it sent.
        server: CPU seconds of the collector for the members' messages, not for the clients'.
        answers: place → answer, to open the sum again.
        total: the sum.
    """

    clients: Timing
    members: Timing
    down: int
    up: int
    server: float
    answers: dict[int, Answer]
    total: np.ndarray


class _Parties:
    """All keys of a session."""

    def __init__(self, params: CommitteeParams, clients: int) -> None:
        self.params = params
        self.identities = {j: Identity.generate() for j in range(params.n_members)}
        self.keys = {j: SealingKey.generate(i, j, epoch=1) for j, i in self.identities.items()}
        self.people = {i: Identity.generate() for i in range(clients)}
        self.journals = {j: _Facts() for j in self.identities}
        self.directory, self.committee = self._clients(), self._committee()

    def _clients(self) -> Directory:
        return Directory({i: who.public for i, who in self.people.items()})

    def _committee(self) -> Committee:
        known = Directory({j: who.public for j, who in self.identities.items()})
        return Committee(known, [key.card for key in self.keys.values()], epoch=1)

    def member(self, j: int) -> Member:
        """A member; a watched one has its own directories, whose caches no other has filled."""
        own = j < _WATCHED
        return Member(
            self.params,
            j,
            self.identities[j],
            self.keys[j],
            self._committee() if own else self.committee,
            self._clients() if own else self.directory,
            context=_CONTEXT,
            journal=self.journals[j],
        )


def play(
    params: CommitteeParams,
    clients: int,
    *,
    tick: Callable[[], None],
    restart: bool = True,
    silent: frozenset[int] = frozenset(),
) -> Played:
    """One session.

    Args:
        params: of the session.
        clients: number of clients, all of whom contribute.
        tick: called after each contribution.
        restart: whether a watched member is a new process after its report, and so loses its shares.
        silent: members that send nothing.

    Raises:
        ValueError: the sum is wrong.
    """
    parties = _Parties(params, clients)
    server = Collector(params, parties.committee, parties.directory, context=_CONTEXT)
    vectors = np.random.default_rng(0).integers(
        -params.max_abs, params.max_abs + 1, (clients, params.vector_length)
    )
    seconds: list[float] = []
    for i, who in parties.people.items():
        contributor = Contributor(params, i, who, parties.committee, context=_CONTEXT)
        watch = Stopwatch()
        with watch:
            message = contributor.contribute(vectors[i], message_digest=bytes(32))
        seconds.append(watch.seconds)
        server.receive(i, message)
        tick()
    watches = {j: Stopwatch() for j in range(_WATCHED)}
    down = up = 0
    answers: dict[int, Answer] = {}
    kept = {j: parties.member(j) for j in parties.identities}
    collecting = Stopwatch()
    with collecting:
        messages = server.advance()
    while server.phase is not CommitteePhase.DONE:
        for j, message in messages.items():
            if j in silent:
                continue
            # A watched member handles each message in a new process, but keeps its shares until it answers.
            fresh = restart and j in watches and server.phase is CommitteePhase.SIGN
            kept[j] = parties.member(j) if fresh else kept[j]
            with watches.get(j, Stopwatch()):
                reply = kept[j].receive(message)
            down, up = (down + len(message), up + len(reply)) if j == 0 else (down, up)
            if server.phase is CommitteePhase.ANSWER:
                answers[j] = cast("Answer", decode(reply, params)[1])
            with collecting:
                server.receive_member(j, reply)
        with collecting:
            messages = server.advance()
    total = server.result().total
    if not np.array_equal(total, vectors.sum(axis=0)):
        raise ValueError("the sum is wrong")
    members = Timing.of([watch.seconds for watch in watches.values()])
    return Played(Timing.of(seconds), members, down, up, collecting.seconds, answers, total)


def run(bench: Bench) -> None:
    """A committee of fifty, ten clients and a thousand."""
    m, c, absent = bench.pick(quick=(10, 1, 1), default=(50, 5, 10), full=(50, 5, 10))
    n, length = bench.pick(quick=(20, 256), default=(1000, 4096), full=(1000, 4096))
    few = 10
    params = CommitteeParams.for_committee(
        m,
        corrupt=c,
        absent=absent,
        vector_length=length,
        max_clients=n,
        max_abs=21,
        min_clients=few,
    )
    with bench.progress(f"committee of {m}, n={few} and n={n:,}", n + few) as tick:
        small, large = (play(params, size, tick=tick) for size in (few, n))
    times = bench.contest(
        "opening a sum by a committee",
        {
            "few": lambda: closing.total(params, small.answers),
            "many": lambda: closing.total(params, large.answers),
        },
        rounds=9,
        min_seconds=0.05,
    )
    about = f"m={m}, c={c}, {absent} may be absent, t={params.threshold}, k={params.packing}, d={length:,}"
    bench.add(
        Measure(
            "committee_client",
            f"client of a committee of {m}, d={length:,}",
            "CPU s",
            ours=large.clients,
            note=f"{about}; {params.contribution_size:,} bytes, sent once",
        ),
        Measure(
            "committee_member",
            f"member of a committee of {m}, n={n:,}, three messages",
            "CPU s",
            ours=large.members,
            bar=bench.bar(1, 0.4, of="ours", at_most=True),
            note=f"{about}; a new process after the report; {large.up:,} bytes up",
        ),
        Measure(
            "committee_down",
            f"download of a member of a committee of {m}, n={n:,}",
            "bytes",
            ours=large.down,
            bar=bench.bar(2_200_000, 1_000_000, of="ours", at_most=True),
            note=f"{about}; envelopes twice, since the member's shares were lost after the report",
        ),
        Measure(
            "committee_opening",
            f"opening by a committee of {m}, n={n:,}, against n={few}",
            "CPU s",
            ours=times["many"],
            peer=times["few"],
            ratio=times["many"].median / times["few"].median,
            bar=bench.bar(1.5, 1.1, at_most=True),
            note=f"{about}; the same parameters for both",
        ),
    )
