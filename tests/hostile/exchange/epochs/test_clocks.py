"""Group X13: keys that are dated ahead of the time, numbers that run away, clocks that jump, old cards.

An epoch is numbered by the second of its key.  Expected: no party makes, passes on or takes a number that is
far ahead of its clock, since such a key would never be too old; and a member with such a key, or with a card
from before, is absent and stops no sum.
"""

from __future__ import annotations

import contextlib

import pytest

from fedavg.adapters.exchange import (
    Agreement,
    MeanServer,
    MemberCards,
    Node,
    RefusedRequestError,
    enrol_here,
)
from fedavg.adapters.exchange.keys.ages import KeyAges
from fedavg.adapters.exchange.messages import Reply, Request, Round, Stage, read_reply
from fedavg.adapters.exchange.nodes import enrolment
from fedavg.adapters.exchange.nodes import epochs as module
from fedavg.adapters.exchange.nodes.enrolment import renew_sealing
from fedavg.adapters.exchange.nodes.seen_cards import CardFile, newest_of
from fedavg.errors import ConfigError, RoundAbortedError
from secagg.committee import SealingKey
from tests.fedavg.adapters.exchange.parties import MODEL, RUN, Memory, Parties, update
from tests.hostile.exchange.epochs.test_epochs import DAY, contribute, one_sum, parties, refused
from tests.hostile.mutants import FOUND, without

HEADER = b"SAGC\x01\x01\x02\x00" + bytes(32)  # of a delivery to a member, with nothing behind it
BRIEF = 0.01
"""Days after which keys are too old, where a number may be 108 s ahead of a member's clock."""


def card_of(here: Parties, member: int, epoch: int) -> bytes:
    """A card that the member has signed, under any number."""
    return SealingKey.generate(here.keys[member].identity, member, epoch=epoch).card


def newest(here: Parties, member: int) -> int:
    return here.keys[member].sealing.epochs()[-1]


# A key that would never be too old --------------------------------------------------------------------


def seal_to_a_key_of_next_year():
    """A member's clock was set ahead for a minute; its key of that minute was stolen, and never grows old."""
    here = parties()
    held, now = here.cards.held, int(here.clock())
    soon = [card_of(here, 3, now + int(DAY)) if at == 3 else one for at, one in enumerate(held)]
    here.contributed(0, contribute(here, 1, soon), *update(0))
    later = [card_of(here, 3, now + int(365 * DAY)) if at == 3 else c for at, c in enumerate(held)]
    with refused("member 3 is dated 365.0 days ahead of this node's clock: set the clocks"):
        here.contributed(0, contribute(here, 2, later), *update(0))
    # It is noted nowhere, so that the member's right keys are taken from here on.
    one_sum(here, 3, absent={0})
    here.contributed(1, contribute(here, 4, here.cards.held), *update(1))


def test_x13_a_node_seals_to_no_key_that_is_dated_ahead():
    seal_to_a_key_of_next_year()


def test_x13_mutant_that_takes_any_number(monkeypatch):
    without(monkeypatch, module.SeenEpochs, "enter", "self.ages.dated_ahead(now - epoch)")
    with pytest.raises(FOUND):
        seal_to_a_key_of_next_year()


# A server that uses keys up ---------------------------------------------------------------------------


def junk(here: Parties, number: int) -> bytes:
    """A request that uses up one sum of a member's key, and holds no contributions."""
    facts = Round(RUN, number, "train", 6, 9, bytes(32))
    told = Request.about(Stage.OPEN, facts, here.agreement.digest, HEADER, here.cards.held)
    return told.to_bytes()


def run_away(here: Parties) -> str:
    """Member 3 answers what a server needs in order to begin 200 epochs; what its log then says."""
    for number in range(1, 401):
        with contextlib.suppress(RefusedRequestError):
            here.answered(3, junk(here, number))
        try:
            here.called(here.server(1000 + number), absent={0, 1, 2, 4, 5})
        except ConfigError as error:
            return str(error)
    return ""


