"""A run's results for people and programs: tables, files, the last line."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks.kit.report import last_line, print_tables, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks import Bench


def test_the_last_line_is_one_json_object_with_the_ratios(found: Bench) -> None:
    line = last_line(found, ratio=1.23456)
    assert "\n" not in line
    told = json.loads(line)
    assert told["ratios"] == {"speed": 4.0, "slow": 2.0}
    assert told["ours"]["size"] == 23.0
    assert told["ratio"] == 1.235
    assert (told["missed"], told["unmeasured"]) == (["slow"], ["lonely"])


def test_files_hold_the_figures_the_machine_and_a_plot(found: Bench, tmp_path: Path) -> None:
    results, picture = write_files(found, tmp_path / "new")
    told = json.loads(results.read_text(encoding="utf-8"))
    assert told["measures"][0]["ours"] == {"median": 0.5, "low": 0.45, "high": 0.55, "samples": 3}
    assert told["measures"][1]["met"] is False
    assert told["curves"][0]["exponents"]["ours"] == pytest.approx(1)
    assert told["machine"]["packages"]["numpy"]
    page = picture.read_text(encoding="utf-8")
    assert "slowness" in page
    assert 'src="http' not in page  # nothing is fetched


def test_the_table_tells_met_from_missed_and_from_unmeasured(found: Bench) -> None:
    shown = io.StringIO()
    print_tables(found, Console(file=shown, width=200))
    rows = {
        line.split("│")[1].strip(): line for line in shown.getvalue().splitlines() if "│" in line
    }
    assert "met" in rows["speed"]
    assert "missed" in rows["slowness"]
    assert "no peer" in rows["no peer"]
    assert "grows as n^1.00" in shown.getvalue()
