"""Real sessions: recorded once with every client real, then replayed to fresh servers as often as wanted.

A watched client is measured as if it were alone in its process: it has a directory of its own, and what
the package remembers of a session for many clients at once is forgotten before each of its calls.  A
recording keeps every message whole but the masked vectors, all but one: a server does the same work
whichever vector it is fed, so replays feed that one, signed by each client, and n uploads are never held.
"""

from __future__ import annotations

import statistics
import sys
import tracemalloc
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kit.timing import Stopwatch
from secagg import (
    Client,
    Directory,
    Identity,
    Params,
    Phase,
    Policy,
    Server,
    UnsafeParametersError,
)
from secagg.crypto.keys import digest
from secagg.crypto.ring import packed_size
from secagg.testing import deterministic_entropy
from secagg.wire.codec import decode, encode
from secagg.wire.messages import MaskedInput, Partners

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from secagg import SumResult

__all__ = ["Recording", "Replay", "forget_sessions", "like_for_like", "record", "replay", "vector"]

MAX_ABS = (1 << 15) - 1
"""Values of 16 bits."""
_CONTEXT = b"benchmark"
_NONCE = b"the same session in every replay"
_OF_PARAMETERS = ("secagg.params.params", "secagg.params.derivation", "secagg.params.degrees")
_OF_POINTS = ("_powers", "_logarithms")  # depend on the points of the holders alone


@dataclass(frozen=True, slots=True)
class Recording:
    """A session that has run, and what its watched clients cost.

    Args:
        params: of the session.
        identities: client id to public key.
        messages: phase to each sender's message; masked inputs without their vectors.
        packed: one packed masked vector.
        silent: clients that sent nothing from MASKED_INPUT on.
        client_seconds: CPU seconds of each watched client over the whole session.
        up: bytes that a watched client sent, the median.
        down: bytes that it received, the median.
    """

    params: Params
    identities: dict[int, bytes]
    messages: dict[Phase, dict[int, bytes]]
    packed: bytes
    silent: frozenset[int]
    client_seconds: tuple[float, ...]
    up: float
    down: float

    @property
    def masks(self) -> int:
        """Masks that the server removes: one a survivor, one for each edge to a silent client.

        Exact on the complete graph; on a sparse one, what is expected.
        """
        n, silent = len(self.identities), len(self.silent)
        return n - silent + round(silent * self.params.degree * (n - silent) / (n - 1))


@dataclass(frozen=True, slots=True)
class Replay:
    """What a server cost.

    Args:
        seconds: CPU seconds of all its calls.
        by_phase: the same, by the phase in which they were made.
        peak: bytes that it held or made at once at most, but for one upload; 0 when not traced.
        peak_phase: where that was.
    """

    seconds: float
    by_phase: dict[str, float]
    peak: int
    peak_phase: str


@dataclass(slots=True)
class _Watched:
    """Time and bytes of one client."""

    watch: Stopwatch = field(default_factory=Stopwatch)
    up: int = 0
    down: int = 0


def vector(length: int) -> NDArray[np.int64]:
    """An input of 16-bit values, the same in every run."""
    rng = np.random.default_rng(7)
    return rng.integers(-MAX_ABS, MAX_ABS, length, dtype=np.int64, endpoint=True)


def like_for_like(n_clients: int, length: int, degree: int, *, dropout: float = 0.1) -> Params:
    """Parameters against a malicious server with as many neighbours as a peer's graph has.

    The degree follows from the threat model, so the share of colluders is varied until it fits.

    Raises:
        ValueError: no share of colluders gives this degree.
    """
    for percent in range(100):
        try:
            params = Params.for_cohort(
                n_clients,
                length,
                max_abs=MAX_ABS,
                dropout_rate=dropout,
                corrupt_rate=percent / 100,
            )
        except UnsafeParametersError:  # more colluders than any parameters bear
            break
        if params.degree == degree:
            return params
    raise ValueError(f"{n_clients} clients never have {degree} neighbours")