def use_up():
    """Numbers that run ahead of the time would make the last of these keys one that stays young."""
    here = parties(key_days=BRIEF)
    own, first = here.keys[3].sealing, newest(here, 3)
    secret = own.secret(first)
    began = here.clock()
    here.clock = lambda: began + here.later  # of the members; time stands still for them
    said = run_away(here)
    assert newest(here, 3) - began <= 108, "the member's number ran away"
    assert "days ahead of its clock" in said
    # Its key has served, and is gone; the sum goes on without this member, and later with it.
    assert here.keys[3].sealing.secret(newest(here, 3)) == b""
    own.put(first, secret)  # a copy of its first key comes back
    with pytest.raises(ConfigError, match="ahead of its clock"):
        here.node(3)._own.card()
    assert secret not in own._secrets.values()
    here.cards.forget([3])
    last = newest(here, 3)
    server = here.server(2000)
    here.called(server, absent={3})
    for node in range(6):  # its record enters the sum all the same
        server.receive(here.contributed(node, server.request, *update(node)))
    assert here.opened(server, absent={3}).contributors == tuple(range(6))
    here.later = 60.0
    here.called(here.server(2001), absent={0, 1, 2, 4, 5})
    assert newest(here, 3) > last
    one_sum(here, 2002)


def test_x13_a_server_drives_no_members_number_ahead_of_the_time(caplog):
    use_up()
    # Absent, and not in silence: its operator reads why.
    assert (
        "node 3 is absent from the committee: the number of this node's sealing key" in caplog.text
    )


def test_x13_mutant_whose_numbers_run_away(monkeypatch):
    without(monkeypatch, module.MemberKeys, "_renewed", "self._ahead(epoch)")
    with pytest.raises(FOUND):
        use_up()


def test_x13_mutant_that_keeps_a_key_that_has_served(monkeypatch):
    without(
        monkeypatch, module.MemberKeys, "_renewed", 'self.keys.sealing.put(before, b"")', "pass"
    )
    with pytest.raises(FOUND):
        use_up()


def test_x13_mutant_whose_members_without_a_key_give_no_record(monkeypatch):
    monkeypatch.setattr(Node, "_present_card", lambda self: self._own.present())
    with pytest.raises(ConfigError):
        use_up()


def test_x13_mutant_that_leaves_copies_beside_its_number(monkeypatch):
    kept = "self.keys.sealing.keep_only(before)"
    without(monkeypatch, module.MemberKeys, "_renewed", kept, "pass")
    with pytest.raises(FOUND):
        use_up()


# A member that nodes would refuse ---------------------------------------------------------------------


def hand_over_an_old_card():
    """A corrupt member falls silent, and at the next call hands over a card of before: nodes refuse it."""
    here = parties()
    older = here.cards.held[2]
    for number in (1, 2, 3):
        one_sum(here, number)
    here.cards.forget([2])
    here.cards.take(2, older)
    assert here.cards.missing == {2}
    server = here.server(4)
    for node in range(6):
        server.receive(here.contributed(node, server.request, *update(node)))
    assert here.opened(server, absent={2}).contributors == tuple(range(6))


def test_x13_a_member_that_hands_over_an_old_card_is_absent_and_stops_no_sum():
    hand_over_an_old_card()


def test_x13_mutant_whose_server_forgets_which_epochs_there_were(monkeypatch):
    taken = "epoch >= self._newest.get(member, 0)"
    without(monkeypatch, MemberCards, "take", taken, "epoch >= self._held.get(member, (0,))[0]")
    with pytest.raises((*FOUND, RefusedRequestError)):
        hand_over_an_old_card()


def begin_a_run_with_an_old_card():
    """At the first call of a later run, a corrupt member, or a node in its name, hands an old card over."""
    here = parties()
    older = here.cards.held[2]
    for number in (1, 2, 3):
        one_sum(here, number)
    here.cards = MemberCards(here.agreement, (), here.clock)
    server = here.server(1000)
    server.identified(Reply(2, (), older).to_bytes())
    here.called(server, absent={2})
    assert here.cards.missing == {2}
    for node in range(6):
        server.receive(here.contributed(node, server.request, *update(node)))
    assert here.opened(server, absent={2}).contributors == tuple(range(6))


def test_x13_a_run_begins_without_a_member_that_hands_over_an_old_card():
    begin_a_run_with_an_old_card()


