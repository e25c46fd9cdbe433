"""Group XS, deaths: a node is killed, or its disk is full, at calls of the system while it answers.

Expected, whichever call it is: the same message, delivered once more, gets no second answer; the node takes
part in the next round; and nothing of the sum before it stays in its folder. A member that is killed while
it begins an epoch keeps no key that is over.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fedavg import SecAgg
from fedavg.adapters.exchange import MeanServer, Node, RefusedRequestError, enrol_here
from fedavg.adapters.exchange.keys.sealing import SealingFolder
from fedavg.adapters.exchange.nodes import epochs, suspended
from fedavg.adapters.exchange.nodes.enrolment import renew_sealing
from fedavg.adapters.exchange.nodes.node import JOURNAL_FILE
from fedavg.adapters.exchange.nodes.states import LOCK_FILE, STATE_FILE, StateFile
from fedavg.errors import ConfigError, FedAvgError
from fedavg.files import FileJournal
from secagg.roles.client import client as client_module
from tests.fedavg.adapters.exchange.parties import (
    MASKED,
    MODEL,
    RUN,
    SUM,
    Memory,
    Parties,
    terms,
    update,
)
from tests.hostile.dp.ledgers.test_crashes import (
    at_call,
    full,
    in_a_process,
    killed,
    that_changes_files,
)
from tests.hostile.mutants import FOUND, without

if TYPE_CHECKING:
    from pathlib import Path

ANSWERED, REFUSED, SILENT, UNHARMED = 1, 2, 3, 4
FIRST = "advertise_keys"
STEPS = {FIRST: 13, "masked_input": 9, "unmask": 9}
"""Every so many calls of a stage are tried; each takes three processes, and each process many syncs."""
FILES = {"agreement.json", JOURNAL_FILE, "node.card", "node.key", STATE_FILE, LOCK_FILE}


def replied(folder: Path, request: bytes, *, first: bool) -> bytes:
    node = Node.open(folder)
    asked = node.read(request, run=RUN, kind="train")
    return node.join(*asked, MODEL).send(*update(0)) if first else node.answer(*asked)


def reached(folder: Path, stage: str):
    """Four nodes that are about to answer in a stage: the agreement, and the request to node 0."""
    agreed = enrol_here(folder, 4, terms(sum=SecAgg(dropout_rate=0.25)))
    server = MeanServer(agreed, RUN, 1, "train", 4, MODEL)
    requests, first = dict.fromkeys(range(4), server.request), True
    while server.stage != stage:
        for node, request in requests.items():
            server.receive(replied(folder / str(node), request, first=first), node)
        requests, first = server.advance(), False
    return agreed, requests[0]


def did(folder: Path, request: bytes, *, first: bool, met=lambda: True) -> int:
    try:
        replied(folder, request, first=first)
    except RefusedRequestError:
        return REFUSED
    except (OSError, FedAvgError):
        return SILENT
    finally:
        sys.setprofile(None)
    return ANSWERED if met() else UNHARMED


def at_calls(tmp_path: Path, stage: str, act, calls):
    """What the harmed process did, and the next one with the same message, for some calls."""
    agreed, request = reached(tmp_path, stage)
    first, kept, folder = stage == FIRST, tmp_path / "kept", tmp_path / "0"
    shutil.copytree(folder, kept)
    later = MeanServer(agreed, RUN, 2, "train", 4, MODEL).request
    found: Counter[tuple[int, int]] = Counter()
    for call in calls:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        one = in_a_process(lambda at=call: did(folder, request, first=first, met=at_call(at, act)))
        if one == UNHARMED:
            break
        found[one, in_a_process(lambda: did(folder, request, first=first))] += 1
        assert in_a_process(lambda: did(folder, later, first=True)) == ANSWERED, call
        # Beside them lie the node's sealing keys, whole.
        left = {path.name for path in folder.iterdir()}
        assert {
            name for name in left if not re.fullmatch(r"sealing-\d+|sealing.lock", name)
        } == FILES
    return found


def every(stage: str) -> range:
    return range(0, 1000, STEPS[stage])


@pytest.mark.parametrize("stage", STEPS)
def test_xs6_a_node_that_is_killed_at_any_call_comes_back(stage, tmp_path):
    found = at_calls(tmp_path, stage, killed, every(stage))
    # Before the claim the message may be answered yet, and after it never.
    assert {again for _, again in found} == {ANSWERED, REFUSED}
    assert all(harmed < 0 for harmed, _ in found)


def test_xs6_mutant_whose_lock_outlives_a_process(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def locked(self):
        path = self.folder / LOCK_FILE
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise ConfigError("the folder is in use") from None
        yield
        path.unlink()

    monkeypatch.setattr(StateFile, "locked", locked)
    with pytest.raises(FOUND):
        test_xs6_a_node_that_is_killed_at_any_call_comes_back("unmask", tmp_path)


def test_xs6_a_node_whose_disk_is_full_for_a_while_comes_back(tmp_path):
    found = at_calls(tmp_path, FIRST, full, every(FIRST))
    assert not found[ANSWERED, ANSWERED]
    assert found[SILENT, REFUSED] + found[SILENT, ANSWERED] > 5


def opened_on_a_full_disk(tmp_path: Path) -> None:
    """The first message of a node meets a full disk while the journal holds no fact yet."""
    journal = tmp_path / JOURNAL_FILE
    FileJournal(journal)
    for call in range(30):
        in_a_process(lambda at=call: harmed(journal, at))
        assert FileJournal(journal, create=False).add(b"fact %d" % call)
        os.truncate(journal, len(b"fedavg journal 1\n"))


def harmed(journal: Path, call: int) -> int:
    at_call(call, full)
    try:
        FileJournal(journal, create=False)
    except FedAvgError:
        return 1
    finally:
        sys.setprofile(None)
    return 0


def test_xs6_a_new_journal_outlives_a_full_disk(tmp_path):
    opened_on_a_full_disk(tmp_path)


def test_xs6_mutant_that_writes_a_title_that_is_there(tmp_path, monkeypatch):
    without(monkeypatch, FileJournal, "__init__", "found.st_size < len(_TITLE) and ", "True and ")
    with pytest.raises((*FOUND, FedAvgError)):
        opened_on_a_full_disk(tmp_path)


class Lost(Memory):
    """A journal that fails with its path after some more facts, as a `FileJournal` on a full disk."""

    def __init__(self, known: Memory, more: int) -> None:
        super().__init__(known)
        self.left = more

    def add(self, fact: bytes) -> bool:
        self.left -= 1
        if self.left < 0:
            raise OSError("the journal /srv/ward-7/journal cannot be used: no space left")
        return super().add(fact)


@pytest.mark.parametrize("agreed", [SUM, MASKED], ids=["one-shot", "secagg"])
def test_xs6_the_server_is_told_nothing_of_a_nodes_disk(agreed):
    """The mod sends the text of a RefusedRequestError to the server, and of no other error."""
    parties = Parties(agreed=terms(sum=agreed))
    server = parties.server()
    parties.collect(server)
    for node, request in server.advance().items():
        server.receive(parties.answered(node, request), node)
    requests, state, known = server.advance(), parties.shelves[0].state, parties.journals[0]
    failed, told = 0, ""
    for more in range(8):
        parties.journals[0], parties.shelves[0].state = Lost(known, more), state
        try:
            parties.answered(0, requests[0])
        except RefusedRequestError as error:
            told += str(error)
        except (ConfigError, OSError):
            failed += 1
    assert failed > 1
    assert "/srv" not in told


def test_xs6_mutant_that_tells_all_errors_of_a_member(monkeypatch):
    check = "except (secagg.LocalProtocolError, secagg.InternalError)"
    without(monkeypatch, Node, "_opened", check, "except ZeroDivisionError")
    with pytest.raises(FOUND):
        test_xs6_the_server_is_told_nothing_of_a_nodes_disk(SUM)


def test_xs6_a_failure_below_the_checks_is_told_to_nobody(monkeypatch):
    parties = Parties(agreed=terms(sum=MASKED))
    server = parties.server()
    parties.collect(server)

    def broken(*_, **__):
        raise OSError(errno.EIO, "a disk of this node")

    monkeypatch.setattr(client_module, "deal_to_neighbours", broken)
    with pytest.raises(ConfigError, match="cannot take part"):
        parties.answered(0, server.advance()[0])


def test_xs6_mutant_that_tells_it(monkeypatch):
    check = "except InternalError"
    mutant = without(monkeypatch, suspended, "_refusing", check, "except ZeroDivisionError")
    monkeypatch.setattr(suspended, "_refusing", contextlib.contextmanager(mutant))
    with pytest.raises(RefusedRequestError):
        test_xs6_a_failure_below_the_checks_is_told_to_nobody(monkeypatch)


# While an epoch begins --------------------------------------------------------------------------------


def begun(folder: Path, call: int, act) -> int:
    """The exit code of a process that begins an epoch, and meets `act` at a call that changes a file."""

    def work() -> int:
        met = at_call(call, act, that_changes_files)
        try:
            renew_sealing(folder)
        except (OSError, FedAvgError):
            return SILENT
        finally:
            sys.setprofile(None)
        return ANSWERED if met() else UNHARMED

    return in_a_process(work)


def at_calls_of_an_epoch(tmp_path: Path, act) -> set[bool]:
    """At every such call: the next process has one whole key, and the key of before comes back nowhere."""
    enrol_here(tmp_path, 6, terms(sum=SUM))
    folder, kept = tmp_path / "0", tmp_path / "kept"
    (first,) = folder.glob("sealing-*[0-9]")
    secret, name = first.read_bytes(), first.name
    shutil.copytree(folder, kept)
    again: set[bool] = set()
    for call in itertools.count():
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        if begun(folder, call, act) == UNHARMED:
            assert call > 8
            break
        later = any(folder.glob("sealing-*[0-9]")) and not (folder / name).exists()
        Node.open(folder)._own.present()
        (one,) = folder.glob("sealing-*[0-9]*")
        assert len(one.read_bytes()) == 32
        again.add(one.name == name)
        # The operator, who saw no card, gives the command once more; then a copy of the first key comes back.
        renew_sealing(folder)
        assert all(secret not in path.read_bytes() for path in folder.iterdir()), call
        (folder / name).write_bytes(secret)
        (folder / name).chmod(0o600)
        if later:
            for path in folder.glob("sealing-*[0-9]"):
                if path.name != name:
                    path.unlink()
        Node.open(folder)._own.present()
        assert all(secret not in path.read_bytes() for path in folder.iterdir()), call
    return again


@pytest.mark.parametrize("act", [killed, full], ids=["killed", "full"])
def test_x12_no_call_at_which_an_epoch_breaks_off_leaves_a_key_that_is_over(act, tmp_path):
    assert at_calls_of_an_epoch(tmp_path, act) == {True, False}


def test_x12_mutant_that_removes_keys_and_records_nothing(tmp_path, monkeypatch):
    without(monkeypatch, epochs.MemberKeys, "_alone", "self.journal.add(self._over(other))", "pass")
    with pytest.raises(FOUND):
        at_calls_of_an_epoch(tmp_path, killed)


def test_x12_mutant_that_leaves_what_was_written_in_part(tmp_path, monkeypatch):
    kept = "for path in self._files():"
    instead = "for path in map(self._path, self.epochs()):"
    without(monkeypatch, SealingFolder, "keep_only", kept, instead)
    with pytest.raises((*FOUND, ValueError)):
        at_calls_of_an_epoch(tmp_path, killed)
