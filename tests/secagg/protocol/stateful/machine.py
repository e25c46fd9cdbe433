"""Sessions under attack as a state machine: clients that drop, lie and replay; a network that lies.

The server object is honest; whoever moves the bytes is not. What one client was told falsely stays away
from the honest server, so that its sum must be exact: over the inputs that its survivors gave, liars'
included, whose input is whatever they sent. What every client gives away is written down and judged.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from secagg import (
    Aborted,
    AbortReason,
    LocalProtocolError,
    Offence,
    Phase,
    RemoteProtocolError,
    SecAggError,
    check_conviction,
    masked_vector,
)
from secagg.session.state import CLIENT_AWAITS, SERVER_AWAITS
from secagg.testing import deterministic_entropy
from secagg.wire.codec import Kind, decode, encode, encode_chunk, read_header
from secagg.wire.envelopes import MASK_KEY, SELF_MASK, committed, share_commitments
from secagg.wire.messages import (
    Advertisements,
    ForwardedShares,
    MaskedInput,
    Partners,
    SharesOpened,
    Signatures,
    Survivors,
    UnmaskShares,
)
from tests.secagg.support.lab import CONTEXT, Lab
from tests.secagg.support.snapshots import state_of

PLACES = st.integers(0, 11)
SPOTS = st.integers(0, 1 << 20)


def foreign_messages(n, rates):
    """Every message of a session that is over: by kind, from or to each client."""
    lab, found = Lab(n, length=3, **rates), {}
    while lab.server.phase in SERVER_AWAITS:
        phase = lab.server.phase
        if lab.next_messages:
            found[CLIENT_AWAITS[phase]] = dict(lab.next_messages)
        for i in lab.ids:
            lab.answer(i)
        found[SERVER_AWAITS[phase]] = {i: lab.sent[phase, i] for i in lab.ids}
        lab.next_messages = lab.server.advance()
    return found


LOCAL = {"dropout_rate": 0.1, "threat_model": "malicious-local"}
COHORTS = {
    "malicious": [(4, {"dropout_rate": 0.25}), (5, {"dropout_rate": 0.4})],
    "malicious-local": [(9, LOCAL), (12, LOCAL)],
}
"""Clients and rates; the last is the largest, so that its old session knows every client."""
FOREIGN = {model: foreign_messages(*cohorts[-1]) for model, cohorts in COHORTS.items()}


def refusal(call, *arguments):
    """The typed error of a call, or None."""
    try:
        call(*arguments)
    except (RemoteProtocolError, LocalProtocolError, Aborted) as error:
        return error
    return None


def damaged(message, spot, flip):
    """Another byte at a spot, or an end there."""
    at = spot % len(message)
    if not flip:
        return message[:at]
    return message[:at] + bytes([message[at] ^ flip]) + message[at + 1 :]


def twisted(message, session, place, around=()):
    """A well-formed lie: somebody left out, or something withheld.

    To a client with neighbours `around`, whose inputs' signatures are shown as they are due.
    """
    content = decode(message)[1]
    match content:
        case Advertisements():
            entries = list(content.entries)
            del entries[place % len(entries)]
            content = Advertisements(tuple(entries))
        case ForwardedShares():
            envelopes = list(content.envelopes)
            envelopes[place % len(envelopes)] = None
            content = ForwardedShares(tuple(envelopes))
        case Partners():
            content = Partners(flipped(content.members, place))
        case Survivors():
            shown = zip(filter(content.members.__getitem__, around), content.signatures)  # noqa: B905 - of whoever it is told to
            members = flipped(content.members, place)
            signatures = [signature for place, signature in shown if members[place]]
            content = Survivors(members, signatures)
        case Signatures():
            content = Signatures(tuple(content.signatures)[:place])
        case SharesOpened():
            opened = list(content.opened)
            opened[place % len(opened)] ^= True
            content = dataclasses.replace(content, opened=tuple(opened))
        case UnmaskShares():
            shares = list(content.shares)
            at = place % len(shares)
            shares[at] = bytes([shares[at][0] ^ 1]) + shares[at][1:]
            content = dataclasses.replace(content, shares=tuple(shares))
        case MaskedInput():
            packed = bytearray(content.packed)
            packed[0] ^= 1  # the lowest bit of the first coordinate: padding is at the other end
            content = dataclasses.replace(content, packed=bytes(packed))
        case _:
            return message
    return encode(content, session)


def flipped(members, place):
    """Somebody in who was out, or out who was in."""
    members = bytearray(members)
    members[place % len(members)] ^= 1
    return bytes(members)


class Sessions(RuleBasedStateMachine):
    """One session of a few clients, of whom some may fall silent."""

    messages = Bundle("messages")
    begin: Phase | None = None  # where the attack starts; None: anywhere
    model = "malicious"

    def __init__(self):
        super().__init__()
        self.lab = None

    @initialize(
        target=messages,
        larger=st.booleans(),
        begin=st.sampled_from(list(SERVER_AWAITS)),
        victims=st.sampled_from([1, 2, None]),
        ring=st.binary(min_size=1, max_size=1),
    )
    def open(self, larger, begin, victims, ring):
        begin = self.begin or begin
        n, rates = COHORTS[self.model][larger]
        self.victims = victims or n  # how many clients the attack may keep from the server
        with deterministic_entropy(b"ring " + ring):  # who is whose neighbour hangs on the keys
            self.lab = Lab(n, length=3, **rates)
        self.foreign = FOREIGN[self.model]
        self.old_session = read_header(self.foreign[Kind.ROSTER][10])[1]
        self.server = self.lab.server
        self.apart = set()  # silent, ended, or told lies: the honest server hears no more of them
        self.replies, self.answered = {}, set()
        self.liars, self.effective = set(), dict(self.lab.inputs)
        self.in_sum = set()
        self.signed, self.unmasked = {}, {}  # view: position: signature; client: view
        self.given = {}
        self.dealt = {}
        self.result = None
        self.told = []  # what the honest server has said, a message of each kind
        while self.server.phase is not begin:
            self.all_answer()
            self.advance()
        return multiple(*(of_kind[10] for of_kind in self.foreign.values()))

    # Honest steps --------------------------------------------------------------------------------

    @property
    def over(self):
        return self.server.phase not in SERVER_AWAITS

    def client_at(self, place):
        return self.lab.ids[place % len(self.lab.ids)]

    def compose(self, i):
        """What an honest client answers to an honest server; None when it has nothing to say."""
        if self.over or i in self.apart or i in self.replies:
            return None
        if self.lab.next_messages and i not in self.lab.next_messages:
            return None
        try:
            self.replies[i] = self.lab.reply(i)
        except Aborted:
            self.apart.add(i)
            return None
        self.note(i, self.replies[i])
        return self.replies[i]

    @rule(target=messages, place=PLACES)
    def composes(self, place):
        reply = self.compose(self.client_at(place))
        return multiple() if reply is None else reply

    @rule(place=PLACES, parts=st.integers(0, 3))
    def delivers(self, place, parts):
        self.deliver(self.client_at(place), parts)

    def deliver(self, i, parts=0):
        if self.over or i not in self.replies or i in self.answered or i in self.apart:
            return
        reply = self.replies[i]
        if parts:
            self.server._staging.drop(
                i
            )  # whatever was staged in its name, its own upload begins anew
            cuts = [len(reply) * at // parts for at in range(parts + 1)]
            for at in range(parts):
                piece = reply[cuts[at] : cuts[at + 1]]
                self.server.receive_chunk(i, encode_chunk(self.lab.session, at, parts, piece))
        else:
            self.server.receive(i, reply)
        self.taken(i, reply)

    @rule()
    def all_answer(self):
        if not self.over:
            for i in self.lab.ids:
                self.compose(i)
                self.deliver(i)

    def may_lose(self, i):
        return i in self.apart or len(self.apart) < self.victims

    @rule(place=PLACES)
    def drops(self, place):
        if self.may_lose(i := self.client_at(place)):
            self.apart.add(i)

    @precondition(lambda self: len(self.answered) >= self.lab.params.min_survivors)
    @rule()
    def advances(self):
        self.advance()

    def advance(self):
        if self.over:
            return
        phase = self.server.phase
        try:
            self.lab.next_messages = self.server.advance()
        except Aborted as error:
            self.judge_end(phase, error)
            return
        self.told += list(self.lab.next_messages.values())[:1]
        if phase is Phase.MASKED_INPUT:
            self.in_sum = set(self.answered)
        self.replies, self.answered = {}, set()
        if self.server.phase is Phase.DONE:
            self.result = self.server.result()
            self.judge_convictions(self.result.convictions)

    def judge_end(self, phase, error):
        """A session ends for want of answers, or by a liar's fault: never an honest client's."""
        assert error.culprit or error.reason is not AbortReason.BAD_DEALER
        assert error.culprit in {None, *(c.client_id for c in error.convictions)}
        self.judge_convictions(error.convictions)
        params = self.lab.params
        least = params.min_roster if phase is Phase.ADVERTISE_KEYS else params.min_survivors
        late = {Phase.UNMASK, Phase.CONSISTENCY} if params.local else {Phase.UNMASK}
        assert len(self.answered) < least or self.liars or phase in late

    def judge_convictions(self, convictions):
        """A bad dealer's shares convict it; accusations do if no more clients lie than are assumed to."""
        few = len(self.liars) <= self.lab.params.colluders
        for conviction in convictions:
            if few or conviction.offence is Offence.BAD_DEALER:
                assert conviction.client_id in self.liars
            check_conviction(conviction, context=CONTEXT, directory=self.lab.directory)

    # Lies to the server --------------------------------------------------------------------------

    def push(self, i, message):
        """Bytes in a client's name: refused without a trace, or taken because they are its to send."""
        before, phase = state_of(self.server), self.server.phase
        error = refusal(self.server.receive, i, message)
        if error:
            assert self.over if isinstance(error, LocalProtocolError) else error.culprit == i
            assert state_of(self.server) == before
        else:
            kind, session = read_header(message)
            assert (kind, session) == (SERVER_AWAITS[phase], self.lab.session)
            assert decode(message)[1].client_id == i
            assert i not in self.answered
            self.taken(i, message)
        return error

    def taken(self, i, message):
        """The server has accepted a message."""
        self.answered.add(i)
        content = decode(message)[1]
        if message != self.replies.get(i):
            self.liars.add(i)
            if self.server.phase is Phase.MASKED_INPUT:
                lie = masked_vector(message).astype(np.int64)
                truth = masked_vector(self.replies[i]).astype(np.int64)
                self.effective[i] = self.effective[i] + lie - truth
        if self.server.phase is Phase.SHARE_KEYS:
            self.dealt[i] = content

    @rule(target=messages, place=PLACES, spot=SPOTS, flip=st.integers(0, 255), own=st.booleans())
    def lies(self, place, spot, flip, own):
        """Damage on the way, which the signature shows, or a client's own, which it signs."""
        self.compose(i := self.client_at(place))
        if i not in self.replies:
            return multiple()
        message = damaged(self.replies[i], spot, flip)
        message = self.own(i, message) if own else message
        due = self.replies[i]
        taken = self.push(i, message) is None
        # nobody but a neighbour can look into an envelope; all else is signed for
        assert own or not taken or message == due or read_header(due)[0] is Kind.SHARE_KEYS
        return message

    @rule(target=messages, place=PLACES, at=PLACES)
    def lies_well(self, place, at):
        self.compose(i := self.client_at(place))
        if i not in self.replies:
            return multiple()
        message = self.own(i, twisted(self.replies[i], self.lab.session, at))
        self.push(i, message)
        return message

    def own(self, i, message):
        """A client's message with a signature of its own, where it may say what it likes."""
        try:
            kind, content = read_header(message)[0], decode(message)[1]
        except SecAggError:
            return message
        phase = self.server.phase
        if self.over or phase is Phase.ADVERTISE_KEYS or kind is not SERVER_AWAITS[phase]:
            return message
        return self.lab.signed(content) if content.client_id == i else message

    @rule(place=PLACES, message=messages)
    def replays(self, place, message):
        self.push(self.client_at(place), message)

    @rule(place=PLACES)
    def replays_an_old_session(self, place):
        if not self.over:
            i = self.client_at(place)
            self.push(i, self.foreign[SERVER_AWAITS[self.server.phase]][i])

    @rule(place=PLACES)
    def repeats(self, place):
        i = self.client_at(place)
        if i in self.answered:
            self.push(i, self.replies.get(i, b""))

    @rule(place=PLACES, ours=st.booleans(), index=st.integers(0, 2), count=st.integers(0, 3))
    def sends_odd_chunks(self, place, ours, index, count):
        i = self.client_at(place)
        chunk = encode_chunk(self.lab.session if ours else self.old_session, index, count, b"x")
        before = state_of(self.server)
        staged = before["_staging"].get(i)
        due = (count, index) == (staged[:2] if staged else (count, 0))
        error = refusal(self.server.receive_chunk, i, chunk)
        if error:
            assert self.over if isinstance(error, LocalProtocolError) else error.culprit == i
            after = state_of(self.server)
            if due and index + 1 == count:  # a whole that is no message is forgotten
                after["_staging"].pop(i, None)
                before["_staging"].pop(i, None)
            assert after == before
        else:
            assert due
            assert ours

    # Lies to a client ----------------------------------------------------------------------------

    def tell(self, i, message):
        """Anything to a client: it answers, or it ends and forgets."""
        client = self.lab.clients[i]
        phase, told = client.phase, self.lab.next_messages.get(i)
        honest = message == told and phase is self.server.phase
        if honest or not self.may_lose(i):
            return multiple()
        replies = []
        error = refusal(lambda: replies.append(client.receive(message)))
        if isinstance(error, LocalProtocolError):
            assert phase in (Phase.ADVERTISE_KEYS, Phase.ABORTED)
            assert client.phase is phase
            return multiple()
        self.apart.add(i)
        if error:
            assert error.culprit in ("server", None)
            assert client.phase is (Phase.DONE if phase is Phase.DONE else Phase.ABORTED)
            assert client._secrets is None
            return multiple()
        assert read_header(message) == (CLIENT_AWAITS[phase], self.lab.session)
        self.note(i, replies[0])
        return replies[0]

    def due(self, i):
        """What client i awaits, as the honest server says it, or as it was said in an old session."""
        phase = self.lab.clients[i].phase
        if phase not in CLIENT_AWAITS:
            return None
        if phase is self.server.phase and self.lab.next_messages:
            return self.lab.next_messages.get(i) or next(iter(self.lab.next_messages.values()))
        return encode(decode(self.foreign[CLIENT_AWAITS[phase]][i])[1], self.lab.session)

    @rule(target=messages, place=PLACES, spot=SPOTS, flip=st.integers(0, 255))
    def misinforms(self, place, spot, flip):
        due = self.due(i := self.client_at(place))
        return self.tell(i, damaged(due, spot, flip)) if due else multiple()

    @rule(place=PLACES, outs=st.lists(PLACES, min_size=1, max_size=3))
    def twists(self, place, outs):
        """One lie after the other, as long as the client answers."""
        i = self.client_at(place)
        for out in outs:
            due = self.due(i)
            if due:
                self.tell(i, twisted(due, self.lab.session, out, self.around(i)))

    def around(self, i):
        """Positions of a client's neighbours, as far as it knows them."""
        roster = self.lab.clients[i]._roster
        return roster.neighbours(roster.positions[i]) if roster else ()

    @precondition(lambda self: self.lab and self.server.phase is Phase.CONSISTENCY)
    @rule(
        places=st.sets(PLACES, min_size=4),
        out=PLACES,
        strangers=st.booleans(),
        left=st.integers(0, 1),
    )
    def splits(self, places, out, strangers, left):
        """Tells several clients of the same other survivors, then each who of them signed."""
        several = sorted({self.client_at(place) for place in places})
        for i in several:
            if self.lab.clients[i].phase is Phase.CONSISTENCY and (due := self.due(i)):
                self.tell(i, twisted(due, self.lab.session, out, self.around(i)))
        for i in several:
            self.show_who_signed(i, strangers, left)

    @rule(place=PLACES, strangers=st.booleans(), left=st.integers(0, 5))
    def shows_who_signed(self, place, strangers, left):
        self.show_who_signed(self.client_at(place), strangers, left)

    def show_who_signed(self, i, strangers, left):
        """The signatures that there are on what a client was told, but for the first few."""
        client = self.lab.clients[i]
        if client.phase is Phase.UNMASK:
            view = client._partner_root, client._survivors.members
            signed = sorted(self.signed[view].items())
            known = {*range(len(self.lab.ids))} if strangers else {*self.around(i)}
            pairs = [pair for pair in signed if pair[0] in known]
            self.tell(i, encode(Signatures(tuple(pairs[left:])), self.lab.session))

    @rule(place=PLACES, at=PLACES)
    def tells_again(self, place, at):
        if self.told:
            self.tell(self.client_at(place), self.told[-1 - at % len(self.told)])

    @rule(target=messages, place=PLACES, message=messages)
    def misdirects(self, place, message):
        return self.tell(self.client_at(place), message)

    # What clients give away ----------------------------------------------------------------------

    def note(self, i, reply):
        """Write down signatures and shares, with the view under which they were given."""
        client, kind = self.lab.clients[i], read_header(reply)[0]
        if kind is Kind.SIGNATURE:
            view = client._partner_root, client._survivors.members
            at = client._roster.positions[i]
            self.signed.setdefault(view, {})[at] = decode(reply)[1].signature
        if kind is not Kind.UNMASK_SHARES:
            return
        roster = client._roster
        self.unmasked[i] = client._partner_root, client._survivors.members
        at = roster.positions[i]
        around = [p for p in roster.neighbours(at) if client._partners.members[p]]
        for place, share in zip(around, decode(reply)[1].shares[1:], strict=True):
            dealer = roster.client_id(place)
            envelope = self.dealt[dealer].envelopes[roster.neighbours(place).index(at)]
            for secret in (SELF_MASK, MASK_KEY):
                (promised,) = committed([envelope], secret)
                if promised == share_commitments(roster, [dealer], i, [secret], [share]):
                    self.given.setdefault((i, dealer), set()).add(secret)

    @invariant()
    def no_client_gives_both_shares_of_a_peer(self):
        if self.lab:
            assert all(len(secrets) == 1 for secrets in self.given.values())

    @invariant()
    def nobody_is_opened_twice(self):
        """Not even by different holders."""
        if self.lab:
            for dealer in self.lab.ids:
                of = [secrets for (_, whose), secrets in self.given.items() if whose == dealer]
                seeds, keys = (sum(s in secrets for secrets in of) for s in (SELF_MASK, MASK_KEY))
                assert min(seeds, keys) < self.lab.params.threshold

    @invariant()
    def shares_need_a_quorum_of_one_view(self):
        if not self.lab:
            return
        params = self.lab.params
        assert params.local or len(set(self.unmasked.values())) <= 1
        for i, view in self.unmasked.items():
            signed = self.signed[view].keys()
            assert len(signed & {*self.around(i)} if params.local else signed) >= params.quorum

    @invariant()
    def the_ended_hold_no_secrets(self):
        for client in self.lab.clients.values() if self.lab else ():
            if client.phase in (Phase.DONE, Phase.ABORTED):
                assert client._secrets is None

    @invariant()
    def the_sum_is_exact(self):
        if not self.lab or self.result is None:
            return
        assert set(self.result.survivors) == self.in_sum
        assert len(self.in_sum) >= self.lab.params.min_survivors
        half = 1 << (self.lab.params.ring_bits - 1)
        expected = sum(self.effective[i] for i in self.in_sum)
        assert np.array_equal(self.result.total, (expected + half) % (2 * half) - half)

    def teardown(self):
        """Whatever happened, the rest is played honestly: the sum is right or absent."""
        while self.lab and not self.over:
            self.all_answer()
            self.advance()
        self.the_sum_is_exact()


class LocalSessions(Sessions):
    """The same with quorums of neighbours: not everyone is everyone's neighbour, and views may differ."""

    model = "malicious-local"