@pytest.mark.parametrize(
    ("owner", "name", "check", "instead"),
    [
        (MemberCards, "_fresh", "and epoch >= self._newest[member]", ""),
        (Node, "_keep", "newest != kept", "False"),
        (Node, "_named", "Reply(self.keys.node, seen, card)", "Reply(self.keys.node, (), card)"),
    ],
)
def test_x13_mutant_that_learns_nothing_of_earlier_runs(owner, name, check, instead, monkeypatch):
    without(monkeypatch, owner, name, check, instead)
    with pytest.raises((*FOUND, RefusedRequestError)):
        begin_a_run_with_an_old_card()


def begin_a_run_after_a_number_ahead():
    """A server had nodes take a key that was dated ahead by 1.5 days; the member's clock is right by now."""
    here = parties()
    ahead = card_of(here, 2, int(here.clock() + 1.5 * DAY))
    cards = [ahead if at == 2 else card for at, card in enumerate(here.cards.held)]
    for node in range(6):
        here.contributed(node, contribute(here, 1, cards), *update(node))
    here.cards = MemberCards(here.agreement, (), here.clock)
    server = here.server(2)
    here.called(server)
    assert here.cards.missing == {2}
    for node in range(6):
        server.receive(here.contributed(node, server.request, *update(node)))
    assert here.opened(server, absent={2}).contributors == tuple(range(6))


def test_x13_a_run_begins_without_a_member_whose_number_was_ahead():
    begin_a_run_after_a_number_ahead()


def test_x13_mutant_that_learns_of_no_number_ahead(monkeypatch):
    learns = "max(epoch, self._newest.get(member, 0))"
    present = "max(epoch if epoch <= self._clock() else 0, self._newest.get(member, 0))"
    without(monkeypatch, MemberCards, "seen", learns, present)
    with pytest.raises((*FOUND, RefusedRequestError)):
        begin_a_run_after_a_number_ahead()


def test_x13_a_node_in_a_folder_keeps_the_cards_that_it_has_seen(tmp_path):
    agreed = enrol_here(tmp_path, 6, parties().agreed)
    server = MeanServer(agreed, RUN, 1, "train", 6, MODEL)
    node = Node.open(tmp_path / "0")
    node.join(*node.read(server.request, run=RUN, kind="train"), MODEL)
    asked = Node.open(tmp_path / "0").read(server.roll_call, run=RUN, kind="train")
    reply = read_reply(Node.open(tmp_path / "0").answer(*asked))
    assert reply.parts == tuple(agreed.members.values())
    (tmp_path / "0" / "members.cards").unlink()
    assert not read_reply(Node.open(tmp_path / "0").answer(*asked)).parts


def keep_cards_of_another_agreement():
    """A node with the same id enrolled anew; the card of before has a later number than its new one."""
    here = parties()
    stranger = Parties(agreed=here.agreed)
    later = card_of(stranger, 2, int(here.clock()) + 60)
    here.shown[0].keep((later,))
    here.contributed(0, contribute(here, 1, here.cards.held), *update(0))
    assert here.shown[0].cards == here.cards.held


def test_x13_cards_of_another_agreement_hide_none_of_this_one():
    keep_cards_of_another_agreement()


def test_x13_mutant_that_keeps_all_cards(monkeypatch):
    kept = "newest_of(cards, filter(self.agreement.has_signed, kept))"
    without(monkeypatch, Node, "_keep", kept, "newest_of(cards, kept)")
    with pytest.raises(FOUND):
        keep_cards_of_another_agreement()


def show_what_nobody_signed():
    """A corrupt node shows cards that would make honest members' cards of now ones of before."""
    here = parties()
    ahead = int(here.clock()) + 60
    forged = SealingKey.generate(here.keys[5].identity, 2, epoch=ahead).card
    altered = bytearray(here.cards.held[3])
    altered[12:16] = ahead.to_bytes(4, "little")
    shown = (b"", b"no card", forged, bytes(altered))
    here.server(1).identified(Reply(5, shown, here.cards.held[5]).to_bytes())
    assert not here.cards.missing


def test_x13_a_node_makes_no_members_card_old():
    show_what_nobody_signed()


