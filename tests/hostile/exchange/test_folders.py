"""Group X, what a node is told and what it keeps: the order of arrays, its journal, and its files.

The server gives one node the arrays in another order. A journal is lost or emptied. Somebody puts
a file where keys are about to be written. Expected: a refusal that names the remedy, and private files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading

import numpy as np
import pytest

from fedavg.adapters.exchange import MeanServer, Node, NodeKeys, RefusedRequestError, enrol_here
from fedavg.adapters.exchange import server as server_module
from fedavg.adapters.exchange.keys.keys import KEYS_FILE
from fedavg.adapters.exchange.keys.sealing import SealingFolder
from fedavg.adapters.exchange.nodes import node as node_module
from fedavg.adapters.exchange.nodes.enrolment import CARD_FILE, make_node, read_card
from fedavg.adapters.exchange.nodes.node import JOURNAL_FILE
from fedavg.adapters.polling import open_party
from fedavg.errors import ConfigError, JournalError
from fedavg.files import FileJournal, replace_file
from tests.fedavg.adapters.exchange.parties import MODEL, RUN, Parties, terms, update
from tests.fedavg.adapters.polling.agreed import CLIENTS, agreement
from tests.hostile.mutants import FOUND, without

# X5: nodes are sent different things ------------------------------------------------------------------


def test_x5_another_order_of_the_arrays_is_refused():
    """An app that takes arrays by their places would train another model."""
    parties = Parties()
    node, turned = parties.node(0), dict(reversed(MODEL.items()))
    asked = node.read(parties.server().request, run=RUN, kind="train")
    with pytest.raises(RefusedRequestError, match="other contents"):
        node.join(*asked, turned)
    node.join(*asked, dict(MODEL))


def test_x5_mutant_that_sorts_the_arrays(monkeypatch):
    mutant = without(
        monkeypatch, node_module, "content_digest", "arrays.items()", "sorted(arrays.items())"
    )
    monkeypatch.setattr(server_module, "content_digest", mutant)
    with pytest.raises(FOUND):
        test_x5_another_order_of_the_arrays_is_refused()


# X8: a journal is lost --------------------------------------------------------------------------------


def _missing(folder):
    (folder / JOURNAL_FILE).unlink()


def _empty(folder):
    os.truncate(folder / JOURNAL_FILE, 0)


def _in_a_copy(folder):
    """A copy of a node without its journal, under the node's own name."""
    kept = folder.with_name("kept")
    folder.rename(kept)
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns(JOURNAL_FILE))


def _enrolled_again(folder):
    """The operator runs the command again and is refused, and the journal must not come back."""
    _missing(folder)
    with pytest.raises(ConfigError, match="exists"):
        make_node(folder, 0)


LOSSES = (_missing, _empty, _in_a_copy, _enrolled_again)


@pytest.mark.parametrize("lose", LOSSES)
def test_x8_a_node_that_lost_its_journal_answers_no_more(lose, tmp_path):
    agreed = enrol_here(tmp_path, 6, terms())
    request = MeanServer(agreed, RUN, 1, "train", 6, MODEL).request

    def contributed():
        node = Node.open(tmp_path / "0")
        return node.join(*node.read(request, run=RUN, kind="train"), MODEL).send(*update(0))

    contributed()
    lose(tmp_path / "0")
    for _ in range(2):
        with pytest.raises(JournalError, match="enrol with a new identity"):
            contributed()


@pytest.mark.parametrize("lose", LOSSES)
def test_x8_mutant_that_makes_a_journal_anew(lose, tmp_path, monkeypatch):
    monkeypatch.setattr(node_module, "FileJournal", lambda path, **_: FileJournal(path))
    with pytest.raises(FOUND):
        test_x8_a_node_that_lost_its_journal_answers_no_more(lose, tmp_path)


@pytest.mark.parametrize("lose", [_missing, _empty, _in_a_copy])
def test_x8_a_party_that_lost_its_journal_starts_no_more(lose, tmp_path):
    folder = tmp_path / "client-0"
    folder.mkdir()
    replace_file(folder / "identity", CLIENTS[0].private_bytes(), mode=0o600)
    replace_file(folder / "agreement.json", agreement(members=False).to_bytes())
    FileJournal(folder / JOURNAL_FILE).add(b"round 1")

    def opened():
        return open_party(folder, lambda *_: np.zeros(40, np.int64))

    opened()
    lose(folder)
    for _ in range(2):
        with pytest.raises(JournalError, match="enrol with a new identity"):
            opened()


# X9: a file lies where keys will be -------------------------------------------------------------------


def test_x9_a_file_under_the_temporary_name_opens_no_keys(tmp_path):
    """Somebody put it there to read what is written into it, or a crash left it."""
    planted, other = tmp_path / f"{KEYS_FILE}.part", tmp_path / "mine"
    planted.touch(mode=0o644)
    planted.chmod(0o644)
    other.hardlink_to(planted)
    with planted.open("rb") as reader:
        make_node(tmp_path, 1)
        assert reader.read() == b""
    assert (tmp_path / KEYS_FILE).stat().st_mode & 0o777 == 0o600
    assert other.read_bytes() == b""
    assert NodeKeys.read(tmp_path).node == 1


def test_x9_a_link_under_the_temporary_name_overwrites_nothing(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f"{KEYS_FILE}.part").symlink_to(victim)
    make_node(tmp_path, 1)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / KEYS_FILE).is_symlink()


def test_x9_mutant_that_writes_into_the_file_that_is_there(tmp_path, monkeypatch):
    import fedavg.adapters.exchange.keys.keys as keys_module

    first = "temporary.unlink(missing_ok=True)\n        try:"
    mutant = without(monkeypatch, keys_module, "replace_file", first, "try:")
    monkeypatch.setattr(keys_module, "replace_file", mutant)
    monkeypatch.setattr(os, "O_EXCL", os.O_TRUNC)
    with pytest.raises(FOUND):
        test_x9_a_file_under_the_temporary_name_opens_no_keys(tmp_path)


# X9: two make a node in one folder at once -------------------------------------------------------------


def two_in_one_folder(folder, monkeypatch):
    """The second begins while the first has looked for keys and writes its own; how many made a node."""
    put, made, others = SealingFolder.put, [], []

    def make(node):
        with contextlib.suppress(ConfigError):
            made.append(make_node(folder, node))

    def overtaken(self, epoch, secret):
        if not others:
            others.append(threading.Thread(target=make, args=(2,)))
            others[0].start()
            others[0].join(0.5)  # it waits for the lock, or is done by now
        put(self, epoch, secret)

    monkeypatch.setattr(SealingFolder, "put", overtaken)
    make(1)
    others[0].join()
    assert [NodeKeys.read(folder).card] == made
    assert read_card(folder / CARD_FILE) == made[0]


def test_x9_one_of_two_makes_a_node(tmp_path, monkeypatch):
    """Both did: the card of one lay beside the key of the other, and each had sent a card of its own."""
    two_in_one_folder(tmp_path, monkeypatch)


def test_x9_mutant_in_which_both_make_a_node(tmp_path, monkeypatch):
    monkeypatch.setattr(SealingFolder, "locked", lambda _: contextlib.nullcontext())
    with pytest.raises(FOUND):
        two_in_one_folder(tmp_path, monkeypatch)