def forget_sessions() -> None:
    """Drop what the package remembers of sessions for all clients of a process.

    What depends on parameters alone stays: a client, too, has it from one round to the next.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("secagg.") and name not in _OF_PARAMETERS:
            for label, item in vars(module).items():
                clear = getattr(item, "cache_clear", None)
                if callable(clear) and label not in _OF_POINTS:
                    clear()


def record(
    params: Params,
    *,
    silent: int = 0,
    watched: int = 1,
    tick: Callable[[], None] = lambda: None,
) -> Recording:
    """Run a session of real clients, measure the first `watched` of them, and check the sum.

    Args:
        params: of the session; all its clients take part.
        silent: how many, the last ones, fall silent before their masked inputs.
        watched: how many to measure.
        tick: called when a client has sent its masked input.

    Raises:
        RuntimeError: the sum is wrong.
    """
    ids = range(params.n_clients)
    identities = {client: Identity.generate() for client in ids}
    public = {client: identity.public for client, identity in identities.items()}
    shared, gone = Directory(public), frozenset(ids[len(ids) - silent :])
    values, size = vector(params.vector_length), _packed_size(params)
    server = _server(params, Directory(public))
    figures = {client: _Watched() for client in ids[:watched]}
    offer, clients, packed, roster = server.offer(), {}, b"", b""
    for client, identity in identities.items():
        directory = Directory(public) if client in figures else shared
        with figures.get(client, _Watched()).watch:
            clients[client] = _join(offer, client, identity, directory, params)
    kept: dict[Phase, dict[int, bytes]] = {}
    pending: dict[int, bytes | None] = dict.fromkeys(ids)
    while server.phase is not Phase.DONE:
        phase = server.phase
        sent = kept.setdefault(phase, {})
        for client, message in pending.items():
            if phase is Phase.MASKED_INPUT and client in gone:
                continue
            figure = figures.get(client)
            given = values if phase is Phase.MASKED_INPUT else None
            reply = _answer(clients[client], message, given, figure)
            server.receive(client, reply)
            if phase is Phase.MASKED_INPUT:
                packed, reply = reply[-size:], reply[:-size]
                tick()
            sent[client] = reply
        if phase is Phase.MASKED_INPUT:
            partners = pending[min(sent)]
            kept[phase] = _signed(sent, packed, identities, roster=roster, partners=partners)
        pending = dict(server.advance())
        if phase is Phase.ADVERTISE_KEYS:
            roster = pending[min(pending)]
    _check(server.result(), values, len(ids) - silent)
    live = [figure for client, figure in figures.items() if client not in gone]
    return Recording(
        params=params,
        identities=public,
        messages=kept,
        packed=packed,
        silent=gone,
        client_seconds=tuple(figure.watch.seconds for figure in live),
        up=statistics.median(figure.up for figure in live),
        down=statistics.median(figure.down for figure in live),
    )


def _signed(
    heads: dict[int, bytes],
    packed: bytes,
    identities: dict[int, Identity],
    *,
    roster: bytes,
    partners: bytes | None,
) -> dict[int, bytes]:
    """The heads of masked inputs, as if each client had sent the same vector: signed again for it."""
    session, announced = decode(partners or b"")
    if not isinstance(announced, Partners):
        raise TypeError("the partners are announced before inputs are masked")
    root = announced.root(session, digest(b"roster", roster))
    signed = {}
    for client, head in heads.items():
        _, message = decode(head + packed)
        if isinstance(message, MaskedInput):
            signature = identities[client].sign(message.signed(session, root))
            whole = encode(replace(message, signature=signature), session)
            signed[client] = whole[: len(head)]
    return signed


def replay(
    recording: Recording,
    *,
    executor: Executor | None = None,
    trace: bool = False,
    wall: bool = False,
) -> Replay:
    """Feed a recording to a fresh server and measure only that server's calls.

    Args:
        recording: of a session.
        executor: for the server to use more cores with.
        trace: measure memory; slows the calls, so take no times from such a run.
        wall: take times on the wall.
    """
    forget_sessions()
    directory = Directory(recording.identities)
    if trace:
        tracemalloc.start()
    server = _server(recording.params, directory, executor)
    server.offer()
    by_phase: dict[str, float] = {}
    peak, peak_phase = 0, ""
    while server.phase is not Phase.DONE:
        phase, watch = server.phase, Stopwatch(wall=wall)
        upload = recording.packed if phase is Phase.MASKED_INPUT else b""
        for client, message in recording.messages[phase].items():
            arrived = b"".join((message, upload))  # a copy of its own, as from a network
            with watch:
                server.receive(client, arrived)
            del arrived
        with watch:
            server.advance()
        by_phase[phase.value] = watch.seconds
        if trace and (now := tracemalloc.get_traced_memory()[1]) > peak:
            peak, peak_phase = now, phase.value
    tracemalloc.stop()
    spared = len(recording.packed) if trace else 0
    return Replay(sum(by_phase.values()), by_phase, max(0, peak - spared), peak_phase)


def _server(params: Params, directory: Directory, executor: Executor | None = None) -> Server:
    options = {} if executor is None else {"executor": executor}
    with deterministic_entropy(_NONCE):
        return Server(params, context=_CONTEXT, directory=directory, **options)


def _join(
    offer: bytes, client: int, identity: Identity, directory: Directory, params: Params
) -> Client:
    policy = _policy(params)
    return Client.from_offer(offer, client, identity, directory, context=_CONTEXT, policy=policy)


def _policy(params: Params) -> Policy:
    weaker = {
        "semi-honest": {"allow_semi_honest": True},
        "malicious-local": {"allow_local": True},
    }
    drawn_here: dict[str, float] = {"directory_corrupt_rate": 0.0, "min_directory_share": 0.0}
    return Policy(**drawn_here, **weaker.get(params.threat_model, {}))


def _answer(
    client: Client,
    message: bytes | None,
    values: NDArray[np.int64] | None,
    figure: _Watched | None,
) -> bytes:
    if figure is None:
        return _reply(client, message, values)
    forget_sessions()
    with figure.watch:
        reply = _reply(client, message, values)
    figure.up += len(reply)
    figure.down += len(message or b"")
    return reply


def _reply(client: Client, message: bytes | None, values: NDArray[np.int64] | None) -> bytes:
    if values is not None:
        client.set_input(values)
    return client.start() if message is None else client.receive(message) or b""


def _packed_size(params: Params) -> int:
    return packed_size(params.vector_length, params.ring_bits)


def _check(result: SumResult, values: NDArray[np.int64], survivors: int) -> None:
    if len(result.survivors) != survivors or not np.array_equal(result.total, survivors * values):
        raise RuntimeError("the benchmarked session gave a wrong sum")
