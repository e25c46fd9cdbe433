"""RunDirectory: the logs of a run, one line a round, after a crash and after damage."""

from __future__ import annotations

import contextlib
import json

import pytest

import fedavg.runs.files.directory
from fedavg.errors import CheckpointError
from fedavg.runs.files.directory import RunDirectory

ROWS = (
    b'{"round": 0, "skipped": true}\n{"round": 1, "skipped": true}\n{"round": 2, "skipped": true}\n'
)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "config.toml").touch()
    return tmp_path / "server.jsonl"


@pytest.mark.parametrize("kept", range(len(ROWS) + 1))
def test_a_log_that_a_crash_cut_off_keeps_its_whole_lines(log, kept):
    log.write_bytes(ROWS[:kept])
    assert RunDirectory.reopen(log.parent).skipped() == list(range(ROWS[:kept].count(b"\n")))


@pytest.mark.parametrize("line", [1, 2, 3])
@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"",
        b"\xff",
        b"\0" * 9,
        b"[1]",
        b'{"rounds": 1}',
        b'{"round": "1"}',
        b'{"round": true}',
    ],
)
def test_a_damaged_line_is_named_and_drops_no_round(log, line, bad):
    lines = ROWS.split(b"\n")
    lines[line - 1] = bad
    log.write_bytes(b"\n".join(lines))
    with pytest.raises(
        CheckpointError, match=f"{log} is damaged in line {line}, .*put the line back"
    ):
        RunDirectory.reopen(log.parent).skipped()
    assert log.read_bytes() == b"\n".join(lines)


@pytest.mark.parametrize("order", [(0, 1, 1), (0, 2, 1), (1, 0, 2)])
def test_a_round_twice_or_after_a_later_one_is_named(log, order):
    """A log that was appended to itself gave a report with the first rounds twice."""
    lines = ROWS.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[number] for number in order))
    with pytest.raises(
        CheckpointError, match=r"is damaged in line [23], which is round \d after round"
    ):
        RunDirectory.reopen(log.parent).skipped()


def test_a_log_that_is_not_there_has_no_rounds(tmp_path):
    assert RunDirectory(tmp_path).read_rows("metrics.jsonl") == []


def test_mutant_that_stops_at_the_damage_drops_the_rounds_after_it(log, monkeypatch):
    """As it was: every line that cannot be read counted as torn."""

    def until(path):
        found = []
        with contextlib.suppress(ValueError):
            found.extend(map(json.loads, path.read_bytes().splitlines()))
        return found

    monkeypatch.setattr(fedavg.runs.files.directory, "_whole_lines", until)
    with pytest.raises(pytest.fail.Exception):
        test_a_damaged_line_is_named_and_drops_no_round(log, 2, b"{")
