"""FileJournal: a fact is new to one caller only, however the previous process ended."""

from __future__ import annotations

import errno
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedavg
import fedavg.files
from fedavg.errors import JournalError
from fedavg.files import FileJournal

TITLE = b"fedavg journal 1\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "facts"


def test_a_fact_is_new_once(path):
    journal = FileJournal(path)
    assert [journal.add(fact) for fact in (b"a", b"b", b"a", b"", b"")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert FileJournal(path).add(b"b") is False
    assert FileJournal(str(path)).add(b"c") is True
    assert journal.add(b"c") is False  # what another one added since
    assert fedavg.FileJournal is FileJournal
    assert repr(journal) == f"FileJournal({str(path)!r})"


def test_what_a_journal_holds_can_be_asked_for(path):
    journal, other = FileJournal(path), FileJournal(path)
    assert not journal.known(b"a")
    other.add(b"a")
    assert journal.known(b"a")
    assert journal.add(b"b")  # to ask records nothing
    assert other.known(b"b")
    assert not FileJournal(path).known(b"c")
    path.unlink()
    with pytest.raises(JournalError, match="cannot be used: No such file"):
        journal.known(b"a")
    with pytest.raises(JournalError, match="a fact is bytes, not str"):
        journal.known("a")


def test_the_file_is_its_owners_and_shows_no_fact(path):
    FileJournal(path).add(b"round 1 of the hospital")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"hospital" not in path.read_bytes()
    assert len(path.read_bytes()) == len(TITLE) + 74


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=30), st.lists(st.integers(0, 2), max_size=30))
def test_any_mix_of_journals_on_one_file_is_one_journal(tmp_path_factory, facts, who):
    path = tmp_path_factory.mktemp("journal") / "facts"
    journals, seen = [FileJournal(path) for _ in range(3)], set()
    for fact, index in zip(facts, who, strict=False):
        assert journals[index].add(fact) is (fact not in seen)
        seen.add(fact)


@pytest.mark.parametrize("kept", range(75))
def test_a_crash_in_the_middle_of_an_add_leaves_the_facts_before_it(path, kept):
    """The add never returned, so nothing that rests on it was done; its fact is new."""
    FileJournal(path).add(b"first")
    whole = path.read_bytes()
    FileJournal(path).add(b"torn")
    path.write_bytes(path.read_bytes()[: len(whole) + kept])
    journal = FileJournal(path)
    assert journal.add(b"first") is False
    assert journal.add(b"torn") is (kept < 74)
    assert journal.add(b"torn") is False
    assert FileJournal(path).add(b"torn") is False


@pytest.mark.parametrize("tail", [bytes(74), bytes(10), b"x" * 10 + bytes(64), b"a" * 73])
def test_a_tail_that_is_no_fact_goes(path, tail):
    FileJournal(path).add(b"first")
    with path.open("ab") as file:
        file.write(tail)
    journal = FileJournal(path)
    assert journal.add(b"second") is True
    assert FileJournal(path).add(b"second") is False
    assert len(path.read_bytes()) == len(TITLE) + 2 * 74


@pytest.mark.parametrize("kept", range(len(TITLE)))
def test_a_crash_while_the_file_was_made_leaves_an_empty_journal(path, kept):
    path.write_bytes(TITLE[:kept])
    assert FileJournal(path).add(b"first") is True
    assert FileJournal(path).add(b"first") is False


def three(path):
    """A journal of three facts, and its bytes."""
    journal = FileJournal(path)
    for fact in (b"1", b"2", b"3"):
        journal.add(fact)
    return journal, bytearray(path.read_bytes())


