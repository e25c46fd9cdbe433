"""Group X12: a server that steals, withholds, repeats or forges the sealing keys of members between machines.

Expected: keys that are stolen later open nothing from before, and nobody seals to a key that is over.
"""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from fedavg import OneShot
from fedavg.adapters.exchange import MeanServer, MemberCards, Node, RefusedRequestError
from fedavg.adapters.exchange.messages import Request, Stage, read_reply, read_request
from fedavg.adapters.exchange.nodes import epochs as module
from fedavg.adapters.exchange.sides import sum_spec
from fedavg.errors import LocalProtocolError, RoundAbortedError
from fedavg.sums.one_shot.direct import numbers_of_vector
from secagg import Identity
from secagg.committee import Committee, SealingKey
from secagg.committee.sealing import associated, share_key
from secagg.committee.wire.codec import decode
from secagg.crypto.sealed import open_sealed
from tests.fedavg.adapters.exchange.parties import MODEL, RUN, Parties, terms, update
from tests.hostile.mutants import FOUND, without

SUM = OneShot(committee=6, corrupt_members=1, absent_members=1, dropout_rate=0.2, epoch_rounds=2)
DAY = 86400.0


def parties(**changes) -> Parties:
    return Parties(agreed=terms(sum=SUM, attempts=100, **changes))


def refused(what: str):
    return pytest.raises(RefusedRequestError, match=what)


def one_sum(here: Parties, number: int, absent=frozenset()) -> None:
    """A whole sum of all but the absent nodes."""
    server = here.server(number)
    here.collect(server, absent=absent)
    mean = here.opened(server, absent=absent)
    assert mean.contributors == tuple(sorted(set(range(6)) - set(absent)))


def recorded(here: Parties, number: int) -> tuple[Request, bytes]:
    """A sum of which the server records the request, and the reply of node 1."""
    server = here.server(number)
    if server.calls_first:
        here.called(server)
    replies = {n: here.contributed(n, server.request, *update(n)) for n in range(6)}
    for reply in replies.values():
        server.receive(reply)
    here.opened(server)
    return read_request(server.request), replies[1]


def stolen(here: Parties) -> list[list[bytes]]:
    """All private sealing keys that are anywhere at the members, by member."""
    return [[keys.sealing.secret(e) for e in keys.sealing.epochs()] for keys in here.keys]


def opened(here: Parties, taken: tuple[Request, bytes], keys: list[list[bytes]]) -> int:
    """At how many members a thief with these keys opens node 1's recorded share."""
    request, reply = taken
    facts = request.facts(RUN, "train")
    sums = here.agreed.sum
    spec = sum_spec(facts, here.agreement)
    numbers = numbers_of_vector(sums._uploads, sums._way.params, spec) or sums._way.params(
        sums.key_spec(spec)
    )
    session, sent = decode(read_reply(reply).parts[-1], numbers)
    count = 0
    for place, secrets in enumerate(keys):
        about = associated(session, 1, place, sent.message_digest)
        for secret in secrets:
            key = SealingKey.from_private_bytes(secret, here.keys[0].identity, place, epoch=1)
            sealed = share_key(key.agree(sent.public), session, sent.public, 1, place)
            count += open_sealed(sealed, sent.envelopes[place], about) is not None
    return count


# Keys that are stolen later ---------------------------------------------------------------------------


def steal_later():
    here = parties()
    first = recorded(here, 1)
    # The thief of this epoch reads this epoch: the attack is one that works.
    assert opened(here, first, stolen(here)) == 6
    second = recorded(here, 2)
    assert [opened(here, one, stolen(here)) for one in (first, second)] == [0, 0]
    third = recorded(here, 3)
    assert opened(here, third, stolen(here)) == 6
    assert [len(keys) for keys in stolen(here)] == [1] * 6


def test_x12_keys_that_are_stolen_later_open_no_earlier_epoch():
    steal_later()


def test_x12_mutant_that_keeps_the_keys_of_earlier_epochs(monkeypatch):
    without(monkeypatch, module.MemberKeys, "_alone", "self.keys.sealing.keep_only(epoch)", "pass")
    with pytest.raises(FOUND):
        steal_later()


def test_x12_mutant_that_never_begins_an_epoch(monkeypatch):
    without(monkeypatch, module.MemberKeys, "card", "key = self._renewed(key.epoch)", "pass")
    with pytest.raises((*FOUND, RefusedRequestError)):
        steal_later()


# A key that is over -----------------------------------------------------------------------------------


def replay_an_older_key():
    """The server hands out cards of the first epoch, whose keys it has stolen, in the second."""
    here = parties()
    older, agreement = here.cards.held, here.agreement
    for number in (1, 2, 3):
        one_sum(here, number)
    assert not set(older) & set(here.cards.held)
    server = MeanServer(agreement, RUN, 4, "train", 6, MODEL, cards=MemberCards(agreement, older))
    for node in range(6):
        with refused("of an epoch that is over, as this node has seen a later one"):
            here.contributed(node, server.request, *update(node))
    one_sum(here, 5)  # and the run goes on
    # A server that has old cards by mistake, as that of a second run, asks for new ones.
    with pytest.raises(RoundAbortedError):
        server.advance()
    assert server.missing == frozenset(range(6))


