"""Group X12 at the member: its key serves for an epoch, in one process after another, killed at any step."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedavg.adapters.exchange import Node, RefusedRequestError, enrol_here
from fedavg.adapters.exchange.keys.sealing import HeldKeys
from fedavg.adapters.exchange.nodes import epochs as module
from fedavg.adapters.exchange.nodes.enrolment import renew_sealing
from fedavg.errors import ConfigError, RoundAbortedError
from tests.hostile.exchange.epochs.test_epochs import DAY, SUM, one_sum, parties
from tests.hostile.mutants import FOUND, without

if TYPE_CHECKING:
    from tests.fedavg.adapters.exchange.parties import Parties


def serve_too_long():
    """The server begins sum after sum and never asks for the last answer, so that no epoch would end."""
    here = parties()
    answered = 0
    for number in range(1, 6):
        server = here.server(number)
        here.collect(server)
        request = server.advance()[0]
        with contextlib.suppress(RefusedRequestError):
            here.answered(0, request)
            answered += 1
    assert answered == 2


def test_x12_a_key_serves_for_the_sums_of_its_epoch_and_no_more():
    serve_too_long()


def test_x12_mutant_that_counts_no_sums(monkeypatch):
    check = "not any(map(self.journal.add, self._uses(key.epoch)))"
    without(monkeypatch, module.MemberKeys, "used", check)
    with pytest.raises(FOUND):
        serve_too_long()


def restore(here):
    """An operator began an epoch early; then an older copy of the folder's key comes back."""
    own = here.keys[0].sealing
    (before,) = own.epochs()
    secret = own.secret(before)
    one_sum(here, 1)
    serves, ages = SUM.epoch_rounds, here.agreed.key_ages
    module.MemberKeys(here.keys[0], here.journals[0], serves, ages, here.clock).renew()
    own._secrets.clear()
    own.put(before, secret)
    here.cards.forget([0])
    here.called(here.server(2))
    assert secret not in own._secrets.values(), "an epoch that was over is back"
    one_sum(here, 3)


def test_x12_the_journal_refuses_an_epoch_that_was_over():
    restore(parties())


def test_x12_mutant_whose_journal_knows_no_epoch(monkeypatch):
    check = "self.journal.known(self._over(epochs[-1]))"
    without(monkeypatch, module.MemberKeys, "_present", check)
    with pytest.raises(FOUND):
        restore(parties())


# Killed between two steps -----------------------------------------------------------------------------


class Killed(Exception):  # noqa: N818 - no error: the end of a process
    pass


STEPS = ["put", "keep_only", "over"]


def kill(monkeypatch, here: Parties, step: str) -> None:
    """The process of member 0 ends right before one step of a new epoch."""
    own, journal = here.keys[0].sealing, here.journals[0]

    def die(*_):
        monkeypatch.undo()
        raise Killed

    if step == "over":
        add = type(journal).add
        over = {
            module.named(b"sealing key over", here.keys[0].identity.public, e.to_bytes(8, "little"))
            for e in own.epochs()
        }
        monkeypatch.setattr(
            type(journal),
            "add",
            lambda self, fact: die() if fact in over and self is journal else add(self, fact),
        )
    else:
        kept = getattr(type(own), step)
        seen = own.epochs()[-1]
        monkeypatch.setattr(
            type(own),
            step,
            lambda self, epoch, *rest: (
                die() if self is own and epoch > seen else kept(self, epoch, *rest)
            ),
        )


@pytest.mark.parametrize("step", STEPS)
def test_x12_a_process_that_is_killed_while_it_renews_loses_its_answer_and_nothing_else(
    step, monkeypatch
):
    here = parties()
    one_sum(here, 1)
    before = here.keys[0].sealing.secret(here.keys[0].sealing.epochs()[0])
    server = here.server(2)
    here.collect(server)
    kill(monkeypatch, here, step)
    with contextlib.suppress(Killed):
        while requests := server.advance():
            for node, request in requests.items():
                with contextlib.suppress(Killed):
                    server.receive(here.answered(node, request), sender=node)
    assert server.result().contributors == tuple(range(6))  # five members' answers open the sum
    assert sorted(here.cards.missing) == [0]
    for number in (3, 4, 5):
        one_sum(here, number)
        assert not here.cards.missing
    assert before not in here.keys[0].sealing._secrets.values()
    assert len(here.keys[0].sealing.epochs()) == 1


def test_x12_a_reply_that_is_lost_after_the_epoch_is_asked_for_again():
    here = parties()
    one_sum(here, 1)
    server = here.server(2)
    here.collect(server)
    while requests := server.advance():
        for node, request in requests.items():
            reply = here.answered(node, request)
            if (server.stage, node) != ("answer", 0):
                server.receive(reply, sender=node)
    assert sorted(here.cards.missing) == [0]
    one_sum(here, 3)
    assert not here.cards.missing