@pytest.mark.parametrize("line", [2, 3, 4])
def test_a_flipped_bit_loses_no_fact(path, line):
    """Each bit of every line, the last one and its end included."""
    _, whole = three(path)
    for bit in range(74 * 8):
        data = whole.copy()
        data[len(TITLE) + (line - 2) * 74 + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(JournalError, match=f"{path} is damaged in line {line}, .* Restore"):
            FileJournal(path)
        assert path.read_bytes() == data


@pytest.mark.parametrize("tail", [b"\n", b"ab\n", b"x" * 73 + b"\n", b"x" * 74, b"\n" + bytes(73)])
def test_a_last_line_with_an_end_and_another_checksum_is_refused(path, tail):
    journal, whole = three(path)
    path.write_bytes(whole + tail)
    for use in (lambda: journal.add(b"4"), lambda: FileJournal(path)):
        with pytest.raises(JournalError, match="damaged in line 5, which begins at byte 239"):
            use()
        assert path.read_bytes() == whole + tail


def test_a_mutant_that_takes_a_damaged_last_line_for_an_unfinished_one_loses_it(path, monkeypatch):
    monkeypatch.setattr(fedavg.files, "_unfinished", lambda _: True)
    with pytest.raises(pytest.fail.Exception):
        test_a_flipped_bit_loses_no_fact(path, 4)
    assert FileJournal(path).add(b"3") is True


@pytest.mark.parametrize("kept", range(len(TITLE)))
def test_where_enrolment_made_the_journal_an_empty_one_is_refused(path, kept):
    with pytest.raises(JournalError, match="is missing, so that .* enrol with a new identity"):
        FileJournal(path, create=False)
    assert not path.exists()
    path.write_bytes(TITLE[:kept])
    with pytest.raises(JournalError, match="is empty, so that .* enrol with a new identity"):
        FileJournal(path, create=False)
    assert path.read_bytes() == TITLE[:kept]
    FileJournal(path).add(b"first")
    assert FileJournal(path, create=False).add(b"first") is False


def test_other_files_are_refused_and_left_alone(path, tmp_path):
    path.write_bytes(b"something else entirely")
    with pytest.raises(JournalError, match="no journal of this version"):
        FileJournal(path)
    assert path.read_bytes() == b"something else entirely"
    with pytest.raises(JournalError, match="cannot be used"):
        FileJournal(tmp_path)
    with pytest.raises(JournalError, match="cannot be used"):
        FileJournal(tmp_path / "no folder" / "facts")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalError, match="no regular file"):
        FileJournal(tmp_path / "pipe")
    for wrong in (None, 5, b"facts"):
        with pytest.raises(JournalError, match="needs the path"):
            FileJournal(wrong)


@pytest.mark.parametrize("fact", [None, "text", 5, bytearray(b"a")])
def test_facts_are_bytes(path, fact):
    with pytest.raises(JournalError, match="a fact is bytes"):
        FileJournal(path).add(fact)


def test_one_file_under_several_names_is_one_journal(path, tmp_path):
    FileJournal(path).add(b"a")
    (tmp_path / "soft").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    names = [tmp_path / "soft", tmp_path / "hard", tmp_path / "folder" / "facts"]
    assert [FileJournal(name).add(b"a") for name in names] == [False] * 3
    soft = FileJournal(tmp_path / "soft")
    (tmp_path / "soft").unlink()
    (tmp_path / "soft").write_bytes(TITLE)
    assert soft.add(b"a") is False  # the link was resolved when it was made


@pytest.mark.parametrize("harm", ["removed", "replaced", "shortened", "made a link"])
def test_a_file_that_is_no_longer_the_one_that_was_opened_is_refused(path, tmp_path, harm):
    journal = FileJournal(path)
    journal.add(b"a")
    if harm == "shortened":
        os.truncate(path, len(TITLE))
    else:
        path.rename(tmp_path / "away")
    if harm == "replaced":
        FileJournal(path)
    if harm == "made a link":
        path.symlink_to(tmp_path / "away")
    with pytest.raises(JournalError, match=r"removed or replaced|cannot be used|shortened"):
        journal.add(b"b")


def test_a_full_disk_leaves_no_half_of_a_fact(path, monkeypatch):
    journal = FileJournal(path)
    journal.add(b"a")
    before = path.read_bytes()
    honest = os.pwrite

    def full(handle, data, place):
        if len(data) < 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(handle, data[:40], place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(JournalError, match="No space left on device; nothing was done"):
            journal.add(b"b")
    assert path.read_bytes() == before
    assert journal.add(b"b") is True


def test_the_fact_is_on_the_disk_before_the_answer(path, monkeypatch):
    journal, order = FileJournal(path), []
    honest = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("sync") or honest(handle))
    order.append(journal.add(b"a"))
    assert order == ["sync", True]


def test_of_threads_that_add_at_once_one_is_first(path):
    start, journals = Barrier(8), [FileJournal(path) for _ in range(4)]

    def add(index):
        start.wait()
        return [journals[index % 4].add(b"%d" % number) for number in range(20)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(add, range(8)))
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 20


def _add_many(path, journal, results):
    mine = FileJournal(path) if journal is None else journal
    results.put([mine.add(b"%d" % number) for number in range(20)])


@pytest.mark.parametrize("shared", [False, True])
def test_of_processes_that_add_at_once_one_is_first(path, shared):
    """Each with a journal of its own, or forked off with one that is open."""
    journal = FileJournal(path)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    arguments = (path, journal if shared else None, results)
    workers = [context.Process(target=_add_many, args=arguments) for _ in range(4)]
    for worker in workers:
        worker.start()
    answers = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 20
    assert not any(journal.add(b"%d" % number) for number in range(20))
