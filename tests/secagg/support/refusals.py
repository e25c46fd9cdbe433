"""Messages that must be refused, each with its error, written down by hand and not taken from a run."""

from __future__ import annotations

from secagg import Phase
from secagg.wire.codec import Kind
from tests.secagg.support.lies_of_clients import (
    lies_after_silence,
    lies_of_clients,
    lies_of_local_clients,
)
from tests.secagg.support.lies_of_server import (
    lies_about_silence,
    lies_of_local_server,
    lies_of_server,
)
from tests.secagg.support.recorder import STEPS, Session

WIRE = "WireFormatError"
REMOTE = "RemoteProtocolError"


class Book:
    """Refusals in one session; `client` is whose messages are bad, or who hears bad ones."""

    def __init__(self, session):
        self.session = session
        self.name = session.case["name"]
        self.client = list(session.inputs)[1]
        self.entries = []

    def add(self, at, phase, name, message, **more):
        chunks = isinstance(message, list)
        self.entries.append(
            {
                "name": name,
                "session": self.name,
                "at": at,
                "phase": phase.value,
                "client": more.pop("client", self.client),
                "bytes": [part.hex() for part in message] if chunks else message.hex(),
                "alone": more.pop("alone", "message"),
                "error": more.pop("error", REMOTE),
                "culprit": more.pop("culprit", self.client if at != "client" else "server"),
            }
        )
        assert not more

    def server(self, phase, name, message, **more):
        """The server must refuse a message of `self.client`."""
        self.add("server", phase, name, message, **more)

    def chunks(self, phase, name, *chunks, **more):
        """The server must refuse the last of several chunks."""
        self.add("chunk", phase, name, list(chunks), **more)

    def hears(self, phase, name, message, **more):
        """`self.client` must refuse a message of the server."""
        self.add("client", phase, name, message, **more)

    def frames(self, take, phase, good):
        """What is wrong with the frame of any message."""
        kind = Kind(good[6]).name.lower()

        def header(at, value):
            return good[:at] + bytes([value]) + good[at + 1 :]

        other = Kind.UNMASK_SHARES if good[6] != Kind.UNMASK_SHARES else Kind.SIGNATURE
        for name, bad in {
            "ends early": good[:-1],
            "goes on": good + b"\0",
            "has only its header": good[:40],
            "has half a header": good[:20],
            "has another magic": header(0, ord("s")),
            "has another version": header(4, 1),
            "has another suite": header(5, 2),
            "has a reserved byte set": header(7, 1),
            "has an unknown kind": header(6, 13),
            "calls itself a chunk": header(6, Kind.CHUNK),
        }.items():
            take(phase, f"{kind} {name}", bad, alone=WIRE)
        take(phase, f"{kind} calls itself {other.name.lower()}", header(6, other), alone=WIRE)
        take(phase, f"{kind} of another session", header(39, good[39] ^ 1))


def of_everyone(book):
    """Frames of all kinds, and then the lies of the clients and of the server."""
    session = book.session
    for phase in STEPS:
        session.run_to(phase)
        book.phase = phase
        if phase is not Phase.ADVERTISE_KEYS:
            book.frames(book.hears, phase, session.told[phase][book.client])
        book.frames(book.server, phase, session.answers()[book.client])
        lies_of_clients(book, phase, session.said[phase][book.client])
        if phase is not Phase.ADVERTISE_KEYS:
            lies_of_server(book, phase, session.told[phase][book.client])
        else:
            lies_of_server(book, phase, session.offer)


def of_neighbours(book):
    """What only quorums of neighbours check."""
    session = book.session
    for phase in STEPS:
        session.run_to(phase).answers()
        lies_of_local_clients(book, phase, session.said[phase][book.client])
        lies_of_local_server(book, phase, session.told.get(phase, {}).get(book.client))


def refusals(cases):
    """All of them, in the sessions of the vector file.

    Args:
        cases: of make_vectors; the second has drop-outs, the third one in each phase, the last is local.
    """
    out = []
    for case, collect in (
        (cases[1], of_everyone),
        (cases[2], of_dealers),
        (cases[-1], of_neighbours),
    ):
        with Session(case) as session:
            book = Book(session)
            collect(book)
        out += book.entries
    return out


def of_dealers(book):
    """Neighbours that dealt nothing, and then are said to have."""
    session = book.session
    for phase in STEPS:
        session.run_to(phase).answers()
        lies_after_silence(book, phase, session.said[phase].get(book.client))
        lies_about_silence(book, phase, session.told.get(phase, {}).get(book.client))
