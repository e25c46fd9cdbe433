"""Clients and the server of a thousand, beside secagg's in the same run; bytes and messages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.he.onetime import Case
from benchmarks.kit.measure import Measure
from benchmarks.kit.timing import Cost, Timing
from benchmarks.one_shot.setting import BOUND, RATE, Setting, vector
from benchmarks.secagg.session import record, replay
from secagg import Params

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.kit.bench import Bench
    from benchmarks.one_shot.committees import Sessions
    from benchmarks.secagg.session import Recording
    from fedavg.sums.interface import Provision
    from secagg import Identity

__all__ = ["run"]

_UPLOADS = {100: (28.0, 26.0), 1000: (33.0, 30.0)}
_SAMPLES = 12
_SENDERS = 3
_CARD = 112  # bytes of a member's signed sealing key


@dataclass(slots=True)
class _Clients:
    """Clients of a sum, each alone in its process: its material is read, and its cards are verified, anew."""

    setting: Setting
    known: dict[int, Identity]
    given: Provision
    vector: NDArray[np.int64]
    seconds: list[float] = field(default_factory=list[float])

    def sent(self, client: int) -> Sequence[bytes]:
        """All that one client sends, timed."""
        spec = self.setting.spec
        begun = time.process_time()
        side = self.setting.sums.client_side(self.given.clients)
        session = side.session(spec, client, self.known[client], b"ONE1" + spec.context)
        session.set_input(self.vector)
        messages = session.start()
        self.seconds.append(time.process_time() - begun)
        return messages


def run(bench: Bench, sessions: Sessions) -> None:
    """Record a session of secagg, with clients of ours in between; then let the servers take turns."""
    n = bench.pick(quick=20, default=1000, full=1000)
    setting = Setting.of(bench, n)
    own = _Clients(setting, *setting.provided(), vector(setting.length))
    sent = {client: own.sent(client) for client in range(_SENDERS)}
    own.seconds.clear()
    theirs = _recorded(bench, setting, own)
    _client_rows(bench, setting, own, theirs)
    _server_row(bench, setting, own, sent, theirs, sessions)
    _upload_rows(bench, n, sent[0])


def _recorded(bench: Bench, setting: Setting, own: _Clients) -> Recording:
    n = setting.clients
    params = Params.for_cohort(
        n, setting.length, max_abs=BOUND, dropout_rate=RATE, corrupt_rate=RATE
    )
    silent, count = int(RATE * n), 0
    every = max(1, (n - silent) // _SAMPLES)
    with bench.progress(f"clients of secagg, n={n:,}", n - silent) as shown:

        def tick() -> None:
            nonlocal count
            count += 1
            shown()
            if count % every == 0:
                own.sent(0)

        return record(params, silent=silent, watched=8, tick=tick)


def _client_rows(bench: Bench, setting: Setting, own: _Clients, theirs: Recording) -> None:
    n, members = setting.clients, setting.members
    ours, peer = Timing.of(own.seconds), Timing.of(theirs.client_seconds)
    down = len(b"ONE1" + setting.spec.context) + members[0] * _CARD
    bench.add(
        Measure(
            "client",
            f"client, n={n:,}, d={setting.length:,}",
            "CPU s",
            ours,
            peer,
            ratio=ours.median / peer.median,
            bar=bench.bar(0.6, 0.4, at_most=True),
            note=f"ours: its material is read and the cards of {members[0]} members are verified, which a "
            f"client does once an epoch; the peer is secagg with {theirs.params.degree} neighbours",
        ),
        Measure(
            "down",
            f"client's download besides the model, n={n:,}",
            "bytes",
            down,
            theirs.down,
            bar=bench.bar(8_000, 2_000, of="ours", at_most=True),
            note=f"the opening, and the cards of {members[0]} members, which come once for ten rounds",
        ),
        Measure(
            "messages",
            "messages of a client after the model",
            "messages",
            1,
            len(theirs.messages),
            bar=bench.bar(1, of="ours", at_most=True),
            note="all at once: ciphertexts in chunks, and the shares of the key. In a federation a client "
            "says before that it has trained, in a few bytes",
        ),
        Measure(
            "member_messages",
            "messages of a member",
            "messages",
            3,
            bar=bench.bar(3, 2, of="ours", at_most=True),
        ),
    )


def _server_row(
    bench: Bench,
    setting: Setting,
    own: _Clients,
    sent: dict[int, Sequence[bytes]],
    theirs: Recording,
    sessions: Sessions,
) -> None:
    """Receiving, checking and adding, measured for a few clients; members' messages and opening, for all."""
    n = setting.clients
    case = Case.of(setting.sums.params(setting.spec), own.vector)
    side = setting.sums.server_side(own.given.server)

    def received() -> Cost:
        session = side.session(setting.spec, range(n))
        session.open()
        begun = time.process_time()
        for client, messages in sent.items():
            for message in messages:
                session.receive(client, message)
        return Cost((time.process_time() - begun) / len(sent))

    def added() -> Cost:
        server = case.served(add=False)
        first, *others = server.complete
        server.add(first)  # makes the accumulator, once for the whole sum
        begun = time.process_time()
        for client in others:
            server.add(client)
        return Cost((time.process_time() - begun) / len(others))

    times = bench.contest(
        "servers",
        {
            "received": received,
            "added": added,
            "secagg": lambda: Cost(replay(theirs).seconds / (n - len(theirs.silent))),
        },
        rounds=bench.pick(quick=2, default=3, full=5),
    )
    parts = {
        "received": times["received"].median,
        "added": times["added"].median,
        "members": sessions.many.server / n,
        "opening": sessions.opening / n,
    }
    ours = sum(parts.values())
    bench.add(
        Measure(
            "server",
            f"server, a client, n={n:,}, d={setting.length:,}",
            "CPU s",
            ours,
            times["secagg"],
            ratio=ours / times["secagg"].median,
            bar=bench.bar(1.3, 0.8, at_most=True),
            note=", ".join(f"{name} {value:.2g} s" for name, value in parts.items())
            + "; the peer is secagg's server with unpacking and unmasking, 5 % silent",
        )
    )


def _upload_rows(bench: Bench, large: int, sent: Sequence[bytes]) -> None:
    sizes = {large: 8 * sum(map(len, sent))}
    if large != 100:
        setting = Setting.of(bench, 100)
        own = _Clients(setting, *setting.provided(), vector(setting.length))
        sizes[100] = 8 * sum(map(len, own.sent(0)))
    length = Setting.of(bench, large).length
    for n, bits in sorted(sizes.items()):
        limits = _UPLOADS.get(n)
        bench.add(
            Measure(
                f"up_{n}",
                f"upload, n={n:,}, 16-bit values, all messages",
                "bits/parameter",
                bits / length,
                bar=limits and bench.bar(*limits, of="ours", at_most=True),
                note="ciphertexts, shares of the key for all members, signatures and headers",
            )
        )