def show_cards_without_end(monkeypatch):
    """Each card costs the server a signature's check."""
    here, looked_at = parties(), []
    monkeypatch.setattr(Agreement, "has_signed", lambda _, card: looked_at.append(card))
    here.server(1).identified(Reply(5, (b"no card",) * 10_000).to_bytes())
    assert len(looked_at) == 6


def test_x13_a_server_looks_at_no_more_cards_than_there_are_members(monkeypatch):
    show_cards_without_end(monkeypatch)


def test_x13_mutant_that_looks_at_all_cards(monkeypatch):
    without(monkeypatch, MemberCards, "seen", "islice(cards, most)", "cards")
    with pytest.raises(FOUND):
        show_cards_without_end(monkeypatch)


def test_x13_mutant_that_believes_what_is_shown(monkeypatch):
    believed = "member in self.members and bool(self.signed_key(member, card))"
    without(monkeypatch, Agreement, "has_signed", believed, "member in self.members")
    with pytest.raises(FOUND):
        show_what_nobody_signed()


def test_x13_cards_lie_in_a_file_that_may_be_removed(tmp_path):
    here = Parties(agreed=parties().agreed)
    kept, cards = CardFile(tmp_path), here.cards.held
    assert kept.cards == ()
    kept.keep(cards)
    assert kept.cards == cards
    (tmp_path / "members.cards").write_bytes(b"x" * 130)
    assert newest_of(cards[1:], filter(here.agreement.has_signed, kept.cards)) == cards[1:]


def hand_over_a_future_card():
    here = parties()
    ahead = int(
        here.clock() + 1.5 * DAY
    )  # nodes would take it, but for those whose clocks are behind
    here.cards.forget([2])
    here.cards.take(2, card_of(here, 2, ahead))
    assert here.cards.missing == {2}
    here.called(here.server(1))  # and the member's right card is taken afterwards
    assert not here.cards.missing
    one_sum(here, 1)


def test_x13_a_server_passes_no_key_on_that_is_dated_ahead():
    hand_over_a_future_card()


def test_x13_mutant_whose_server_takes_any_number(monkeypatch):
    without(monkeypatch, MemberCards, "take", "and not ahead", "")
    with pytest.raises(FOUND):
        hand_over_a_future_card()


def test_x13_a_server_whose_clock_is_set_back_calls_the_members():
    here = parties()
    here.later = -2 * DAY
    assert here.cards.missing == frozenset(range(6))


# A clock that was wrong -------------------------------------------------------------------------------


def set_ahead_for_a_while(here: Parties) -> None:
    """Member 3 makes a key while its clock is a year ahead."""
    here.later = 365 * DAY
    here.node(3)._own.card()
    here.later = 0.0


def come_back():
    here = parties()
    set_ahead_for_a_while(here)
    wrong = newest(here, 3)
    with pytest.raises(ConfigError, match="365.0 days ahead of its clock"):
        here.node(3)._own.card()
    assert newest(here, 3) == wrong  # the clock may be what is wrong now: no key is lost
    here.node(3)._own.renew()
    assert here.keys[3].sealing.epochs() != (wrong,)
    assert len(here.keys[3].sealing.epochs()) == 1
    here.called(here.server(1))
    one_sum(here, 1)
    assert not here.cards.missing


def test_x13_a_member_whose_clock_was_ahead_comes_back_by_a_word_of_its_operator():
    come_back()


def test_x13_mutant_that_hands_out_its_future_key(monkeypatch):
    without(monkeypatch, module.MemberKeys, "card", "self._ahead(key.epoch)")
    with pytest.raises(FOUND):
        come_back()


def test_x13_mutant_whose_numbers_never_begin_anew(monkeypatch):
    without(monkeypatch, module.MemberKeys, "renew", "self._ahead(newest)")
    with pytest.raises((*FOUND, ConfigError)):
        come_back()


def test_x13_a_copy_of_a_key_that_was_dated_ahead_serves_no_more():
    here = parties()
    set_ahead_for_a_while(here)
    own = here.keys[3].sealing
    wrong, secret = newest(here, 3), own.secret(newest(here, 3))
    here.node(3)._own.renew()
    own.put(wrong, secret)
    with pytest.raises(ConfigError, match="ahead of its clock"):
        here.node(3)._own.card()
    assert secret not in own._secrets.values()


