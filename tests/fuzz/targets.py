"""What bytes from outside may do: each target takes any bytes and raises only when something is wrong.

The first byte of an input names the target, so that one corpus serves all.  New targets go to the end of
`NAMES`, or the corpus means something else.
"""

from __future__ import annotations

from functools import partial

from secagg import (
    Aborted,
    CapacityError,
    Conviction,
    Directory,
    Offence,
    Phase,
    RemoteProtocolError,
    UnsafeParametersError,
    WireFormatError,
    check_conviction,
    masked_vector,
    message_kind,
)
from secagg.params.params import Params
from secagg.session.state import SERVER_AWAITS
from secagg.testing import deterministic_entropy
from secagg.wire.bounds import largest_message
from secagg.wire.codec import decode, decode_chunk, encode, encode_chunk
from tests.fuzz.committee import TARGETS as COMMITTEE_TARGETS
from tests.fuzz.envelopes import TARGETS as HE_TARGETS
from tests.fuzz.stages import stages
from tests.secagg.support.lab import CONTEXT
from tests.secagg.support.recorder import STEPS
from tests.secagg.support.second.wire import Refused, read
from tests.secagg.support.snapshots import state_of

OF_PAIRS = (Offence.BAD_DEALER, Offence.DISPUTES)
UNSAFE = (UnsafeParametersError, CapacityError)


def check(holds, what):
    """As an assertion that also holds under -O."""
    if not holds:
        raise AssertionError(what)


def message(data):
    """The decoder and the second reader agree, and what decodes encodes to the same bytes."""
    try:
        session, content = decode(data)
    except WireFormatError:
        taken = False
    except UNSAFE:
        return  # read, and then refused: the second reader only reads
    else:
        taken = True
        check(encode(content, session) == data, "a second encoding")
    try:
        kind = read(data)[1]
    except Refused:
        kind = "chunk"
    check(taken == (kind != "chunk"), "the readers differ")


def chunk(data):
    try:
        parts = decode_chunk(data)
    except WireFormatError:
        taken = False
    else:
        taken = True
        check(encode_chunk(*parts) == data, "a second encoding of a chunk")
    try:
        kind = read(data)[1]
    except Refused:
        kind = ""
    check(taken == (kind == "chunk"), "the readers differ on a chunk")


def params(data):
    try:
        found = Params.from_bytes(data)
    except (WireFormatError, *UNSAFE):
        return
    check(found.to_bytes() == data, "a second encoding of parameters")


def names(data):
    """Kind and vector of a message, as reports and pictures ask for them."""
    try:
        message_kind(data)
        vector = masked_vector(data)
    except (WireFormatError, *UNSAFE):
        return
    check(vector.ndim == 1, "a vector")


def server(name, phase, credulous, data):
    """A message is refused, changing nothing, or taken, and then the phase closes or aborts."""
    stage = stages(name)
    at = stage.server(phase, credulous=credulous)
    before = state_of(at)
    try:
        at.receive(stage.missing, data)
    except RemoteProtocolError as error:
        check(error.culprit == stage.missing, "the sender is to blame")
        check(state_of(at) == before, "a refusal changed something")
        return
    close(at)


def close(at):
    try:
        for told in at.advance().values():
            decode(told)
    except Aborted:
        check(at.phase is Phase.ABORTED, "aborted")


def chunks(name, phase, data):
    """A length before each chunk: u16, little-endian. Never more is staged than one message."""
    stage = stages(name)
    at = stage.server(phase, credulous=True)
    most = largest_message(SERVER_AWAITS[at.phase], at._params)
    while data and stage.missing not in at._answers:
        size = int.from_bytes(data[:2], "little")
        part, data = data[2 : 2 + size], data[2 + size :]
        try:
            at.receive_chunk(stage.missing, part)
        except RemoteProtocolError as error:
            check(error.culprit == stage.missing, "the sender is to blame")
        check(at._staging.size <= most, "staged beyond a message")
    close(at)


def client(name, phase, credulous, data):
    """A message ends the session for this client, or is answered."""
    at = stages(name).client(phase, credulous=credulous)
    try:
        reply = at.receive(data)
    except (RemoteProtocolError, Aborted):
        check(at.phase is Phase.ABORTED and at._secrets is None, "secrets stay after an abort")
        return
    decode(reply)
    check((at._secrets is None) == (at.phase is Phase.DONE), "secrets stay at the end")


def offer(data):
    session = stages("five").session
    try:
        joined = session.join(stages("five").missing, data)
    except (RemoteProtocolError, *UNSAFE):
        return
    session.identities[stages("five").missing]._joined.clear()  # or only the first is answered
    decode(joined.start())


class _Credulous(Directory):
    """Knows everyone, and finds that every signature holds."""

    def check(self, client_id, public):
        """Everyone is known."""

    def verify(self, public, signature, message):
        return True


def evidence(offence, data):
    """Evidence holds or is refused."""
    conviction = Conviction(20, offence, data)
    try:
        check_conviction(conviction, context=CONTEXT, directory=_Credulous({}))
    except (RemoteProtocolError, WireFormatError):
        return


_ROLES = [
    (
        f"{role} {name} {phase.value}{' credulous' * credulous}",
        partial(take, name, phase, credulous),
    )
    for name in ("five", "local")
    for role, take in (("server", server), ("client", client))
    for phase in STEPS
    for credulous in (False, True)
    if not (role == "client" and phase is Phase.ADVERTISE_KEYS)
]
_UPLOADS = [
    (f"chunks {name} {phase.value}", partial(chunks, name, phase))
    for name, phase in (
        ("five", Phase.SHARE_KEYS),
        ("five", Phase.MASKED_INPUT),
        ("local", Phase.UNMASK),
    )
]
TARGETS = dict(
    [
        ("message", message),
        ("chunk", chunk),
        ("params", params),
        ("names", names),
        ("offer", offer),
        *_ROLES,
        *_UPLOADS,
        *HE_TARGETS,
        *((f"evidence {offence.name}", partial(evidence, offence)) for offence in OF_PAIRS),
        *COMMITTEE_TARGETS.items(),
    ]
)
NAMES = list(TARGETS)


def run(data):
    """One input: the target's number, then its bytes."""
    if data:
        with deterministic_entropy(b"fuzz"):
            TARGETS[NAMES[data[0] % len(NAMES)]](bytes(data[1:]))


def seed(name, data):
    """An input of a target."""
    return bytes([NAMES.index(name)]) + data