def test_x12_a_contributor_never_goes_back_behind_an_epoch_it_has_seen():
    replay_an_older_key()


def test_x12_mutant_whose_epochs_come_back(monkeypatch):
    without(monkeypatch, module.SeenEpochs, "enter", "epoch < newest[who]")
    with pytest.raises(FOUND):
        replay_an_older_key()


def test_x12_mutant_whose_server_keeps_the_cards_of_a_sum_without_a_result(monkeypatch):
    forgets = "self._cards.forget(self._agreement.members)"
    without(monkeypatch, MeanServer, "advance", forgets, "pass")
    with pytest.raises(FOUND):
        replay_an_older_key()


def open_and_never_contribute():
    """Node 5 is asked as a member only; it has seen the newer keys all the same."""
    here = parties()
    older = here.cards.held
    for number in (1, 2, 3):
        server = here.server(number)
        here.collect(server, absent={5})
        here.opened(server)
    with refused("of an epoch that is over, as this node has seen a later one"):
        here.contributed(5, contribute(here, 4, older), *update(5))


def test_x12_a_member_notes_the_keys_of_the_sums_that_it_opens():
    open_and_never_contribute()


def test_x12_mutant_whose_members_note_nothing(monkeypatch):
    noted = "self._committee(request) if self._is_member"
    instead = "self.agreement.committee(request.cards) if self._is_member"
    without(monkeypatch, Node, "_opened", noted, instead)
    with pytest.raises(FOUND):
        open_and_never_contribute()


def one_older_key_among_new_ones():
    """One member's older card among the others' new ones is enough to refuse, whichever member it is."""
    here = parties()
    older = here.cards.held
    for number in (1, 2, 3):
        one_sum(here, number)
    for one in range(6):
        mixed = [older[at] if at == one else card for at, card in enumerate(here.cards.held)]
        with refused(f"member {one} is of an epoch that is over"):
            here.contributed(0, contribute(here, 4 + one, mixed), *update(0))


def contribute(here: Parties, number: int, cards) -> bytes:
    """A request with any cards, which a server that follows the protocol would not send."""
    request = read_request(here.server(number).request)
    return replace_cards(request, cards).to_bytes()


def replace_cards(request: Request, cards) -> Request:
    return msgspec.structs.replace(request, cards=tuple(cards))


def test_x12_one_older_key_among_new_ones_is_refused():
    one_older_key_among_new_ones()


def test_x12_mutant_that_notes_all_keys_but_the_last(monkeypatch):
    notes = "for _, who, epoch in present:"
    without(monkeypatch, module.SeenEpochs, "enter", notes, "for _, who, epoch in present[:-1]:")
    with pytest.raises(FOUND):
        one_older_key_among_new_ones()


def test_x12_mutant_that_looks_at_the_newest_key_alone(monkeypatch):
    without(
        monkeypatch,
        module.SeenEpochs,
        "enter",
        "epoch < newest[who]",
        "max(e for _, _, e in present) < newest[who]",
    )
    with pytest.raises(FOUND):
        one_older_key_among_new_ones()


def withhold_the_newer_key():
    """Node 0 is kept from all rounds of a later epoch: it takes the older key, until that is too old."""
    here = parties()
    first = contribute(here, 1, here.cards.held)
    for number in (2, 3, 4):
        one_sum(here, number, absent={0})
    older = read_request(first).cards
    here.contributed(
        0, contribute(here, 5, older), *update(0)
    )  # this is what no signature prevents
    here.later = here.agreed.key_days * DAY + 60
    with refused("was made 7.0 days ago by this node's clock"):
        here.contributed(0, contribute_late(here, 6, older), *update(0))


def contribute_late(here: Parties, number: int, cards) -> bytes:
    server = MeanServer(
        here.agreement,
        RUN,
        number,
        "train",
        6,
        MODEL,
        cards=MemberCards(here.agreement, here.agreement.members.values()),
    )
    return replace_cards(read_request(server.request), cards).to_bytes()


def test_x12_a_key_that_is_withheld_from_a_node_is_missed_for_some_days_at_most():
    withhold_the_newer_key()


def test_x12_mutant_without_a_clock(monkeypatch):
    without(monkeypatch, module.SeenEpochs, "enter", "self.ages.too_old(now - epoch)")
    with pytest.raises(FOUND):
        withhold_the_newer_key()


# Keys of others ---------------------------------------------------------------------------------------


def forge_a_key(card):
    """The server puts a key of its own in place of member 3's."""
    here = parties()
    forged = [card(here) if place == 3 else one for place, one in enumerate(here.cards.held)]
    with refused("cannot be used"):
        here.contributed(0, contribute(here, 1, forged), *update(0))


def by_the_server(here):
    return SealingKey.generate(Identity.generate(), 3, epoch=2**31).card


def by_another_member(here):
    """A corrupt member signs a key under the number of an honest one."""
    return SealingKey.generate(here.keys[4].identity, 3, epoch=2**31).card