def test_x12_a_sum_that_is_lost_after_its_report_leaves_the_next_one_whole():
    """All members have used up their keys, and none has given the answer that ends the epoch."""
    here = parties()
    one_sum(here, 1)
    server = here.server(2)
    here.collect(server)
    for node, request in server.advance().items():
        server.receive(here.answered(node, request), sender=node)
    server.advance()
    with pytest.raises(RoundAbortedError):
        server.advance()
    one_sum(here, 3)


def test_x12_a_node_that_missed_epochs_catches_up():
    """As a contributor and as a member: the newest keys are enough."""
    here = parties()
    one_sum(here, 1)
    for number in range(2, 9):
        one_sum(here, number, absent={5})
    one_sum(here, 9)
    newest = [keys.sealing.epochs()[-1] for keys in here.keys]
    seen = module.SeenEpochs(here.journals[5], here.agreed.key_ages)
    assert [seen.newest(keys.identity.public) for keys in here.keys[:5]] <= newest[:5]


def test_x12_a_key_that_grew_old_is_renewed_at_the_roll_call():
    here = parties()
    one_sum(here, 1)
    before = here.cards.held
    here.later = 6 * DAY  # beyond three quarters of a week
    assert here.cards.missing == frozenset(range(6))
    one_sum(here, 2)
    assert not set(before) & set(here.cards.held)


def test_x12_keys_that_cannot_be_kept_stop_the_answer(monkeypatch):
    here = parties()
    one_sum(here, 1)

    def full(*_):
        raise ConfigError("the disk is full")

    monkeypatch.setattr(type(here.keys[0].sealing), "put", full)
    server = here.server(2)
    here.collect(server)
    with pytest.raises(ConfigError, match="disk"):
        here.opened(server)


# Two processes at once --------------------------------------------------------------------------------


class Guarded(HeldKeys):
    """Keys that nobody may look at or change without the lock."""

    def __getattribute__(self, name):
        if name in ("epochs", "secret", "put", "keep_only"):
            assert super().__getattribute__("_lock").locked(), f"{name} without the lock"
        return super().__getattribute__(name)


def act_under_the_lock(here: Parties) -> None:
    own = here.node(0)._own
    key = here.keys[0].key_of(here.keys[0].sealing.epochs()[0])
    guarded = replace(here.keys[0], sealing=Guarded(here.keys[0].sealing._secrets))
    own = replace(own, keys=guarded)
    own.present()
    own.card()
    own.used(b"a sum", key.public)
    own.renew()


def test_x12_two_processes_of_a_member_do_not_meet_in_its_keys():
    act_under_the_lock(parties())


@pytest.mark.parametrize("name", ["present", "card", "used", "renew"])
def test_x12_mutant_without_the_lock(name, monkeypatch):
    monkeypatch.setattr(module, "nullcontext", contextlib.nullcontext, raising=False)
    lock = "self.keys.sealing.locked()"
    without(monkeypatch, module.MemberKeys, name, lock, "nullcontext()")
    with pytest.raises(FOUND):
        act_under_the_lock(parties())


# In folders -------------------------------------------------------------------------------------------


def keys_in(folder):
    return {path.name: path.read_bytes() for path in folder.glob("sealing-*")}


def test_x12_a_folder_holds_one_key_and_a_killed_process_leaves_none_behind(tmp_path):
    agreed = enrol_here(tmp_path, 6, parties().agreed)
    folder = tmp_path / "0"
    (before,) = keys_in(folder).items()
    (folder / f"{before[0]}.part").write_bytes(b"a half-written key")
    # Killed between the new file and the end of the old one: both are there.
    ahead = int(before[0].removeprefix("sealing-")) + 7
    other = parties().keys[0].sealing
    (folder / f"sealing-{ahead}").write_bytes(other.secret(other.epochs()[0]))
    (folder / f"sealing-{ahead}").chmod(0o600)
    node = Node.open(folder)
    card = node._own.card()
    assert set(keys_in(folder)) == {f"sealing-{ahead}"}
    assert before[1] not in keys_in(folder).values()
    renewed = renew_sealing(folder)
    assert renewed != card
    assert set(keys_in(folder)) == {f"sealing-{ahead + 1}"}
    assert (folder / f"sealing-{ahead + 1}").stat().st_mode & 0o777 == 0o600
    assert agreed.members[0] not in (card, renewed)


def test_x12_a_key_that_others_can_read_is_refused(tmp_path):
    enrol_here(tmp_path, 6, parties().agreed)
    (path,) = (tmp_path / "0").glob("sealing-*")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        Node.open(tmp_path / "0")._own.card()
    path.unlink()
    assert Node.open(tmp_path / "0")._own.card()  # and a new one is made