# Numbers that come twice ------------------------------------------------------------------------------


def begin_at_once(here: Parties, count: int) -> list[int]:
    """Epochs of member 0 that begin within one second."""
    found = []
    for _ in range(count):
        here.node(0)._own.renew()
        found.append(newest(here, 0))
    return found


def restore_the_first_of_many():
    """Copies of old keys come back while the numbers are ahead of the clock: no number is used twice."""
    here = parties()
    own = here.keys[0].sealing
    first, secret = newest(here, 0), own.secret(newest(here, 0))
    numbers = begin_at_once(here, 5)
    own._secrets.clear()
    own.put(first, secret)
    here.node(0)._own.card()
    assert newest(here, 0) not in numbers[:-1], "a number that was over came back"


def test_x13_no_number_that_is_over_is_used_again():
    restore_the_first_of_many()


def test_x13_mutant_that_uses_numbers_twice(monkeypatch):
    known = "self.journal.known(self._over(epoch))"
    without(monkeypatch, module.MemberKeys, "_renewed", known)
    with pytest.raises(FOUND):
        restore_the_first_of_many()


def lose_the_file():
    """The key's file is lost while its number is ahead of the clock: nodes refuse each lower number."""
    here = parties()
    begin_at_once(here, 5)
    here.called(here.server(1))
    one_sum(here, 1)
    last = newest(here, 0)
    here.keys[0].sealing._secrets.clear()
    here.node(0)._own.card()
    assert newest(here, 0) > last


def test_x13_a_member_that_lost_its_key_begins_above_what_nodes_have_seen():
    lose_the_file()


def test_x13_mutant_that_asks_nobody_what_was_seen(monkeypatch):
    without(monkeypatch, module.MemberKeys, "_renewed", "seen + 1, ", "")
    with pytest.raises(FOUND):
        lose_the_file()


# In a folder ------------------------------------------------------------------------------------------


def test_x13_the_command_begins_anew_by_the_days_of_the_agreement(tmp_path, monkeypatch):
    enrol_here(tmp_path, 6, parties(key_days=BRIEF).agreed)
    folder = tmp_path / "0"
    real = enrolment.time.time
    monkeypatch.setattr(enrolment.time, "time", lambda: real() + 200)
    renew_sealing(folder)
    monkeypatch.undo()
    (wrong,) = (path.name for path in folder.glob("sealing-*"))
    renew_sealing(folder)
    (right,) = (path.name for path in folder.glob("sealing-*"))
    assert int(right.removeprefix("sealing-")) + 150 < int(wrong.removeprefix("sealing-"))


def test_x13_ages_are_those_that_the_parties_act_by():
    here = parties(key_days=2.0)
    assert here.agreed.key_ages == KeyAges(2 * DAY)
    assert "right within 0.25 days" in here.agreed.assumptions_here[0]
    seen = module.SeenEpochs(Memory(), here.agreed.key_ages)
    committee = here.agreement.committee(here.cards.held)
    seen.enter(committee, here.clock() + 2 * DAY - 60)
    seen.enter(committee, here.clock() - DAY / 2 + 60)
    for later in (2 * DAY + 60, -DAY / 2 - 60):
        with refused("sealing key of member 0"):
            seen.enter(committee, here.clock() + later)


# Two runs at once -------------------------------------------------------------------------------------


def test_x13_two_runs_at_once_share_the_epochs_and_go_on():
    """Each run's server has its own cards; an epoch that ends in one costs the other a sum, and no more."""
    here = parties()
    ours, theirs = here.cards, MemberCards(here.agreement, (), here.clock)
    lost = 0
    for number in range(1, 9):
        here.cards = theirs if number % 2 else ours
        server = here.server(number)
        with contextlib.suppress(
            RefusedRequestError
        ):  # of keys that are over, or are others by now
            here.collect(server)
            here.opened(server)
            continue
        lost += 1
        with pytest.raises(RoundAbortedError):
            ended(server)
        assert len(here.cards.missing) == 6, "the next sum begins with a call"
    assert 0 < lost <= 4


def ended(server) -> None:
    """Nobody answers any more."""
    while True:
        server.advance()