def of_another_agreement(here):
    """Node 3 of another agreement is another person."""
    del here
    return parties().cards.held[3]


def with_the_number_of_a_later_epoch(here):
    """The true card of an older epoch, under a later number than its member has signed."""
    card = bytearray(here.cards.held[3])
    card[12:16] = (2**31).to_bytes(4, "little")
    return bytes(card)


FORGED = [by_the_server, by_another_member, of_another_agreement, with_the_number_of_a_later_epoch]


@pytest.mark.parametrize("card", FORGED)
def test_x12_a_key_that_its_member_did_not_sign_is_refused(card):
    forge_a_key(card)


@pytest.mark.parametrize("card", FORGED)
def test_x12_mutant_that_checks_no_signature(card, monkeypatch):
    check = "not self.directory.verify(identity, signature, statement)"
    without(monkeypatch, Committee, "_read", check)
    with pytest.raises(FOUND):
        forge_a_key(card)


def withhold_many():
    """With two members' keys held back, the committee would be one of the server's choice."""
    here = parties()
    with refused("4 cards were given for 6 members"):
        here.contributed(0, contribute(here, 1, here.cards.held[:4]), *update(0))
    here.contributed(0, contribute(here, 1, here.cards.held[:5]), *update(0))


def test_x12_no_more_keys_may_be_missing_than_members_absent():
    withhold_many()


def test_x12_mutant_that_counts_no_keys(monkeypatch):
    monkeypatch.setattr(Committee, "_check_number", lambda *_: None)
    with pytest.raises(FOUND):
        withhold_many()


def ask_those_with_a_key():
    """A member without a key in a sum has no share: to wait for it would cost each stage its whole time."""
    here = parties()
    here.cards.forget([2])
    server = here.server(1)
    for node in range(6):
        server.receive(here.contributed(node, server.request, *update(node)))
    assert set(server.advance()) == {0, 1, 3, 4, 5}
    assert not here.cards.missing  # its contribution brought its card, for the next sum


def test_x12_a_member_without_a_key_is_not_waited_for():
    ask_those_with_a_key()


def test_x12_mutant_that_waits_for_all_members(monkeypatch):
    asked = "is_client(address) or _node_at(address) not in self._without_key"
    without(monkeypatch, MeanServer, "advance", asked, "True")
    with pytest.raises(FOUND):
        ask_those_with_a_key()


def test_x12_mutant_whose_contributions_bring_no_card(monkeypatch):
    card = "self._own.present() if self._is_member"
    without(monkeypatch, Node, "_present_card", card, 'b"" if self._is_member')
    with pytest.raises(FOUND):
        ask_those_with_a_key()


def test_x12_what_is_sealed_to_a_missing_key_opens_for_nobody():
    """All keys of all members, of all epochs, open no share that a member without a card was dealt."""
    here = parties()
    request = contribute(here, 1, here.cards.held[:5])
    reply = here.contributed(1, request, *update(1))
    assert opened(here, (read_request(request), reply), stolen(here)) == 5


def test_x12_two_committees_in_one_sum_are_two_sums():
    """Some nodes are told of one missing key, others of another: no member answers for both."""
    here = parties()
    server = here.server(1)
    apart = replace_cards(read_request(server.request), here.cards.held[1:]).to_bytes()
    reply = here.contributed(5, apart, *update(5))
    for node in range(5):
        server.receive(here.contributed(node, server.request, *update(node)))
    with contextlib.suppress(Exception):
        server.receive(reply)
    assert here.opened(server).contributors == (0, 1, 2, 3, 4)
    asked = Request.about(
        Stage.OPEN,
        read_request(apart).facts(RUN, "train"),
        here.agreement.digest,
        b"",
        here.cards.held[1:],
    )
    with refused("answered before|cannot be answered|another sealing key"):
        here.answered(3, asked.to_bytes())


def copy_a_key():
    """It would otherwise keep every later committee from being made, or the member whose key it is."""
    here = parties()
    copied = SealingKey.from_private_bytes(
        here.keys[2].sealing.secret(here.keys[2].sealing.epochs()[0]),
        here.keys[4].identity,
        4,
        epoch=2**31,
    ).card
    with pytest.raises(LocalProtocolError, match="the sealing key of another member"):
        here.cards.take(4, copied)
    here.cards.forget(range(6))  # as after a sum without a result; the copy comes first then
    with pytest.raises(LocalProtocolError, match="the sealing key of another member"):
        here.cards.take(4, copied)
    here.called(here.server(1))
    with pytest.raises(LocalProtocolError, match="sent no sealing key"):
        here.cards.take(3, by_the_server(here))
    one_sum(here, 1)


def test_x12_a_member_that_copies_anothers_key_is_not_taken_and_keeps_nobody_out():
    copy_a_key()


def test_x12_mutant_that_forgets_whose_key_it_was(monkeypatch):
    owner = "self._owners.setdefault(public, member) != member"
    held = "public in {held[1] for at, held in self._held.items() if at != member}"
    without(monkeypatch, MemberCards, "take", owner, held)
    with pytest.raises((*FOUND, LocalProtocolError)):
        copy_a_key()
